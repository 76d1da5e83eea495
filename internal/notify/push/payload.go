package push

import (
	"encoding/json"
	"net/http"
)

// payload is a call's body, all the forms in one: their fields do not contradict each other.
type payload struct {
	header http.Header
	listed bool
	body   struct {
		Ref        string          `json:"ref"`
		Before     string          `json:"before"`
		After      string          `json:"after"`
		Forced     bool            `json:"forced"`
		Repository json.RawMessage `json:"repository"`
		Commits    []commit        `json:"commits"`
		// GitHub and Gitea
		RefType         string         `json:"ref_type"`
		Action          string         `json:"action"`
		Package         *githubPackage `json:"package"`
		RegistryPackage *githubPackage `json:"registry_package"`
		// GitLab
		ObjectKind string `json:"object_kind"`
		EventName  string `json:"event_name"`
		Project    struct {
			HTTP string `json:"git_http_url"`
			SSH  string `json:"git_ssh_url"`
			Web  string `json:"web_url"`
		} `json:"project"`
		Total *int `json:"total_commits_count"`
		// GitLab's system hooks, and Bitbucket, the server and the cloud
		Changes []change `json:"changes"`
		Push    struct {
			Changes []struct {
				New *cloudRef `json:"new"`
				Old *cloudRef `json:"old"`
			} `json:"changes"`
		} `json:"push"`
		// Registries
		PushData struct {
			Tag      string      `json:"tag"`
			PushedAt json.Number `json:"pushed_at"`
		} `json:"push_data"`
		DockerURL   string   `json:"docker_url"`
		UpdatedTags []string `json:"updated_tags"`
		Message     struct {
			Data []byte `json:"data"`
		} `json:"message"`
		Type      string     `json:"type"`
		EventData harborData `json:"event_data"`
		Data      harborData `json:"data"`
		Request   struct {
			Host string `json:"host"`
		} `json:"request"`
		Target struct {
			Repository string `json:"repository"`
			Tag        string `json:"tag"`
			Digest     string `json:"digest"`
		} `json:"target"`
	}
}

type commit struct {
	Added, Removed, Modified []string
}

// change of one reference: GitLab names it by a string, Bitbucket's server by an object.
type change struct {
	Ref    json.RawMessage `json:"ref"`
	Before string          `json:"before"`
	After  string          `json:"after"`
	From   string          `json:"fromHash"`
	To     string          `json:"toHash"`
}

// name of the reference that changed.
func (c change) name() string {
	var plain string
	if json.Unmarshal(c.Ref, &plain) == nil {
		return plain
	}
	var ref struct {
		ID string `json:"id"`
	}
	_ = json.Unmarshal(c.Ref, &ref)
	return ref.ID
}

type harborData struct {
	Resources []struct {
		URL    string `json:"resource_url"`
		Tag    string `json:"tag"`
		Digest string `json:"digest"`
	} `json:"resources"`
}

type cloudRef struct {
	Type   string `json:"type"`
	Name   string `json:"name"`
	Target struct {
		Hash string `json:"hash"`
	} `json:"target"`
}

type githubPackage struct {
	// Gitea's
	Kind string `json:"type"`
	Name string `json:"name"`
	Tag  string `json:"version"`
	URL  string `json:"html_url"`
	// GitHub's
	Version struct {
		URL      string `json:"package_url"`
		Metadata struct {
			Tag struct {
				Name   string `json:"name"`
				Digest string `json:"digest"`
			} `json:"tag"`
		} `json:"container_metadata"`
	} `json:"package_version"`
}

// repository is the object of that name in the calls of Git hosts.
type repository struct {
	CloneURL string `json:"clone_url"`
	SSHURL   string `json:"ssh_url"`
	HTMLURL  string `json:"html_url"`
	RepoName string `json:"repo_name"`
	Links    struct {
		Clone []struct {
			Href string `json:"href"`
		} `json:"clone"`
		HTML struct {
			Href string `json:"href"`
		} `json:"html"`
	} `json:"links"`
}

func (p *payload) repository() repository {
	var r repository
	_ = json.Unmarshal(p.body.Repository, &r) // other hosts have other forms: then it stays empty
	return r
}
