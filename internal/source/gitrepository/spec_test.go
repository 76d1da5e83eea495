package gitrepository

import (
	"errors"
	"fmt"
	"net/url"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/gitops-toolkit/flux/api/meta"
	sourcev1 "github.com/gitops-toolkit/flux/api/source/v1"
	"github.com/gitops-toolkit/flux/internal/artifact/archive"
	"github.com/gitops-toolkit/flux/internal/gitrepo"
)

func TestCanonical(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		"main@sha1:abc":            "main@sha1:abc",
		"sha1:abc":                 "sha1:abc",
		"main/abc":                 "main@sha1:abc",
		"feature/x/abc":            "feature/x@sha1:abc",
		"HEAD/abc":                 "sha1:abc",
		"refs/pull/1/head@sha1:ab": "refs/pull/1/head@sha1:ab",
		"odd":                      "odd",
	} {
		if got := canonical(in); got != want {
			t.Errorf("canonical(%q) = %q, want %q", in, got, want)
		}
	}
}

func secretOf(data map[string]string) *corev1.Secret {
	s := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: "git"}, Data: map[string][]byte{}}
	for k, v := range data {
		s.Data[k] = []byte(v)
	}
	return s
}

func TestAuthOf(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		reason, url string
		data        map[string]string
		want        gitrepo.Auth
		err         string
	}{
		{"basic auth", "https://h/r", map[string]string{"username": "u", "password": "p"}, gitrepo.Auth{Username: "u", Password: "p"}, ""},
		{"a token wins", "https://h/r", map[string]string{"username": "u", "password": "p", "bearerToken": "t"}, gitrepo.Auth{BearerToken: "t"}, ""},
		{"a password alone", "https://h/r", map[string]string{"password": "p"}, gitrepo.Auth{}, "invalid 'ns/git' secret data: 'password' without 'username'"},
		{"keys of today win over those of old", "https://h/r", map[string]string{"ca.crt": "new", "caFile": "old", "certFile": "c", "keyFile": "k"},
			gitrepo.Auth{CA: []byte("new"), ClientCert: []byte("c"), ClientKey: []byte("k")}, ""},
		{"half a pair", "https://h/r", map[string]string{"tls.crt": "c"}, gitrepo.Auth{}, "invalid 'ns/git' secret data: 'tls.crt' and 'tls.key' must be given together"},
		{"SSH", "ssh://h/r", map[string]string{"identity": "i", "known_hosts": "k", "password": "p", "username": "ignored"},
			gitrepo.Auth{Identity: []byte("i"), KnownHosts: []byte("k"), Passphrase: "p"}, ""},
		{"SSH without known_hosts", "ssh://h/r", map[string]string{"identity": "i"}, gitrepo.Auth{}, "invalid 'ns/git' secret data: required fields 'identity' and 'known_hosts'"},
	} {
		got, err := authOf(tc.url, secretOf(tc.data))
		if tc.err != "" {
			if err == nil || err.Error() != tc.err {
				t.Errorf("%s: %v, want %s", tc.reason, err, tc.err)
			}
			continue
		}
		if err != nil || fmt.Sprint(got) != fmt.Sprint(tc.want) {
			t.Errorf("%s: %+v, %v, want %+v", tc.reason, got, err, tc.want)
		}
	}
}

func TestProxyOf(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		reason string
		data   map[string]string
		want   string
		err    string
	}{
		{"plain", map[string]string{"address": "http://p:1"}, "http://p:1", ""},
		{"with credentials", map[string]string{"address": "socks5://p:1", "username": "u", "password": "p/w"}, (&url.URL{Scheme: "socks5", Host: "p:1", User: url.UserPassword("u", "p/w")}).String(), ""},
		{"no address", nil, "", "key 'address' is missing"},
		{"no scheme", map[string]string{"address": "p:1"}, "", "is not a URL"},
		{"another scheme", map[string]string{"address": "ftp://p"}, "", "none of http, https, socks5"},
		{"too long", map[string]string{"address": "http://" + strings.Repeat("p", 2048)}, "", "longer than 2048"},
	} {
		got, err := proxyOf(secretOf(tc.data))
		if tc.err != "" {
			if err == nil || !strings.Contains(err.Error(), tc.err) || !strings.Contains(err.Error(), "'ns/git'") {
				t.Errorf("%s: %v, want %s", tc.reason, err, tc.err)
			}
			continue
		}
		if err != nil || got.String() != tc.want {
			t.Errorf("%s: %v, %v, want %s", tc.reason, got, err, tc.want)
		}
	}
}

func TestShorten(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("ä", 51)
	for in, want := range map[string]string{
		"short":                 "short",
		strings.Repeat("a", 50): strings.Repeat("a", 50),
		long:                    strings.Repeat("ä", 50) + "...",
	} {
		if got := shorten(in); got != want {
			t.Errorf("shorten(%q) = %q, want %q", in, got, want)
		}
	}
}

func TestExplainNamesTheNextStep(t *testing.T) {
	t.Parallel()
	with := func(ref *sourcev1.GitRepositoryRef, secret string) *sourcev1.GitRepository {
		o := &sourcev1.GitRepository{ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: "fleet"}}
		o.Spec.URL, o.Spec.Reference = "https://jo:s3cret@h/r", ref
		if secret != "" {
			o.Spec.SecretRef = &meta.LocalObjectReference{Name: secret}
		}
		return o
	}
	plain, secret := with(nil, ""), with(nil, "git")
	proxied := with(nil, "")
	proxied.Spec.ProxySecretRef = &meta.LocalObjectReference{Name: "way"}
	short, full := strings.Repeat("a", 7), strings.Repeat("a", 40)
	for _, tc := range []struct {
		reason string
		obj    *sourcev1.GitRepository
		err    error
		want   string // what follows the cause
	}{
		{"no Secret", plain, gitrepo.ErrAuthentication, "; set spec.secretRef to a Secret with credentials for this repository"},
		{"a wrong Secret", secret, gitrepo.ErrAuthentication, "; check the credentials in the Secret 'ns/git', and what they are allowed"},
		{"too few rights", secret, gitrepo.ErrAuthorization, "; check the credentials in the Secret 'ns/git', and what they are allowed"},
		{"contradictions in the Secret", secret, gitrepo.ErrCredentials, "; correct the Secret 'ns/git'"},
		{"contradictions in the URL", plain, gitrepo.ErrCredentials, "; correct the credentials in spec.url, or set spec.secretRef"},
		{"a wrong URL", plain, gitrepo.ErrRepositoryNotFound, "; check spec.url; many servers also answer so when credentials are missing"},
		{"a repository that moved", plain, gitrepo.ErrRedirect, "; set spec.url to the address where the repository is now"},
		{"another host key", secret, gitrepo.ErrHostKey, "; if the key is right, add it to 'known_hosts' in the Secret 'ns/git'"},
		{"an empty repository; the URL is shown without its password", plain, gitrepo.ErrEmpty, "; push a commit to 'https://h/r'"},
		{"names that lead out", plain, gitrepo.ErrTree, "; push a commit without it, as no consumer could unpack it safely"},
		{"a bad .gitmodules", plain, gitrepo.ErrSubmodule, "; correct '.gitmodules' in the repository, or remove spec.recurseSubmodules"},
		{"a submodule's commit, which spec.ref has no part in", with(&sourcev1.GitRepositoryRef{Tag: "v1"}, ""), submoduleError{gitrepo.ErrReference},
			"; push the submodule's commit to where '.gitmodules' says, or remove spec.recurseSubmodules"},
		{"recorded: the message of a missing branch ends with the branch, in the condition and in the event, so the next step is left out",
			with(&sourcev1.GitRepositoryRef{Branch: "missing"}, ""), gitrepo.ErrReference, ""},
		{"no branch was named, and the default is not there", plain, gitrepo.ErrReference, "; spec.ref is not set; set spec.ref.branch to the branch that you mean"},
		{"a proxy of the environment", plain, gitrepo.ErrProxy, "; check spec.url, and the proxy in the controller's environment (HTTP_PROXY, HTTPS_PROXY, NO_PROXY)"},
		{"a proxy of its own", proxied, gitrepo.ErrProxy, "; check spec.url, and the proxy in the Secret 'ns/way'"},
		{"a server that is down", plain, gitrepo.ErrBusy, "; the next attempt follows by itself; if it goes on, look at the server of spec.url"},
		{"no such tag", with(&sourcev1.GitRepositoryRef{Tag: "v9", SemVer: "1.x", Branch: "main"}, ""), gitrepo.ErrReference, "; check spec.ref.tag"},
		{"no such name, which wins over a tag", with(&sourcev1.GitRepositoryRef{Name: "refs/x", Tag: "v9"}, ""), gitrepo.ErrReference, "; check spec.ref.name"},
		{"no version in the range", with(&sourcev1.GitRepositoryRef{SemVer: ">9"}, ""), gitrepo.ErrReference, "; no tag of 'https://h/r' matches spec.ref.semver"},
		{"no range", with(&sourcev1.GitRepositoryRef{SemVer: "nine"}, ""), errors.New("improper"), "; correct spec.ref.semver, such as '>=1.0.0 <2.0.0'"},
		{"a range that has no part in it", with(&sourcev1.GitRepositoryRef{SemVer: ">9"}, ""), errors.New("broken"), ""},
		{"a short commit", with(&sourcev1.GitRepositoryRef{Commit: short, Branch: "main"}, ""), gitrepo.ErrReference, "; write all 40 digits in spec.ref.commit"},
		{"no such commit", with(&sourcev1.GitRepositoryRef{Commit: full}, ""), gitrepo.ErrReference, "; check spec.ref.commit, and that it was pushed to 'https://h/r'"},
	} {
		cause := fmt.Errorf("cause: %w", tc.err)
		if got := explain(tc.obj, cause); !errors.Is(got, tc.err) || got.Error() != cause.Error()+tc.want {
			t.Errorf("%s: %q does not end with %q", tc.reason, got, tc.want)
		}
	}
}

func TestExplainArchive(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		reason string
		err    error
		want   string
	}{
		{"what is too large is the tree's doing", archive.ErrLimit, "; leave files out with spec.ignore or a file '.sourceignore'"},
		{"all else is the volume's", errors.New("no space left on device"), "; check the free space and the permissions of the controller's storage"},
	} {
		if got := explainArchive(tc.err); !errors.Is(got, tc.err) || got.Error() != tc.err.Error()+tc.want {
			t.Errorf("%s: %q does not end with %q", tc.reason, got, tc.want)
		}
	}
}

// TestLane keeps polls apart by whom they may have to wait for.
func TestLane(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct{ reason, url, want string }{
		{"repositories of a host share a lane", "https://example.com/a/b", "https://example.com"},
		{"case makes no other host", "https://Example.COM/a", "https://example.com"},
		{"another port may be another server", "https://example.com:8443/a", "https://example.com:8443"},
		{"another protocol may be another server, and no credentials are shown", "ssh://git@example.com/a", "ssh://example.com"},
	} {
		obj := &sourcev1.GitRepository{}
		obj.Spec.URL = tc.url
		o := (&controller{}).Reconcile(t.Context(), &request{Object: obj})
		if o.Job.Lane != tc.want || o.Job.Run == nil {
			t.Errorf("%s: %q, want %q (%s)", tc.reason, o.Job.Lane, tc.want, o.Message)
		}
	}
}

// TestStatusOfUpstream reads a status that upstream left, so that a swap of controllers rebuilds nothing.
func TestStatusOfUpstream(t *testing.T) {
	t.Parallel()
	text := "/*\n"
	obj := &sourcev1.GitRepository{}
	obj.Spec.Ignore = &text
	obj.Status.ObservedIgnore = &text
	obj.Status.Artifact = &meta.Artifact{Revision: "main/" + strings.Repeat("a", 40)}
	if !sameInput(&obj.Spec, &obj.Status) || canonical(obj.Status.Artifact.Revision) != "main@sha1:"+strings.Repeat("a", 40) {
		t.Error("the same input reads as another")
	}
	obj.Status.ObservedIgnore = nil
	if sameInput(&obj.Spec, &obj.Status) {
		t.Error("another spec.ignore reads as the same")
	}
}
