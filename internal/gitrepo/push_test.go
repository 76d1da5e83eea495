package gitrepo_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/gitops-toolkit/flux/internal/gitrepo"
	"github.com/gitops-toolkit/flux/internal/gitrepo/signature"
	"github.com/gitops-toolkit/flux/test/servers/git"
	"github.com/gitops-toolkit/flux/test/servers/signing"
)

var jo = gitrepo.Person{Name: "Jo <x>", Email: "jo@example.com", When: time.Date(2026, 1, 2, 3, 4, 5, 0, time.FixedZone("", 3600))}

// pushing is a server with a repository, and ways to it.
type pushing struct {
	*testing.T
	srv    *git.Server
	repo   *git.Repo
	store  *gitrepo.Store
	remote gitrepo.Remote
}

func newPushing(t *testing.T, overSSH bool) *pushing {
	t.Helper()
	private, public, err := git.NewSSHKey("ed25519", "")
	check(t, err)
	srv, err := git.Start(git.Options{
		Root: t.TempDir(), HTTP: git.AnyPort, SSH: git.AnyPort, AuthorizedKeys: public, Users: map[string]string{"jo": "pw"}, AnonymousRead: true,
	})
	check(t, err)
	t.Cleanup(func() { _ = srv.Close() })
	repo, err := srv.Create("fleet", "main")
	check(t, err)
	store, err := gitrepo.NewStore(t.TempDir(), gitrepo.Options{})
	check(t, err)
	p := &pushing{T: t, srv: srv, repo: repo, store: store}
	p.remote = gitrepo.Remote{URL: srv.HTTPURL("fleet"), Auth: gitrepo.Auth{Username: "jo", Password: "pw"}}
	if overSSH {
		p.remote = gitrepo.Remote{URL: srv.SSHURL("fleet"), Auth: gitrepo.Auth{Identity: private, KnownHosts: srv.KnownHosts()}}
	}
	return p
}

func (p *pushing) branch(name string) *gitrepo.Snapshot {
	p.Helper()
	snap, err := p.store.FetchBranch(context.Background(), p.remote, name)
	check(p.T, err)
	if snap != nil {
		p.Cleanup(snap.Close)
	}
	return snap
}

func (p *pushing) make(d gitrepo.Draft) *gitrepo.NewCommit {
	p.Helper()
	d.Author = jo
	c, err := d.Make()
	check(p.T, err)
	return c
}

func (p *pushing) git(args ...string) string {
	p.Helper()
	out, err := p.repo.Git(nil, args...)
	check(p.T, err)
	return out
}

func TestPush(t *testing.T) {
	t.Parallel()
	for name, overSSH := range map[string]bool{"http": false, "ssh": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p, ctx := newPushing(t, overSSH), context.Background()
			if snap := p.branch("main"); snap != nil {
				t.Fatal("an empty repository has a commit")
			}
			first := p.make(gitrepo.Draft{Message: "First", Edits: []gitrepo.Edit{
				{Path: "a/b/c.yaml", Content: []byte("c: 1\n")}, {Path: "a.txt", Content: []byte("t")}, {Path: "a/run.sh", Content: []byte("#!"), Mode: gitrepo.ModeExecutable},
			}})
			check(t, p.store.Push(ctx, p.remote, first, []gitrepo.Update{{Ref: "refs/heads/main"}}))
			base := p.branch("main")
			second := p.make(gitrepo.Draft{Base: base, Message: "Second\n\nWhy", Edits: []gitrepo.Edit{
				{Path: "a/run.sh", Content: []byte("#!/bin/sh")}, {Path: "a/b", Delete: true}, {Path: "n/e/w", Content: []byte("t")}, {Path: "not-there", Delete: true},
			}})
			update := []gitrepo.Update{{Ref: "refs/heads/main", Old: base.Revision().Commit}}
			check(t, p.store.Push(ctx, p.remote, second, update))
			check(t, p.store.Push(ctx, p.remote, second, update)) // Nothing is left to do.
			p.git("fsck", "--strict", "--full")
			if got, want := p.git("ls-tree", "-r", "--format=%(objectmode) %(path)", "main"), "100644 a.txt\n100755 a/run.sh\n100644 n/e/w"; got != want {
				t.Errorf("tree %q, want %q", got, want)
			}
			if got, want := p.git("log", "-1", "--format=%an|%ae|%ad|%cn|%B", "main"), "Jo x|jo@example.com|Fri Jan 2 03:04:05 2026 +0100|Jo x|Second\n\nWhy\n"; got != want {
				t.Errorf("commit %q, want %q", got, want)
			}

			stale := p.make(gitrepo.Draft{Base: base, Message: "Too late", Edits: []gitrepo.Edit{{Path: "x", Content: []byte("x")}}})
			if err := p.store.Push(ctx, p.remote, stale, update); !errors.Is(err, gitrepo.ErrNonFastForward) {
				t.Errorf("the branch has moved: %v", err)
			}
			check(t, p.store.Push(ctx, p.remote, stale, []gitrepo.Update{{Ref: "refs/heads/other"}}))
			if err := p.store.Push(ctx, p.remote, second, []gitrepo.Update{{Ref: "refs/heads/other"}}); !errors.Is(err, gitrepo.ErrNonFastForward) {
				t.Errorf("a branch that exists: %v", err)
			}
			check(t, p.store.Push(ctx, p.remote, second, []gitrepo.Update{{Ref: "refs/heads/other", Force: true}}))
			if got := p.git("rev-parse", "other"); got != second.Hash.String() {
				t.Errorf("forced to %s", got)
			}
		})
	}
}

// TestPushRefused has a hook that looks at the push options, and wrong credentials.
func TestPushRefused(t *testing.T) {
	t.Parallel()
	p, ctx := newPushing(t, false), context.Background()
	p.git("config", "receive.advertisePushOptions", "true")
	check(t, os.MkdirAll(filepath.Join(p.repo.Dir, "hooks"), 0o755))
	check(t, os.WriteFile(filepath.Join(p.repo.Dir, "hooks", "pre-receive"), []byte("#!/bin/sh\ntest \"$GIT_PUSH_OPTION_0\" = please\n"), 0o755))
	c := p.make(gitrepo.Draft{Message: "First", Edits: []gitrepo.Edit{{Path: "a", Content: []byte("a")}}})
	update := []gitrepo.Update{{Ref: "refs/heads/main"}}
	if err := p.store.Push(ctx, p.remote, c, update); !errors.Is(err, gitrepo.ErrRejected) || !strings.Contains(err.Error(), "pre-receive hook declined") {
		t.Errorf("the hook: %v", err)
	}
	check(t, p.store.Push(ctx, p.remote, c, update, "please"))
	wrong := p.remote
	wrong.Auth.Password = "hunter2"
	if err := p.store.Push(ctx, wrong, c, []gitrepo.Update{{Ref: "refs/heads/x"}}, "please"); !errors.Is(err, gitrepo.ErrAuthentication) || strings.Contains(err.Error(), "hunter2") {
		t.Errorf("wrong credentials: %v", err)
	}
	if _, err := (gitrepo.Draft{Base: p.branch("main"), Message: "Same", Edits: []gitrepo.Edit{{Path: "a", Content: []byte("a")}}}).Make(); !errors.Is(err, gitrepo.ErrNoChange) {
		t.Errorf("no change: %v", err)
	}
	for _, path := range []string{"../a", ".git/config", "a//b", "/a", ""} {
		if _, err := (gitrepo.Draft{Message: "m", Edits: []gitrepo.Edit{{Path: path}}}).Make(); !errors.Is(err, gitrepo.ErrTree) {
			t.Errorf("path %q: %v", path, err)
		}
	}
}

// TestPushSigned lets git verify what we signed.
func TestPushSigned(t *testing.T) {
	t.Parallel()
	who := signing.New(t, "ed25519")
	pgp, err := signature.NewPGPSigner(who.SecretPGP, "")
	check(t, err)
	ssh, err := signature.NewSSHSigner(who.SecretSSH, "")
	check(t, err)
	allowed := filepath.Join(t.TempDir(), "allowed")
	check(t, os.WriteFile(allowed, append([]byte("jo@example.com "), who.SSH...), 0o600))
	for name, signer := range map[string]signature.Signer{"pgp": pgp, "ssh": ssh} {
		p := newPushing(t, false)
		c := p.make(gitrepo.Draft{Message: "Signed", Signer: signer, Edits: []gitrepo.Edit{{Path: "a", Content: []byte("a")}}})
		check(t, p.store.Push(context.Background(), p.remote, c, []gitrepo.Update{{Ref: "refs/heads/main"}}))
		p.git("fsck", "--strict", "--full")
		who.Run("git", "-C", p.repo.Dir, "-c", "gpg.ssh.allowedSignersFile="+allowed, "verify-commit", "main")
		t.Log(name, "is verified by git")
	}
}
