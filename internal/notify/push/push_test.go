package push

import (
	"encoding/base64"
	"net/http"
	"net/url"
	"slices"
	"testing"
)

func TestRead(t *testing.T) {
	t.Parallel()
	github := `{"ref":"refs/heads/main","after":"abc","repository":{"clone_url":"https://github.com/org/fleet.git","ssh_url":"git@github.com:org/fleet.git","html_url":"https://github.com/org/fleet"},"commits":[{"added":["apps/a.yaml"],"removed":[],"modified":["infra/b.yaml"]}]}`
	for name, test := range map[string]struct {
		kind, event, body, form string
		listed                  bool
		want                    Push
	}{
		"GitHub":                      {kind: "github", body: github, want: Push{[]string{"https://github.com/org/fleet.git", "git@github.com:org/fleet.git", "https://github.com/org/fleet"}, []string{"refs/heads/main"}, "abc", []string{"apps/a.yaml", "infra/b.yaml"}}},
		"GitHub, a form":              {kind: "github", form: github, want: Push{[]string{"https://github.com/org/fleet.git", "git@github.com:org/fleet.git", "https://github.com/org/fleet"}, []string{"refs/heads/main"}, "abc", []string{"apps/a.yaml", "infra/b.yaml"}}},
		"GitHub, forced":              {kind: "github", body: `{"ref":"refs/heads/main","after":"abc","forced":true,"repository":{"html_url":"https://github.com/org/fleet"},"commits":[{"added":["a/b"]}]}`, want: Push{[]string{"https://github.com/org/fleet"}, []string{"refs/heads/main"}, "abc", nil}},
		"GitHub, before":              {kind: "github", body: `{"ref":"refs/heads/main","before":"b","after":"a","repository":{"html_url":"https://github.com/org/fleet"}}`, want: Push{[]string{"https://github.com/org/fleet"}, []string{"refs/heads/main"}, "b..a", nil}},
		"Bitbucket, moved":            {kind: "bitbucket", body: `{"repository":{"links":{"html":{"href":"https://bitbucket.org/w/r"}}},"push":{"changes":[{"new":{"type":"branch","name":"main","target":{"hash":"a"}},"old":{"type":"branch","name":"main","target":{"hash":"b"}}}]}}`, want: Push{[]string{"https://bitbucket.org/w/r"}, []string{"refs/heads/main"}, "b..a", nil}},
		"Bitbucket's own":             {kind: "bitbucket", body: `{"repository":{"links":{"clone":[{"href":"https://bb.example/scm/k/r.git"}]}},"changes":[{"ref":{"id":"refs/heads/main"},"fromHash":"b","toHash":"a"}]}`, want: Push{[]string{"https://bb.example/scm/k/r.git"}, []string{"refs/heads/main"}, "b..a", nil}},
		"GitHub package":              {kind: "github", body: `{"action":"published","package":{"package_version":{"package_url":"ghcr.io/org/app:1.2.3","container_metadata":{"tag":{"name":"1.2.3","digest":"sha256:1"}}}},"repository":{"html_url":"https://github.com/org/app"}}`, want: Push{[]string{"ghcr.io/org/app"}, []string{"1.2.3"}, "sha256:1", nil}},
		"GitLab":                      {kind: "gitlab", body: `{"ref":"refs/tags/v1","after":"def","project":{"git_http_url":"https://gitlab.com/g/s/p.git","git_ssh_url":"git@gitlab.com:g/s/p.git","web_url":"https://gitlab.com/g/s/p"},"total_commits_count":1,"commits":[{"modified":["x/y"]}]}`, want: Push{[]string{"https://gitlab.com/g/s/p.git", "git@gitlab.com:g/s/p.git", "https://gitlab.com/g/s/p"}, []string{"refs/tags/v1"}, "def", []string{"x/y"}}},
		"GitLab, cut":                 {kind: "gitlab", body: `{"ref":"refs/heads/m","after":"def","project":{"web_url":"https://gitlab.com/g/p"},"total_commits_count":40,"commits":[{"modified":["x/y"]}]}`, want: Push{[]string{"https://gitlab.com/g/p"}, []string{"refs/heads/m"}, "def", nil}},
		"Bitbucket Server":            {kind: "bitbucket", body: `{"repository":{"links":{"clone":[{"href":"https://bb.example/scm/k/r.git","name":"http"},{"href":"ssh://git@bb.example:7999/k/r.git"}]}},"changes":[{"ref":{"id":"refs/heads/main"},"toHash":"fff"}]}`, want: Push{[]string{"https://bb.example/scm/k/r.git", "ssh://git@bb.example:7999/k/r.git"}, []string{"refs/heads/main"}, "fff", nil}},
		"Bitbucket Cloud":             {kind: "bitbucket", body: `{"repository":{"links":{"html":{"href":"https://bitbucket.org/w/r"}}},"push":{"changes":[{"new":{"type":"branch","name":"main","target":{"hash":"aaa"}}},{"new":null,"old":{"type":"tag","name":"v1","target":{"hash":"bbb"}}}]}}`, want: Push{[]string{"https://bitbucket.org/w/r"}, []string{"refs/heads/main", "refs/tags/v1"}, "aaa,bbb", nil}},
		"Docker Hub":                  {kind: "dockerhub", body: `{"push_data":{"tag":"1.0","pushed_at":1417566161},"repository":{"repo_name":"org/app","repo_url":"https://hub.docker.com/r/org/app"}}`, want: Push{[]string{"docker.io/org/app"}, []string{"1.0"}, "1417566161", nil}},
		"Quay":                        {kind: "quay", body: `{"docker_url":"quay.io/org/app","updated_tags":["a","b"]}`, want: Push{[]string{"quay.io/org/app"}, []string{"a", "b"}, "", nil}},
		"GCR":                         {kind: "gcr", body: `{"message":{"data":"` + base64.StdEncoding.EncodeToString([]byte(`{"action":"INSERT","digest":"gcr.io/p/app@sha256:2","tag":"gcr.io/p/app:7"}`)) + `"}}`, want: Push{[]string{"gcr.io/p/app", "gcr.io/p/app"}, []string{"7"}, "sha256:2", nil}},
		"Harbor":                      {kind: "harbor", body: `{"type":"PUSH_ARTIFACT","event_data":{"resources":[{"digest":"sha256:3","tag":"x","resource_url":"hub.example:8443/p/app:x"}]}}`, want: Push{[]string{"hub.example:8443/p/app"}, []string{"x"}, "sha256:3", nil}},
		"ACR":                         {kind: "acr", body: `{"action":"push","request":{"host":"r.azurecr.io"},"target":{"repository":"app","tag":"9","digest":"sha256:4"}}`, want: Push{[]string{"r.azurecr.io/app"}, []string{"9"}, "sha256:4", nil}},
		"GitHub, a tag made by hand":  {kind: "github", event: "create", listed: true, body: `{"ref":"v1","ref_type":"tag","repository":{"html_url":"https://github.com/org/fleet"}}`, want: Push{[]string{"https://github.com/org/fleet"}, []string{"refs/tags/v1"}, "", nil}},
		"GitHub, a release asked for": {kind: "github", event: "release", listed: true, body: `{"action":"published","repository":{"html_url":"https://github.com/org/fleet"}}`, want: Push{[]string{"https://github.com/org/fleet"}, nil, "", nil}},
		"Gitea package":               {kind: "github", event: "package", body: `{"action":"created","package":{"type":"container","name":"app","version":"1.2","html_url":"https://git.example/org/-/packages/container/app/1.2"}}`, want: Push{[]string{"git.example/org/app"}, []string{"1.2"}, "", nil}},
		"GitLab, an annotated tag":    {kind: "gitlab", event: "Tag Push Hook", body: `{"object_kind":"tag_push","ref":"refs/tags/v1","before":"b","after":"a","message":"Release 1","project":{"web_url":"https://gitlab.com/g/p"},"commits":[]}`, want: Push{[]string{"https://gitlab.com/g/p"}, []string{"refs/tags/v1"}, "b..a", nil}},
		"GitLab, a system hook":       {kind: "gitlab", event: "System Hook", body: `{"event_name":"repository_update","project":{"git_http_url":"https://gitlab.com/g/p.git"},"changes":[{"before":"b","after":"a","ref":"refs/heads/main"},{"before":"0","after":"c","ref":"refs/tags/v1"}],"refs":["refs/heads/main","refs/tags/v1"]}`, want: Push{[]string{"https://gitlab.com/g/p.git"}, []string{"refs/heads/main", "refs/tags/v1"}, "b..a,0..c", nil}},
		"Harbor, as a CloudEvent":     {kind: "harbor", body: `{"specversion":"1.0","type":"harbor.artifact.pushed","data":{"resources":[{"digest":"sha256:3","tag":"x","resource_url":"hub.example/p/app:x"}]}}`, want: Push{[]string{"hub.example/p/app"}, []string{"x"}, "sha256:3", nil}},
		"plain":                       {kind: "generic-hmac", body: `{"repository":"https://git.example/a","ref":"refs/heads/x","after":"1"}`, want: Push{[]string{"https://git.example/a"}, []string{"refs/heads/x"}, "1", nil}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			header, body := http.Header{"Content-Type": {"application/json"}}, test.body
			if test.form != "" {
				header.Set("Content-Type", "application/x-www-form-urlencoded")
				body = url.Values{"payload": {test.form}}.Encode()
			}
			setEvent(header, test.event)
			got := Read(Call{Type: test.kind, Header: header, Body: []byte(body), Listed: test.listed})
			if got == nil {
				t.Fatal("nothing read")
			}
			if !slices.Equal(got.Repositories, test.want.Repositories) || !slices.Equal(got.Refs, test.want.Refs) ||
				got.Revision != test.want.Revision || !slices.Equal(got.Paths, test.want.Paths) {
				t.Errorf("got  %+v\nwant %+v", *got, test.want)
			}
		})
	}
	for _, body := range []string{``, `[]`, `{}`, `{"repository":7}`, `{"repository":{}}`} {
		for kind := range readers {
			for _, listed := range []bool{false, true} {
				if got := Read(Call{Type: kind, Header: http.Header{}, Body: []byte(body), Listed: listed}); got != nil {
					t.Errorf("%s read %q as %+v", kind, body, *got)
				}
			}
		}
	}
}

func setEvent(header http.Header, event string) {
	for _, name := range []string{"X-GitHub-Event", "X-Gitlab-Event", "X-Event-Key"} {
		if event != "" {
			header.Set(name, event)
		}
	}
}

// What moves no reference and publishes nothing is no push.
func TestNoPush(t *testing.T) {
	t.Parallel()
	hub, lab := `"repository":{"clone_url":"https://github.com/org/fleet.git"}`, `"project":{"git_http_url":"https://gitlab.com/g/p.git"}`
	gcr := func(action string) string {
		return `{"message":{"data":"` + base64.StdEncoding.EncodeToString([]byte(`{"action":"`+action+`","tag":"gcr.io/p/app:7"}`)) + `"}}`
	}
	for _, test := range []struct {
		kind, event, body string
		listed            bool
	}{
		{"github", "ping", `{"zen":"Keep it logically awesome.","hook_id":1,` + hub + `}`, false},
		{"github", "ping", `{"zen":"Keep it logically awesome.","ref":"refs/heads/main",` + hub + `}`, true},
		{"github", "star", `{"action":"created",` + hub + `}`, false},
		{"github", "issues", `{"action":"opened",` + hub + `}`, false},
		{"github", "workflow_run", `{"action":"completed",` + hub + `}`, false},
		{"github", "create", `{"ref":"v1","ref_type":"tag",` + hub + `}`, false},
		{"github", "package", `{"action":"deleted","package":{"package_version":{"package_url":"ghcr.io/o/a:1"}}}`, false},
		{"github", "package", `{"action":"created","package":{"type":"npm","name":"x","html_url":"https://git.example/org/-/packages/npm/x"}}`, false},
		{"github", "", `{"action":"created",` + hub + `}`, false},
		{"generic", "ping", `{"zen":"x",` + hub + `}`, false},
		{"generic-hmac", "", `{"action":"started",` + hub + `}`, false},
		{"gitlab", "Issue Hook", `{"object_kind":"issue",` + lab + `}`, false},
		{"gitlab", "Pipeline Hook", `{"object_kind":"pipeline","ref":"main",` + lab + `}`, false},
		{"gitlab", "System Hook", `{"event_name":"user_create",` + lab + `}`, false},
		{"bitbucket", "diagnostics:ping", `{"test":true}`, true},
		{"bitbucket", "pr:opened", `{"repository":{"links":{"html":{"href":"https://bitbucket.org/w/r"}}}}`, false},
		{"bitbucket", "repo:fork", `{"repository":{"links":{"html":{"href":"https://bitbucket.org/w/r"}}}}`, false},
		{"dockerhub", "", `{"repository":{"repo_name":"org/app"}}`, false},
		{"quay", "", `{"docker_url":"quay.io/org/app","build_id":"1","docker_tags":["a"]}`, false},
		{"gcr", "", gcr("DELETE"), false},
		{"harbor", "", `{"type":"SCANNING_COMPLETED","event_data":{"resources":[{"resource_url":"hub.example/p/app:x"}]}}`, false},
		{"harbor", "", `{"type":"PULL_ARTIFACT","event_data":{"resources":[{"resource_url":"hub.example/p/app:x"}]}}`, false},
		{"harbor", "", `{"type":"DELETE_ARTIFACT","event_data":{"resources":[{"resource_url":"hub.example/p/app:x"}]}}`, false},
		{"acr", "", `{"action":"delete","request":{"host":"r.azurecr.io"},"target":{"repository":"app"}}`, false},
		{"acr", "", `{"action":"ping","request":{"host":"r.azurecr.io"},"target":{"repository":"app"}}`, false},
	} {
		header := http.Header{"Content-Type": {"application/json"}}
		setEvent(header, test.event)
		if got := Read(Call{Type: test.kind, Header: header, Body: []byte(test.body), Listed: test.listed}); got != nil {
			t.Errorf("%s %s %s is read as %+v", test.kind, test.event, test.body, *got)
		}
	}
}

func TestConcerns(t *testing.T) {
	t.Parallel()
	p := &Push{Repositories: []string{"https://github.com/Org/Fleet.git"}, Refs: []string{"refs/heads/main"}, Paths: []string{"apps/web/a.yaml"}}
	image := &Push{Repositories: []string{"ghcr.io/org/app"}, Refs: []string{"1.2"}}
	for name, test := range map[string]struct {
		push *Push
		s    Source
		want bool
	}{
		"the same":                 {p, Source{Address: "https://github.com/org/fleet"}, true},
		"over SSH":                 {p, Source{Address: "ssh://git@github.com:2222/org/fleet.git"}, true},
		"in the short form":        {p, Source{Address: "git@github.com:org/fleet"}, true},
		"another repository":       {p, Source{Address: "https://github.com/org/fleet2"}, false},
		"another host":             {p, Source{Address: "https://github.example/org/fleet"}, false},
		"no address":               {p, Source{}, false},
		"its branch":               {p, Source{Address: "https://github.com/org/fleet", Refs: []string{"refs/heads/main"}}, true},
		"another branch":           {p, Source{Address: "https://github.com/org/fleet", Refs: []string{"refs/heads/dev"}}, false},
		"tags only":                {p, Source{Address: "https://github.com/org/fleet", Refs: []string{"refs/tags/*"}}, false},
		"a directory of its own":   {p, Source{Address: "https://github.com/org/fleet", Directories: []string{"./infra"}}, false},
		"the directory":            {p, Source{Address: "https://github.com/org/fleet", Directories: []string{"infra", "/apps/web/"}}, true},
		"a name that begins alike": {p, Source{Address: "https://github.com/org/fleet", Directories: []string{"apps/we"}}, false},
		"an image":                 {image, Source{Address: "ghcr.io/org/app"}, true},
		"an OCI address":           {image, Source{Address: "oci://ghcr.io/org/app", Refs: []string{"1.2"}}, true},
		"another tag":              {image, Source{Address: "oci://ghcr.io/org/app", Refs: []string{"1.3"}}, false},
		"a folder of charts":       {image, Source{Address: "oci://ghcr.io/org", Prefix: true}, true},
		"part of a folder's name":  {image, Source{Address: "oci://ghcr.io/or", Prefix: true}, false},
	} {
		if got := test.push.Concerns(test.s); got != test.want {
			t.Errorf("%s: %v", name, got)
		}
	}
	a, b := &Push{Repositories: []string{"https://h/x"}, Revision: "1"}, &Push{Repositories: []string{"git@h:x.git"}, Revision: "1"}
	if a.Identity() == "" || a.Identity() != b.Identity() || !a.Certain() || (*Push)(nil).Identity() != "" {
		t.Error("identities: ", a.Identity(), b.Identity())
	}
	if c := (&Push{Repositories: a.Repositories, Refs: []string{"1.0"}}); c.Certain() || c.Identity() == "" {
		t.Error("a push without a revision: ", c.Identity())
	}
	for name, many := range map[*Source]bool{{}: true, {Refs: []string{"refs/tags/*"}}: true, {Refs: []string{"refs/heads/main"}}: false} {
		if name.Many() != many {
			t.Errorf("%+v: %v", name, name.Many())
		}
	}
}
