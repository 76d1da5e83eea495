package push

import (
	"encoding/json"
	"slices"
	"strings"
)

func readDockerHub(p *payload) *Push {
	name := p.repository().RepoName
	if name == "" || p.body.PushData.Tag == "" {
		return nil
	}
	return &Push{Repositories: []string{"docker.io/" + name}, Refs: []string{p.body.PushData.Tag}, Revision: p.body.PushData.PushedAt.String()}
}

// readQuay reads a push. Builds, scans and mirrors have no updated tags.
func readQuay(p *payload) *Push {
	if len(p.body.UpdatedTags) == 0 {
		return nil
	}
	return &Push{Repositories: []string{p.body.DockerURL}, Refs: p.body.UpdatedTags}
}

func readGCR(p *payload) *Push {
	var m struct{ Action, Digest, Tag string }
	if json.Unmarshal(p.body.Message.Data, &m) != nil || !strings.EqualFold(m.Action, "INSERT") {
		return nil
	}
	name, digest, _ := strings.Cut(m.Digest, "@")
	tagged, tag := cutTag(m.Tag)
	return &Push{Repositories: []string{name, tagged}, Refs: list(tag), Revision: digest}
}

// harborPushes are the names of a push in Harbor's own form, today's and that of version 1, and as CloudEvents.
var harborPushes = []string{"PUSH_ARTIFACT", "pushImage", "UPLOAD_CHART", "uploadChart", "harbor.artifact.pushed"}

func readHarbor(p *payload) *Push {
	if !slices.Contains(harborPushes, p.body.Type) {
		return nil
	}
	out := &Push{}
	var digests []string
	for _, r := range slices.Concat(p.body.EventData.Resources, p.body.Data.Resources) {
		name, _, _ := strings.Cut(r.URL, "@")
		name, tag := cutTag(name)
		out.Repositories = append(out.Repositories, name)
		if r.Digest != "" {
			digests = append(digests, r.Digest)
		}
		if r.Tag != "" {
			tag = r.Tag
		}
		if tag != "" {
			out.Refs = append(out.Refs, tag)
		}
	}
	out.Revision = strings.Join(digests, ",")
	return out
}

func readACR(p *payload) *Push {
	t := p.body.Target
	if p.body.Request.Host == "" || t.Repository == "" || p.body.Action != "push" && p.body.Action != "chart_push" {
		return nil
	}
	return &Push{Repositories: []string{p.body.Request.Host + "/" + t.Repository}, Refs: list(t.Tag), Revision: t.Digest}
}
