package githost

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
)

func (s *Server) gitHubHeader(h http.Header) string {
	if h.Get("Accept") != "application/vnd.github+json" || h.Get("X-GitHub-Api-Version") != "2022-11-28" {
		s.violate("GitHub wants Accept and X-GitHub-Api-Version, not %q, %q", h.Get("Accept"), h.Get("X-GitHub-Api-Version"))
	}
	if h.Get("User-Agent") == "" {
		s.violate("GitHub wants a User-Agent")
	}
	if h.Get("Authorization") != "Bearer "+s.opts.Token {
		return "Bad credentials"
	}
	return ""
}

func (s *Server) giteaHeader(h http.Header) string {
	if h.Get("Authorization") != "token "+s.opts.Token {
		return "invalid username, password or token"
	}
	return ""
}

// gitHubLike serves GitHub, and Gitea, whose API follows it.
func (s *Server) gitHubLike(prefix string, header func(http.Header) string) http.Handler {
	create := map[string]string{"name": "string!", "private": "bool", "auto_init": "bool", "description": "string"}
	keyFields := map[string]string{"title": "string", "key": "string!", "read_only": "bool"}
	if s.opts.Kind == "gitea" {
		create["default_branch"] = "string"
		keyFields["title"] = "string!"
	}
	return s.mux(prefix, header, map[string]operation{
		"GET /user":                 {do: func(c *call) { c.answer(200, map[string]any{"login": s.opts.User, "id": 1}) }},
		"POST /user/repos":          {create, func(c *call) { c.newRepository(s.opts.User) }},
		"POST /orgs/{org}/repos":    {create, func(c *call) { c.newRepository(c.r.PathValue("org")) }},
		"GET /repos/{owner}/{repo}": {do: c2(func(c *call, r *repository) { c.answer(200, r.gitHub()) })},
		"PATCH /repos/{owner}/{repo}": {map[string]string{"private": "bool", "description": "string"}, c2(func(c *call, r *repository) {
			r.private = c.flag("private")
			c.answer(200, r.gitHub())
		})},
		"GET /repos/{owner}/{repo}/keys": {do: c2(func(c *call, r *repository) {
			list := []any{}
			for _, k := range r.keys {
				list = append(list, map[string]any{"id": k.id, "title": k.title, "key": k.text, "read_only": !k.write})
			}
			c.page(list)
		})},
		"POST /repos/{owner}/{repo}/keys": {keyFields, c2(func(c *call, r *repository) {
			k, ok := s.addKey(r, c.text("title"), c.text("key"), !c.flag("read_only"))
			if !ok {
				c.answer(422, map[string]any{"message": "key is invalid"})
				return
			}
			c.answer(201, map[string]any{"id": k.id, "title": k.title, "key": k.text, "read_only": !k.write})
		})},
		"DELETE /repos/{owner}/{repo}/keys/{id}": {do: c2(func(c *call, r *repository) {
			if !r.dropKey(c.r.PathValue("id")) {
				c.missing()
				return
			}
			c.answer(204, nil)
		})},
		"PUT /orgs/{org}/teams/{team}/repos/{owner}/{repo}": {map[string]string{"permission": "string"}, c2(func(c *call, r *repository) {
			r.grants[c.r.PathValue("team")] = c.text("permission")
			c.answer(204, nil)
		})},
		"PUT /repos/{owner}/{repo}/teams/{team}": {do: c2(func(c *call, r *repository) {
			r.grants[c.r.PathValue("team")] = "team"
			c.answer(204, nil)
		})},
	})
}

// page answers one entry a page, so that clients which read only the first are found out.
func (c *call) page(list []any) {
	n := 1
	_, _ = fmt.Sscan(c.r.URL.Query().Get("page"), &n)
	if n < len(list) {
		q := c.r.URL.Query()
		q.Set("page", fmt.Sprint(n+1))
		c.w.Header().Set("Link", fmt.Sprintf(`<https://%s%s?%s>; rel="next"`, c.r.Host, c.r.URL.EscapedPath(), q.Encode()))
	}
	if n > len(list) {
		c.answer(200, []any{})
		return
	}
	c.answer(200, list[n-1:n])
}

// c2 finds the repository that the path names.
func c2(do func(*call, *repository)) func(*call) {
	return func(c *call) {
		r := c.repos[c.r.PathValue("owner")+"/"+c.r.PathValue("repo")]
		if r == nil {
			c.missing()
			return
		}
		do(c, r)
	}
}

func (r *repository) gitHub() map[string]any {
	return map[string]any{"id": r.id, "name": r.name, "full_name": r.owner + "/" + r.name, "private": r.private}
}

func (c *call) newRepository(owner string) {
	if owner != c.opts.User && !slices.Contains(c.opts.Orgs, owner) {
		c.missing()
		return
	}
	r, err := c.create(owner, c.text("name"), c.flag("private"))
	if err != nil {
		c.answer(422, map[string]any{"message": "name already exists on this account"})
		return
	}
	c.answer(201, r.gitHub())
}

// project finds a GitLab project by id or path.
func (s *Server) project(id string) *repository {
	for path, r := range s.repos {
		if path == id || fmt.Sprint(r.id) == id {
			return r
		}
	}
	return nil
}

func (r *repository) gitLab() map[string]any {
	return map[string]any{"id": r.id, "name": r.name, "path_with_namespace": r.owner + "/" + r.name, "visibility": r.visibility}
}

func (s *Server) gitLab() http.Handler {
	on := func(do func(*call, *repository)) func(*call) {
		return func(c *call) {
			r := s.project(c.r.PathValue("id"))
			if r == nil {
				c.answer(404, map[string]any{"message": "404 Project Not Found"})
				return
			}
			do(c, r)
		}
	}
	header := func(h http.Header) string {
		if h.Get("PRIVATE-TOKEN") != s.opts.Token {
			return "401 Unauthorized"
		}
		return ""
	}
	return s.mux("/api/v4", header, map[string]operation{
		"GET /user": {do: func(c *call) { c.answer(200, map[string]any{"id": 1, "username": s.opts.User}) }},
		"GET /groups/{id}": {do: func(c *call) {
			if i := slices.Index(s.opts.Orgs, c.r.PathValue("id")); i >= 0 {
				c.answer(200, map[string]any{"id": 1000 + i, "full_path": s.opts.Orgs[i]})
				return
			}
			c.answer(404, map[string]any{"message": "404 Group Not Found"})
		}},
		"GET /projects/{id}": {do: on(func(c *call, r *repository) { c.answer(200, r.gitLab()) })},
		"POST /projects": {map[string]string{"name": "string!", "path": "string", "visibility": "string", "initialize_with_readme": "bool", "namespace_id": "number"}, func(c *call) {
			owner := s.opts.User
			if id, ok := c.body["namespace_id"].(float64); ok {
				owner = s.opts.Orgs[int(id)-1000]
			}
			r, err := s.create(owner, c.text("path"), c.text("visibility") == "private")
			if err != nil {
				c.answer(400, map[string]any{"message": map[string]any{"name": []string{"has already been taken"}}})
				return
			}
			r.visibility = c.text("visibility")
			c.answer(201, r.gitLab())
		}},
		"PUT /projects/{id}": {map[string]string{"visibility": "string"}, on(func(c *call, r *repository) {
			r.visibility = c.text("visibility")
			r.private = r.visibility == "private"
			c.answer(200, r.gitLab())
		})},
		"POST /projects/{id}/share": {map[string]string{"group_id": "number!", "group_access": "number!"}, on(func(c *call, r *repository) {
			group := s.opts.Orgs[int(c.body["group_id"].(float64))-1000]
			if r.grants[group] != "" {
				c.answer(409, map[string]any{"message": "already shared"})
				return
			}
			r.grants[group] = fmt.Sprint(c.body["group_access"])
			c.answer(201, map[string]any{})
		})},
		"GET /projects/{id}/deploy_keys": {do: on(func(c *call, r *repository) {
			list := []any{}
			for _, k := range r.keys {
				list = append(list, map[string]any{"id": k.id, "title": k.title, "key": k.text, "can_push": k.write})
			}
			c.page(list)
		})},
		"POST /projects/{id}/deploy_keys": {map[string]string{"title": "string!", "key": "string!", "can_push": "bool"}, on(func(c *call, r *repository) {
			k, ok := s.addKey(r, c.text("title"), c.text("key"), c.flag("can_push"))
			if !ok {
				c.answer(400, map[string]any{"message": "key is invalid"})
				return
			}
			c.answer(201, map[string]any{"id": k.id})
		})},
		"DELETE /projects/{id}/deploy_keys/{key}": {do: on(func(c *call, r *repository) { r.dropKey(c.r.PathValue("key")); c.answer(204, nil) })},
		"GET /projects/{id}/deploy_tokens": {do: on(func(c *call, r *repository) {
			list := []any{}
			for _, t := range r.tokens {
				list = append(list, map[string]any{"id": t.id, "name": t.name, "username": fmt.Sprintf("gitlab+deploy-token-%d", t.id), "revoked": false})
			}
			c.page(list)
		})},
		"POST /projects/{id}/deploy_tokens": {map[string]string{"name": "string!", "scopes": "list!"}, on(func(c *call, r *repository) {
			s.lastID++
			t := deployToken{s.lastID, c.text("name"), fmt.Sprintf("gldt-%d", s.lastID)}
			r.tokens = append(r.tokens, t)
			c.answer(201, map[string]any{"id": t.id, "name": t.name, "username": fmt.Sprintf("gitlab+deploy-token-%d", t.id), "token": t.value})
		})},
		"DELETE /projects/{id}/deploy_tokens/{token}": {do: on(func(c *call, r *repository) {
			r.tokens = slices.DeleteFunc(r.tokens, func(t deployToken) bool { return fmt.Sprint(t.id) == c.r.PathValue("token") })
			c.answer(204, nil)
		})},
	})
}

func (s *Server) bitbucket() http.Handler {
	owner := func(c *call) string { return strings.ToLower(strings.TrimPrefix(c.r.PathValue("project"), "~")) }
	on := func(do func(*call, *repository)) func(*call) {
		return func(c *call) {
			r := s.repos[owner(c)+"/"+c.r.PathValue("slug")]
			if r == nil {
				c.answer(404, map[string]any{"errors": []any{map[string]any{"message": "Repository does not exist."}}})
				return
			}
			do(c, r)
		}
	}
	view := func(c *call, r *repository) map[string]any {
		return map[string]any{
			"slug": r.name, "public": !r.private, "project": map[string]any{"key": c.r.PathValue("project")},
			"links": map[string]any{"clone": []any{
				map[string]any{"name": "http", "href": fmt.Sprintf("https://%s/scm/%s/%s.git", s.Hostname(), r.owner, r.name)},
				map[string]any{"name": "ssh", "href": s.SSHURL(r.owner + "/" + r.name)},
			}},
		}
	}
	header := func(h http.Header) string {
		if h.Get("Authorization") != "Bearer "+s.opts.Token {
			return "Authentication failed"
		}
		return ""
	}
	const repo = "/api/1.0/projects/{project}/repos/{slug}"
	const keys = "/keys/1.0/projects/{project}/repos/{slug}/ssh"
	return s.mux("/rest", header, map[string]operation{
		"GET " + repo: {do: on(func(c *call, r *repository) { c.answer(200, view(c, r)) })},
		"POST /api/1.0/projects/{project}/repos": {map[string]string{"name": "string!", "scmId": "string", "public": "bool", "defaultBranch": "string"}, func(c *call) {
			if o := owner(c); o != s.opts.User && !slices.ContainsFunc(s.opts.Orgs, func(org string) bool { return strings.EqualFold(org, o) }) {
				c.answer(404, map[string]any{"errors": []any{map[string]any{"message": "Project does not exist."}}})
				return
			}
			r, err := s.create(owner(c), strings.ToLower(c.text("name")), !c.flag("public"))
			if err != nil {
				c.answer(409, map[string]any{"errors": []any{map[string]any{"message": "This repository URL is already taken."}}})
				return
			}
			c.answer(201, view(c, r))
		}},
		"PUT " + repo: {map[string]string{"public": "bool"}, on(func(c *call, r *repository) { r.private = !c.flag("public"); c.answer(200, view(c, r)) })},
		"PUT " + repo + "/permissions/groups": {do: on(func(c *call, r *repository) {
			q := c.r.URL.Query()
			if !slices.Contains([]string{"REPO_READ", "REPO_WRITE", "REPO_ADMIN"}, q.Get("permission")) || q.Get("name") == "" {
				s.violate("permissions/groups wants name and permission: %s", c.r.URL.RawQuery)
			}
			r.grants[q.Get("name")] = q.Get("permission")
			c.answer(204, nil)
		})},
		"GET " + keys: {do: on(func(c *call, r *repository) {
			values := []any{}
			for _, k := range r.keys {
				level := "REPO_READ"
				if k.write {
					level = "REPO_WRITE"
				}
				values = append(values, map[string]any{"key": map[string]any{"id": k.id, "text": k.text, "label": k.title}, "permission": level})
			}
			c.answer(200, map[string]any{"values": values, "isLastPage": true})
		})},
		"POST " + keys: {map[string]string{"key": "object!", "permission": "string!"}, on(func(c *call, r *repository) {
			inner, _ := c.body["key"].(map[string]any)
			text, _ := inner["text"].(string)
			label, _ := inner["label"].(string)
			if _, ok := s.addKey(r, label, text, c.text("permission") == "REPO_WRITE"); !ok {
				c.answer(400, map[string]any{"errors": []any{map[string]any{"message": "The key is not valid."}}})
				return
			}
			c.answer(201, map[string]any{})
		})},
		"DELETE " + keys + "/{id}": {do: on(func(c *call, r *repository) { r.dropKey(c.r.PathValue("id")); c.answer(204, nil) })},
	})
}
