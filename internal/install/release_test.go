package install

import (
	"bytes"
	"fmt"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/gitops-toolkit/flux/manifests"
)

func embedded() fs.FS { return manifests.Files() }

// releases serves v1.2.4 and tells that it is the latest.
func releases(t *testing.T) (Releases, *[]string) {
	t.Helper()
	var archive bytes.Buffer
	if err := Archive(&archive, embedded()); err != nil {
		t.Fatal(err)
	}
	var asked []string
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked = append(asked, r.URL.Path)
		switch r.URL.Path {
		case "/api/releases/latest":
			fmt.Fprint(w, `{"tag_name": "v1.2.4"}`)
		case "/releases/download/v1.2.4/manifests.tar.gz":
			_, _ = w.Write(archive.Bytes())
		case "/releases/download/v1.2.5/manifests.tar.gz":
			fmt.Fprint(w, "not an archive")
		default:
			http.NotFound(w, r)
		}
	}))
	t.Cleanup(server.Close)
	return Releases{BaseURL: server.URL + "/releases", APIURL: server.URL + "/api", Client: server.Client()}, &asked
}

func TestVersions(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		program, version, path string
		want, fails            string
		offline                bool
	}{
		"own":                   {program: "v1.2.3", want: "v1.2.3", offline: true},
		"own, named":            {program: "v1.2.3", version: "v1.2.3", want: "v1.2.3", offline: true},
		"development":           {program: "v0.0.0-dev.0", want: "v0.0.0-dev.0", offline: true},
		"latest":                {program: "v1.2.3", version: "latest", want: "v1.2.4"},
		"other patch":           {program: "v1.2.3", version: "v1.2.4", want: "v1.2.4"},
		"no prefix":             {program: "v1.2.3", version: "1.2.4", fails: "targeted version '1.2.4' must be prefixed with 'v'", offline: true},
		"not a version":         {program: "v1.2.3", version: "v1", fails: "targeted version 'v1'", offline: true},
		"other minor":           {program: "v1.2.3", version: "v1.3.0", fails: "targeted version 'v1.3.0' is not compatible with your current version of flux (v1.2.3)", offline: true},
		"a pre-release may":     {program: "v0.0.0-dev.0", version: "v1.2.4", want: "v1.2.4"},
		"missing":               {program: "v1.2.3", version: "v1.2.9", fails: "targeted version 'v1.2.9' does not exist"},
		"broken archive":        {program: "v1.2.3", version: "v1.2.5", fails: "unpack the manifests of v1.2.5"},
		"missing directory":     {program: "v1.2.3", path: "/nonexistent/manifests", fails: "--manifests", offline: true},
		"directory of its own":  {program: "v1.2.3", path: "../../manifests", want: "v1.2.3", offline: true},
		"a path in the version": {program: "v0.0.0-dev.0", version: "v1.2.3/../../x", fails: "targeted version", offline: true},
	} {
		r, asked := releases(t)
		b, err := r.Manifests(t.Context(), Request{Version: c.version, Program: c.program, Path: c.path})
		if c.fails != "" {
			if err == nil || !strings.Contains(err.Error(), c.fails) {
				t.Errorf("%s: %v, want %q", name, err, c.fails)
			}
			continue
		}
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if b.Version != c.want {
			t.Errorf("%s: version %s, want %s", name, b.Version, c.want)
		}
		o := Defaults(b.Version)
		if _, err := Build(b.Files, o); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if c.offline && len(*asked) > 0 {
			t.Errorf("%s needed the network: %v", name, *asked)
		}
		if err := b.Close(); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}
