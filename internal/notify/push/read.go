package push

import (
	"cmp"
	"encoding/json"
	"net/http"
	"net/url"
	"slices"
	"strings"
)

// readers by the type of Receiver.
var readers = map[string]func(*payload) *Push{
	"github":       readGitHub,
	"gitlab":       readGitLab,
	"bitbucket":    readBitbucket,
	"dockerhub":    readDockerHub,
	"quay":         readQuay,
	"gcr":          readGCR,
	"harbor":       readHarbor,
	"acr":          readACR,
	"generic":      readGeneric,
	"generic-hmac": readGeneric,
	"generic-oidc": readGeneric,
}

// Knows tells whether calls of a Receiver type name their repository.
func Knows(receiverType string) bool { return readers[receiverType] != nil }

// Read returns what a call that was accepted says was pushed; nil: nothing that we understand.
func Read(receiverType string, header http.Header, body []byte) *Push {
	read := readers[receiverType]
	if read == nil {
		return nil
	}
	p := &payload{header: header}
	if json.Unmarshal(formPayload(header, body), &p.body) != nil {
		return nil
	}
	out := read(p)
	if out == nil {
		return nil
	}
	out.Repositories = slices.DeleteFunc(out.Repositories, func(s string) bool { return s == "" })
	if len(out.Repositories) == 0 {
		return nil
	}
	return out
}

// formPayload takes the JSON out of a form, in which GitHub can send it.
func formPayload(header http.Header, body []byte) []byte {
	if !strings.HasPrefix(header.Get("Content-Type"), "application/x-www-form-urlencoded") {
		return body
	}
	form, err := url.ParseQuery(string(body))
	if err != nil {
		return nil
	}
	return []byte(form.Get("payload"))
}

// payload is a call's body, all the forms in one: their fields do not contradict each other.
type payload struct {
	header http.Header
	body   struct {
		Ref        string          `json:"ref"`
		Before     string          `json:"before"`
		After      string          `json:"after"`
		Forced     bool            `json:"forced"`
		Repository json.RawMessage `json:"repository"`
		Commits    []commit        `json:"commits"`
		// GitHub
		Package         *githubPackage `json:"package"`
		RegistryPackage *githubPackage `json:"registry_package"`
		// GitLab
		Project struct {
			HTTP string `json:"git_http_url"`
			SSH  string `json:"git_ssh_url"`
			Web  string `json:"web_url"`
		} `json:"project"`
		Total *int `json:"total_commits_count"`
		// Bitbucket, the server and the cloud
		Changes []struct {
			Ref struct {
				ID string `json:"id"`
			} `json:"ref"`
			From string `json:"fromHash"`
			To   string `json:"toHash"`
		} `json:"changes"`
		Push struct {
			Changes []struct {
				New *cloudRef `json:"new"`
				Old *cloudRef `json:"old"`
			} `json:"changes"`
		} `json:"push"`
		// Registries
		PushData struct {
			Tag string `json:"tag"`
		} `json:"push_data"`
		DockerURL   string   `json:"docker_url"`
		UpdatedTags []string `json:"updated_tags"`
		Message     struct {
			Data []byte `json:"data"`
		} `json:"message"`
		EventData struct {
			Resources []struct {
				URL    string `json:"resource_url"`
				Tag    string `json:"tag"`
				Digest string `json:"digest"`
			} `json:"resources"`
		} `json:"event_data"`
		Request struct {
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

type cloudRef struct {
	Type   string `json:"type"`
	Name   string `json:"name"`
	Target struct {
		Hash string `json:"hash"`
	} `json:"target"`
}

type githubPackage struct {
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

// githubCommits and gitlabCommits are the most that these hosts list in one call.
const (
	githubCommits = 2048
	gitlabCommits = 20
)

func readGitHub(p *payload) *Push {
	if pkg := cmp.Or(p.body.Package, p.body.RegistryPackage); pkg != nil {
		tag := pkg.Version.Metadata.Tag
		name, _ := cutTag(pkg.Version.URL)
		return &Push{Repositories: []string{name}, Refs: list(tag.Name), Revision: tag.Digest}
	}
	r := p.repository()
	out := &Push{Repositories: []string{r.CloneURL, r.SSHURL, r.HTMLURL}, Refs: list(p.body.Ref), Revision: moved(p.body.Before, p.body.After)}
	if !p.body.Forced && len(p.body.Commits) < githubCommits {
		out.Paths = paths(p.body.Commits)
	}
	return out
}

func readGitLab(p *payload) *Push {
	project := p.body.Project
	out := &Push{Repositories: []string{project.HTTP, project.SSH, project.Web}, Refs: list(p.body.Ref), Revision: moved(p.body.Before, p.body.After)}
	if total := p.body.Total; total != nil && *total == len(p.body.Commits) && *total < gitlabCommits {
		out.Paths = paths(p.body.Commits)
	}
	return out
}

func readBitbucket(p *payload) *Push {
	r := p.repository()
	out := &Push{Repositories: []string{r.Links.HTML.Href}}
	for _, link := range r.Links.Clone {
		out.Repositories = append(out.Repositories, link.Href)
	}
	for _, c := range p.body.Changes {
		out.Refs, out.Revision = append(out.Refs, c.Ref.ID), moved(c.From, c.To)
	}
	for _, c := range p.body.Push.Changes {
		ref := cmp.Or(c.New, c.Old)
		if ref == nil {
			continue
		}
		kind := "refs/heads/"
		if ref.Type == "tag" {
			kind = "refs/tags/"
		}
		before := ""
		if c.New != nil && c.Old != nil {
			before = c.Old.Target.Hash
		}
		out.Refs, out.Revision = append(out.Refs, kind+ref.Name), moved(before, ref.Target.Hash)
	}
	if len(out.Refs) > 1 {
		out.Revision = "" // of several, none stands for all
	}
	return out
}

func readDockerHub(p *payload) *Push {
	name := p.repository().RepoName
	if name != "" {
		name = "docker.io/" + name
	}
	return &Push{Repositories: []string{name}, Refs: list(p.body.PushData.Tag)}
}

func readQuay(p *payload) *Push {
	return &Push{Repositories: []string{p.body.DockerURL}, Refs: p.body.UpdatedTags}
}

func readGCR(p *payload) *Push {
	var m struct{ Digest, Tag string }
	if json.Unmarshal(p.body.Message.Data, &m) != nil {
		return nil
	}
	name, digest, _ := strings.Cut(m.Digest, "@")
	tagged, tag := cutTag(m.Tag)
	return &Push{Repositories: []string{name, tagged}, Refs: list(tag), Revision: digest}
}

func readHarbor(p *payload) *Push {
	out := &Push{}
	for _, r := range p.body.EventData.Resources {
		name, _, _ := strings.Cut(r.URL, "@")
		name, tag := cutTag(name)
		out.Repositories, out.Revision = append(out.Repositories, name), r.Digest
		if tag = cmp.Or(tag, r.Tag); tag != "" {
			out.Refs = append(out.Refs, tag)
		}
	}
	return out
}

func readACR(p *payload) *Push {
	if p.body.Request.Host == "" || p.body.Target.Repository == "" {
		return nil
	}
	t := p.body.Target
	return &Push{Repositories: []string{p.body.Request.Host + "/" + t.Repository}, Refs: list(t.Tag), Revision: t.Digest}
}

// readGeneric understands the forms of GitHub and GitLab, and the plain
// {"repository": "https://host/path", "ref": "refs/heads/main", "after": "…"}.
func readGeneric(p *payload) *Push {
	var plain string
	if json.Unmarshal(p.body.Repository, &plain) == nil && plain != "" {
		return &Push{Repositories: []string{plain}, Refs: list(p.body.Ref), Revision: moved(p.body.Before, p.body.After)}
	}
	if p.body.Project.HTTP != "" {
		return readGitLab(p)
	}
	return readGitHub(p)
}

// cutTag takes the tag off the name of an image.
func cutTag(s string) (name, tag string) {
	if at := strings.LastIndexByte(s, ':'); at > strings.LastIndexByte(s, '/') {
		return s[:at], s[at+1:]
	}
	return s, ""
}

// moved names a change of a reference.
func moved(before, after string) string {
	if before == "" || after == "" {
		return after
	}
	return before + ".." + after
}

func list(s string) []string {
	if s == "" {
		return nil
	}
	return []string{s}
}

func paths(commits []commit) []string {
	out := []string{}
	for _, c := range commits {
		out = append(append(append(out, c.Added...), c.Removed...), c.Modified...)
	}
	if len(out) == 0 {
		return nil // a branch that came, went or was moved: nothing says what changed
	}
	return out
}
