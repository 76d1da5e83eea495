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
		kind, body, form string
		want             Push
	}{
		"GitHub":           {kind: "github", body: github, want: Push{[]string{"https://github.com/org/fleet.git", "git@github.com:org/fleet.git", "https://github.com/org/fleet"}, []string{"refs/heads/main"}, "abc", []string{"apps/a.yaml", "infra/b.yaml"}}},
		"GitHub, a form":   {kind: "github", form: github, want: Push{[]string{"https://github.com/org/fleet.git", "git@github.com:org/fleet.git", "https://github.com/org/fleet"}, []string{"refs/heads/main"}, "abc", []string{"apps/a.yaml", "infra/b.yaml"}}},
		"GitHub, forced":   {kind: "github", body: `{"ref":"refs/heads/main","after":"abc","forced":true,"repository":{"html_url":"https://github.com/org/fleet"},"commits":[{"added":["a/b"]}]}`, want: Push{[]string{"https://github.com/org/fleet"}, []string{"refs/heads/main"}, "abc", nil}},
		"GitHub, before":   {kind: "github", body: `{"ref":"refs/heads/main","before":"b","after":"a","repository":{"html_url":"https://github.com/org/fleet"}}`, want: Push{[]string{"https://github.com/org/fleet"}, []string{"refs/heads/main"}, "b..a", nil}},
		"Bitbucket, moved": {kind: "bitbucket", body: `{"repository":{"links":{"html":{"href":"https://bitbucket.org/w/r"}}},"push":{"changes":[{"new":{"type":"branch","name":"main","target":{"hash":"a"}},"old":{"type":"branch","name":"main","target":{"hash":"b"}}}]}}`, want: Push{[]string{"https://bitbucket.org/w/r"}, []string{"refs/heads/main"}, "b..a", nil}},
		"Bitbucket's own":  {kind: "bitbucket", body: `{"repository":{"links":{"clone":[{"href":"https://bb.example/scm/k/r.git"}]}},"changes":[{"ref":{"id":"refs/heads/main"},"fromHash":"b","toHash":"a"}]}`, want: Push{[]string{"https://bb.example/scm/k/r.git"}, []string{"refs/heads/main"}, "b..a", nil}},
		"GitHub package":   {kind: "github", body: `{"action":"published","package":{"package_version":{"package_url":"ghcr.io/org/app:1.2.3","container_metadata":{"tag":{"name":"1.2.3","digest":"sha256:1"}}}},"repository":{"html_url":"https://github.com/org/app"}}`, want: Push{[]string{"ghcr.io/org/app"}, []string{"1.2.3"}, "sha256:1", nil}},
		"GitLab":           {kind: "gitlab", body: `{"ref":"refs/tags/v1","after":"def","project":{"git_http_url":"https://gitlab.com/g/s/p.git","git_ssh_url":"git@gitlab.com:g/s/p.git","web_url":"https://gitlab.com/g/s/p"},"total_commits_count":1,"commits":[{"modified":["x/y"]}]}`, want: Push{[]string{"https://gitlab.com/g/s/p.git", "git@gitlab.com:g/s/p.git", "https://gitlab.com/g/s/p"}, []string{"refs/tags/v1"}, "def", []string{"x/y"}}},
		"GitLab, cut":      {kind: "gitlab", body: `{"ref":"refs/heads/m","after":"def","project":{"web_url":"https://gitlab.com/g/p"},"total_commits_count":40,"commits":[{"modified":["x/y"]}]}`, want: Push{[]string{"https://gitlab.com/g/p"}, []string{"refs/heads/m"}, "def", nil}},
		"Bitbucket Server": {kind: "bitbucket", body: `{"repository":{"links":{"clone":[{"href":"https://bb.example/scm/k/r.git","name":"http"},{"href":"ssh://git@bb.example:7999/k/r.git"}]}},"changes":[{"ref":{"id":"refs/heads/main"},"toHash":"fff"}]}`, want: Push{[]string{"https://bb.example/scm/k/r.git", "ssh://git@bb.example:7999/k/r.git"}, []string{"refs/heads/main"}, "fff", nil}},
		"Bitbucket Cloud":  {kind: "bitbucket", body: `{"repository":{"links":{"html":{"href":"https://bitbucket.org/w/r"}}},"push":{"changes":[{"new":{"type":"branch","name":"main","target":{"hash":"aaa"}}},{"new":null,"old":{"type":"tag","name":"v1","target":{"hash":"bbb"}}}]}}`, want: Push{[]string{"https://bitbucket.org/w/r"}, []string{"refs/heads/main", "refs/tags/v1"}, "", nil}},
		"Docker Hub":       {kind: "dockerhub", body: `{"push_data":{"tag":"1.0"},"repository":{"repo_name":"org/app","repo_url":"https://hub.docker.com/r/org/app"}}`, want: Push{[]string{"docker.io/org/app"}, []string{"1.0"}, "", nil}},
		"Quay":             {kind: "quay", body: `{"docker_url":"quay.io/org/app","updated_tags":["a","b"]}`, want: Push{[]string{"quay.io/org/app"}, []string{"a", "b"}, "", nil}},
		"GCR":              {kind: "gcr", body: `{"message":{"data":"` + base64.StdEncoding.EncodeToString([]byte(`{"action":"INSERT","digest":"gcr.io/p/app@sha256:2","tag":"gcr.io/p/app:7"}`)) + `"}}`, want: Push{[]string{"gcr.io/p/app", "gcr.io/p/app"}, []string{"7"}, "sha256:2", nil}},
		"Harbor":           {kind: "harbor", body: `{"type":"PUSH_ARTIFACT","event_data":{"resources":[{"digest":"sha256:3","tag":"x","resource_url":"hub.example:8443/p/app:x"}]}}`, want: Push{[]string{"hub.example:8443/p/app"}, []string{"x"}, "sha256:3", nil}},
		"ACR":              {kind: "acr", body: `{"action":"push","request":{"host":"r.azurecr.io"},"target":{"repository":"app","tag":"9","digest":"sha256:4"}}`, want: Push{[]string{"r.azurecr.io/app"}, []string{"9"}, "sha256:4", nil}},
		"plain":            {kind: "generic-hmac", body: `{"repository":"https://git.example/a","ref":"refs/heads/x","after":"1"}`, want: Push{[]string{"https://git.example/a"}, []string{"refs/heads/x"}, "1", nil}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			header, body := http.Header{"Content-Type": {"application/json"}}, test.body
			if test.form != "" {
				header.Set("Content-Type", "application/x-www-form-urlencoded")
				body = url.Values{"payload": {test.form}}.Encode()
			}
			got := Read(test.kind, header, []byte(body))
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
			if got := Read(kind, http.Header{}, []byte(body)); got != nil {
				t.Errorf("%s read %q as %+v", kind, body, *got)
			}
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
	if a.Identity() == "" || a.Identity() != b.Identity() || (&Push{Repositories: a.Repositories}).Identity() != "" {
		t.Error("identities: ", a.Identity(), b.Identity())
	}
}
