package push

import (
	"cmp"
	"net/url"
	"slices"
	"strings"
)

// githubCommits and gitlabCommits are the most that these hosts list in one call.
const (
	githubCommits = 2048
	gitlabCommits = 20
)

// gitHubEvent is the header in which GitHub and Gitea name the event of a call.
const gitHubEvent = "X-GitHub-Event"

// readGitHub reads what GitHub and Gitea send: pushes of branches and tags, and published packages.
func readGitHub(p *payload) *Push {
	if p.is(gitHubEvent, false, "ping") {
		return nil
	}
	pkg := cmp.Or(p.body.Package, p.body.RegistryPackage)
	if pkg != nil && p.is(gitHubEvent, true, "package", "registry_package") {
		return readGitHubPackage(p, pkg)
	}
	if !p.listed && !p.is(gitHubEvent, p.body.Ref != "", "push") {
		return nil
	}
	r := p.repository()
	out := &Push{
		Repositories: []string{r.CloneURL, r.SSHURL, r.HTMLURL}, Refs: list(fullRef(p.body.Ref, p.body.RefType)),
		Revision: moved(p.body.Before, p.body.After),
	}
	if !p.body.Forced && len(p.body.Commits) < githubCommits {
		out.Paths = paths(p.body.Commits)
	}
	return out
}

// fullRef is a reference in full; events about its birth and end leave out what it is.
func fullRef(ref, kind string) string {
	switch {
	case kind == "branch" && !strings.HasPrefix(ref, "refs/"):
		return "refs/heads/" + ref
	case kind == "tag" && !strings.HasPrefix(ref, "refs/"):
		return "refs/tags/" + ref
	}
	return ref
}

func readGitHubPackage(p *payload, pkg *githubPackage) *Push {
	if published := []string{"published", "updated", "created", ""}; !p.listed && !slices.Contains(published, p.body.Action) {
		return nil
	}
	if pkg.Version.URL == "" { // Gitea's registry is at the address of its web pages
		page, err := url.Parse(pkg.URL)
		owner, _, _ := strings.Cut(strings.TrimPrefix(cmp.Or(page, &url.URL{}).Path, "/"), "/")
		if err != nil || pkg.Kind != "container" || owner == "" {
			return nil
		}
		return &Push{Repositories: []string{page.Host + "/" + owner + "/" + pkg.Name}, Refs: list(pkg.Tag)}
	}
	tag := pkg.Version.Metadata.Tag
	name, _ := cutTag(pkg.Version.URL)
	return &Push{Repositories: []string{name}, Refs: list(tag.Name), Revision: tag.Digest}
}

// readGitLab reads the hooks of projects and groups, and the system hooks of a server.
func readGitLab(p *payload) *Push {
	kind := cmp.Or(p.body.EventName, p.body.ObjectKind)
	form := kind == "" && p.body.Ref != "" || slices.Contains([]string{"push", "tag_push", "repository_update"}, kind)
	if !p.listed && !(form && p.is("X-Gitlab-Event", true, "Push Hook", "Tag Push Hook", "System Hook")) {
		return nil
	}
	project := p.body.Project
	out := &Push{Repositories: []string{project.HTTP, project.SSH, project.Web}, Refs: list(p.body.Ref), Revision: moved(p.body.Before, p.body.After)}
	if total := p.body.Total; total != nil && *total == len(p.body.Commits) && *total < gitlabCommits {
		out.Paths = paths(p.body.Commits)
	}
	var moves []string
	for _, c := range p.body.Changes {
		if name := c.name(); name != "" { // of a merge request, there are changes of another kind
			out.Refs, moves = append(out.Refs, name), append(moves, moved(c.Before, c.After))
		}
	}
	out.Revision = cmp.Or(out.Revision, strings.Join(moves, ","))
	return out
}

// readBitbucket reads what Bitbucket sends, the server and the cloud: one call for all references of a push.
func readBitbucket(p *payload) *Push {
	const key = "X-Event-Key"
	if p.is(key, false, "diagnostics:ping") || !p.listed && !p.is(key, true, "repo:push", "repo:refs_changed", "mirror:repo_synchronized") {
		return nil
	}
	r := p.repository()
	out := &Push{Repositories: []string{r.Links.HTML.Href}}
	for _, link := range r.Links.Clone {
		out.Repositories = append(out.Repositories, link.Href)
	}
	var moves []string
	for _, c := range p.body.Changes {
		out.Refs, moves = append(out.Refs, c.name()), append(moves, moved(c.From, c.To))
	}
	for _, c := range p.body.Push.Changes {
		ref := cmp.Or(c.New, c.Old)
		if ref == nil {
			continue
		}
		before := ""
		if c.New != nil && c.Old != nil {
			before = c.Old.Target.Hash
		}
		out.Refs, moves = append(out.Refs, fullRef(ref.Name, cmp.Or(refKinds[ref.Type], "branch"))), append(moves, moved(before, ref.Target.Hash))
	}
	if len(out.Refs) == 0 && !p.listed {
		return nil
	}
	out.Revision = strings.Join(moves, ",")
	return out
}

// refKinds are the types of references of Bitbucket's cloud, as fullRef knows them.
var refKinds = map[string]string{"tag": "tag", "annotated_tag": "tag"}

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
