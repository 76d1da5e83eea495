package dockerconfig_test

import (
	"strings"
	"testing"

	"github.com/gitops-toolkit/flux/internal/auth"
	"github.com/gitops-toolkit/flux/internal/auth/dockerconfig"
)

func read(t *testing.T, text string) dockerconfig.Config {
	t.Helper()
	c, err := dockerconfig.ReadSecret("ns/pull", map[string][]byte{dockerconfig.Key: []byte(text)})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestLogin(t *testing.T) {
	t.Parallel()
	c := read(t, `{"auths":{
		"ghcr.io": {"username":"host","password":"p"},
		"ghcr.io/org/team": {"username":"team","password":"p"},
		"https://index.docker.io/v1/": {"auth":"aHViOnA6cQ=="},
		"*.azurecr.io": {"username":"azure","password":"p"},
		"fixed.azurecr.io": {"username":"fixed","password":"p"},
		"registry.example:5000": {"identitytoken":"identity"},
		"tokens.example": {"registrytoken":"bearer"}}}`)
	for _, tt := range []struct {
		host, repository string
		want             auth.Login
	}{
		{"ghcr.io", "org/app", auth.Login{Username: "host", Password: "p"}},
		{"GHCR.io", "org/app", auth.Login{Username: "host", Password: "p"}},
		{"ghcr.io", "org/team", auth.Login{Username: "team", Password: "p"}},
		{"ghcr.io", "org/team/app", auth.Login{Username: "team", Password: "p"}},
		{"ghcr.io", "org/teamwork", auth.Login{Username: "host", Password: "p"}},
		{"index.docker.io", "library/app", auth.Login{Username: "hub", Password: "p:q"}},
		{"docker.io", "library/app", auth.Login{Username: "hub", Password: "p:q"}},
		{"any.azurecr.io", "app", auth.Login{Username: "azure", Password: "p"}},
		{"fixed.azurecr.io", "app", auth.Login{Username: "fixed", Password: "p"}},
		{"a.b.azurecr.io", "app", auth.Login{}},
		{"evil-azurecr.io", "app", auth.Login{}},
		{"registry.example:5000", "app", auth.Login{IdentityToken: "identity"}},
		{"registry.example", "app", auth.Login{}},
		{"tokens.example", "app", auth.Login{RegistryToken: "bearer"}},
		{"notghcr.io", "org/app", auth.Login{}},
		{"ghcr.io.evil.example", "org/app", auth.Login{}},
	} {
		if got := c.Login(tt.host, tt.repository); got != tt.want {
			t.Errorf("%s/%s: %+v, want %+v", tt.host, tt.repository, got, tt.want)
		}
	}
	other := read(t, `{"auths":{"ghcr.io":{"username":"second","password":"p"},"quay.io":{"username":"quay","password":"p"}}}`)
	both := c.With(other)
	if got := both.Login("ghcr.io", "x").Username + both.Login("quay.io", "x").Username; got != "hostquay" {
		t.Errorf("the first configuration does not win: %s", got)
	}
}

func TestBadSecrets(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"":                                  "key '.dockerconfigjson' is missing",
		`{"auths":{"x":"canary"}}`:          "not a Docker configuration",
		`canary`:                            "not a Docker configuration",
		`{"auths":{"x":{"auth":"canary"}}}`: "entry 'x': 'auth' is not base64 of <username>:<password>",
		strings.Repeat(" ", 2<<20):          "larger than a mebibyte",
	} {
		_, err := dockerconfig.ReadSecret("ns/pull", map[string][]byte{dockerconfig.Key: []byte(text)})
		if err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), "ns/pull") || strings.Contains(err.Error(), "canary") {
			t.Errorf("%.30q: %v, want %q", text, err, want)
		}
	}
	legacy, err := dockerconfig.ReadSecret("ns/pull", map[string][]byte{".dockercfg": []byte(`{"ghcr.io":{"username":"u","password":"p"}}`)})
	if err != nil || legacy.Login("ghcr.io", "x").Username != "u" {
		t.Errorf("the old type: %v", err)
	}
	// Helpers are commands; they are not even read.
	if c := read(t, `{"credsStore":"evil","credHelpers":{"ghcr.io":"evil"}}`); c.Len() != 0 {
		t.Error("a credential helper gave an entry")
	}
}

func FuzzReadSecret(f *testing.F) {
	f.Add([]byte(`{"auths":{"*.x/[":{"auth":"aHViOnA="}}}`), "x", "y")
	f.Fuzz(func(_ *testing.T, data []byte, host, repository string) {
		if c, err := dockerconfig.ReadSecret("ns/pull", map[string][]byte{dockerconfig.Key: data}); err == nil {
			c.Login(host, repository)
		}
	})
}
