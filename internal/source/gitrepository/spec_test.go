package gitrepository

import (
	"errors"
	"fmt"
	"net"
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/gitops-toolkit/flux/api/meta"
	sourcev1 "github.com/gitops-toolkit/flux/api/source/v1"
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
		{"SHA-256", plain, gitrepo.ErrObjectFormat, "; make the repository anew with 'git init --object-format=sha1', or publish its files with 'flux push artifact' and use an OCIRepository"},
		{"names that lead out", plain, gitrepo.ErrTree, "; push a commit without it, as no consumer could unpack it safely"},
		{"a bad .gitmodules", plain, gitrepo.ErrSubmodule, "; correct '.gitmodules' in the repository, or remove spec.recurseSubmodules"},
		{"a submodule's commit, which spec.ref has no part in", with(&sourcev1.GitRepositoryRef{Tag: "v1"}, ""), submoduleError{gitrepo.ErrReference},
			"; push the submodule's commit to where '.gitmodules' says, or remove spec.recurseSubmodules"},
		{"recorded: the message of a missing branch ends with the branch, in the condition and in the event, so the next step is left out",
			with(&sourcev1.GitRepositoryRef{Branch: "missing"}, ""), gitrepo.ErrReference, ""},
		{"no branch was named, and the default is not there", plain, gitrepo.ErrReference, "; spec.ref is not set; set spec.ref.branch to the branch that you mean"},
		{"a proxy of the environment", plain, gitrepo.ErrProxy, "; check spec.url, and the proxy in the controller's environment (HTTP_PROXY, HTTPS_PROXY, NO_PROXY)"},
		{"a proxy of its own", proxied, gitrepo.ErrProxy, "; check spec.url, and the proxy in the Secret 'ns/way'"},
		{"a proxy that is down", proxied, &net.OpError{Op: "proxyconnect", Err: errors.New("refused")}, "; check spec.url, and the proxy in the Secret 'ns/way'"},
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
