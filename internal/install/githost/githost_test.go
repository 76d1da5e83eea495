package githost_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/gitops-toolkit/flux/internal/gitrepo"
	"github.com/gitops-toolkit/flux/internal/install/githost"
	"github.com/gitops-toolkit/flux/test/servers/git"
	fake "github.com/gitops-toolkit/flux/test/servers/githost"
)

// makers are the clients that the one suite runs against.
var makers = map[string]func(githost.Options) (githost.Host, error){
	"github": githost.NewGitHub, "gitlab": githost.NewGitLab, "gitea": githost.NewGitea, "bitbucket-server": githost.NewBitbucket,
}

const token = "canary-token"

func start(t *testing.T, kind, forbidden string) *fake.Server {
	t.Helper()
	s, err := fake.Start(fake.Options{Kind: kind, Root: t.TempDir(), Token: token, User: "jo", Orgs: []string{"org"}, Forbidden: forbidden})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		for _, v := range s.Violations() {
			t.Errorf("contract of %s: %s", kind, v)
		}
		s.Close()
	})
	return s
}

func host(t *testing.T, s *fake.Server, kind, token string) githost.Host {
	t.Helper()
	h, err := makers[kind](githost.Options{Hostname: s.Hostname(), SSHHostname: s.SSHHostname(), Username: "jo", Token: token, CA: s.CA()})
	if err != nil {
		t.Fatal(err)
	}
	return h
}

// TestContract holds every client to the same: a repository is made once and found again, can be pushed
// to at the addresses that are told, and keys and grants are as asked.
func TestContract(t *testing.T) {
	t.Parallel()
	for kind := range makers {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			s, ctx := start(t, kind, ""), context.Background()
			h := host(t, s, kind, token)
			wanted := githost.Wanted{Owner: "org", Name: "fleet", Branch: "main", Visibility: githost.Private}
			r, change, err := h.Ensure(ctx, wanted)
			if err != nil || change != githost.Created || !s.Private("org", "fleet") {
				t.Fatalf("create: %v, %v", change, err)
			}
			before := len(s.Calls())
			wanted.Visibility = githost.Public
			again, change, err := h.Ensure(ctx, wanted)
			if err != nil || change != githost.Unchanged || again != r || len(s.Calls()) != before {
				t.Fatalf("find: %v, %v, %v, %+v", change, err, s.Calls()[before:], again)
			}
			wanted.Reconcile = true
			if _, change, err = h.Ensure(ctx, wanted); err != nil || change != githost.Updated || s.Private("org", "fleet") {
				t.Fatalf("reconcile: %v, %v", change, err)
			}
			if err := h.Grant(ctx, r, "org", "push"); err != nil || s.Grants("org", "fleet")["org"] == "" {
				t.Errorf("grant: %v, %v", err, s.Grants("org", "fleet"))
			}
			if err := h.Grant(ctx, r, "org", "everything"); err == nil {
				t.Error("an unknown permission is taken")
			}
			keys(t, s, h, r)
			push(t, s, r)
		})
	}
}

// keys: an equal key is kept, another of the same title replaced, others left alone.
func keys(t *testing.T, s *fake.Server, h githost.Host, r githost.Repository) {
	t.Helper()
	var public [3]string
	for i := range public {
		_, text, err := git.NewSSHKey("ed25519", "")
		if err != nil {
			t.Fatal(err)
		}
		public[i] = string(text)
	}
	for i, step := range []struct {
		key     githost.DeployKey
		changed bool
	}{
		{githost.DeployKey{Title: "other", Public: public[0]}, true},
		{githost.DeployKey{Title: "mine", Public: public[1]}, true},
		{githost.DeployKey{Title: "mine", Public: public[1]}, false},
		{githost.DeployKey{Title: "mine", Public: public[1], Write: true}, true},
		{githost.DeployKey{Title: "mine", Public: public[2]}, true},
	} {
		changed, err := h.DeployKey(t.Context(), r, step.key)
		if err != nil || changed != step.changed {
			t.Errorf("key %d: changed %t, %v", i, changed, err)
		}
	}
	titles := s.Keys("org", "fleet")
	slices.Sort(titles)
	if !slices.Equal(titles, []string{"mine", "other"}) {
		t.Errorf("keys: %v", titles)
	}
}

// push uses the HTTPS address for real.
func push(t *testing.T, s *fake.Server, r githost.Repository) {
	t.Helper()
	store, err := gitrepo.NewStore(t.TempDir(), gitrepo.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer store.Close()
	remote := gitrepo.Remote{URL: r.HTTPS, Auth: gitrepo.Auth{Username: "jo", Password: token, CA: s.CA()}}
	made, err := gitrepo.Draft{Edits: []gitrepo.Edit{{Path: "a", Content: []byte("a")}}, Message: "a", Author: gitrepo.Person{Name: "a"}}.Make()
	if err != nil {
		t.Fatal(err)
	}
	if err := store.Push(t.Context(), remote, made, []gitrepo.Update{{Ref: "refs/heads/main"}}); err != nil {
		t.Errorf("push to %s: %v", r.HTTPS, err)
	}
	if !strings.Contains(r.SSH, s.SSHHostname()+"/org/fleet") {
		t.Errorf("SSH address %s", r.SSH)
	}
}

// TestRefusals: what a host refuses is told with what to do, and the token is in no error.
func TestRefusals(t *testing.T) {
	t.Parallel()
	for kind := range makers {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			s := start(t, kind, "POST")
			for name, c := range map[string]struct {
				token string
				want  githost.Wanted
				text  string
			}{
				"wrong token":   {"canary-wrong", githost.Wanted{Owner: "org", Name: "fleet"}, "the token is wrong or has expired"},
				"missing scope": {token, githost.Wanted{Owner: "org", Name: "fleet"}, "lacks a scope"},
				"other owner":   {token, githost.Wanted{Owner: "somebody", Name: "fleet", Personal: true}, "the specified owner 'somebody' doesn't match"},
			} {
				_, _, err := host(t, s, kind, c.token).Ensure(t.Context(), c.want)
				if err == nil || !strings.Contains(err.Error(), c.text) || strings.Contains(err.Error(), "canary") {
					t.Errorf("%s: %v", name, err)
				}
			}
			open := start(t, kind, "")
			if _, _, err := host(t, open, kind, token).Ensure(t.Context(), githost.Wanted{Owner: "nowhere", Name: "fleet"}); err == nil || !strings.Contains(err.Error(), "--personal") {
				t.Errorf("no such organisation: %v", err)
			}
		})
	}
}

// TestDeployToken: GitLab's, which is told once, so that one of the same name is replaced.
func TestDeployToken(t *testing.T) {
	t.Parallel()
	s := start(t, "gitlab", "")
	h := host(t, s, "gitlab", token)
	r, _, err := h.Ensure(t.Context(), githost.Wanted{Owner: "org", Name: "fleet", Visibility: githost.Private})
	if err != nil {
		t.Fatal(err)
	}
	var last string
	for range 2 {
		user, value, err := h.(githost.TokenMaker).DeployToken(t.Context(), r, "mine")
		if err != nil || user == "" || value == last {
			t.Fatalf("%q, %q, %v", user, value, err)
		}
		last = value
	}
	calls := strings.Join(s.Calls(), "\n")
	if strings.Count(calls, "POST /projects/1/deploy_tokens") != 2 || strings.Count(calls, "DELETE /projects/1/deploy_tokens/") != 1 {
		t.Errorf("calls:\n%s", calls)
	}
}

// TestUntrusted: a certificate that nobody signed is refused.
func TestUntrusted(t *testing.T) {
	t.Parallel()
	s := start(t, "gitea", "")
	h, err := githost.NewGitea(githost.Options{Hostname: s.Hostname(), Token: token})
	if err != nil {
		t.Fatal(err)
	}
	var answered *githost.Error
	if _, _, err := h.Ensure(t.Context(), githost.Wanted{Owner: "org", Name: "fleet"}); err == nil || errors.As(err, &answered) {
		t.Errorf("a server without a trusted certificate was asked: %v", err)
	}
	for _, bad := range []githost.Options{{Hostname: "a/b", Token: "x"}, {Hostname: "", Token: "x"}, {Hostname: "a", Token: " "}, {Hostname: "a", Token: "x", CA: []byte("no")}} {
		if _, err := githost.NewGitHub(bad); err == nil {
			t.Errorf("%+v is taken", bad)
		}
	}
}
