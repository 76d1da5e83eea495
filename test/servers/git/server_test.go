package git

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// client is a git command line with its own home.
type client struct {
	t   *testing.T
	dir string
	env []string
}

func newClient(t *testing.T, env ...string) *client {
	c := &client{t: t, dir: t.TempDir()}
	c.env = append(environment(), env...)
	return c
}

func (c *client) try(args ...string) (string, error) {
	cmd := exec.Command("git", args...)
	cmd.Dir, cmd.Env = c.dir, c.env
	out, err := cmd.CombinedOutput()
	return string(out), err
}

func (c *client) run(args ...string) string {
	c.t.Helper()
	out, err := c.try(args...)
	if err != nil {
		c.t.Fatalf("git %v: %v\n%s", args, err, out)
	}
	return out
}

func start(t *testing.T, opts Options) *Server {
	t.Helper()
	opts.Root = t.TempDir()
	srv, err := Start(opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = srv.Close() })
	return srv
}

func fleet(t *testing.T, srv *Server) *Repo {
	t.Helper()
	repo, err := srv.Create("team/fleet", "trunk")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := repo.Commit(map[string]string{"a/b.yaml": "b: 1\n", "c d": "x"}, "Begin"); err != nil {
		t.Fatal(err)
	}
	return repo
}

func write(t *testing.T, name string, data []byte) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestCloneAndPush(t *testing.T) {
	t.Parallel()
	private, public, err := NewSSHKey("ed25519", "")
	if err != nil {
		t.Fatal(err)
	}
	srv := start(t, Options{HTTP: AnyPort, HTTPS: AnyPort, SSH: AnyPort, AuthorizedKeys: public})
	repo := fleet(t, srv)
	ssh := "ssh -F none -i " + write(t, "id", private) + " -o IdentitiesOnly=yes -o StrictHostKeyChecking=yes -o UserKnownHostsFile=" +
		write(t, "known_hosts", srv.KnownHosts())
	for name, tc := range map[string]struct{ url, env string }{
		"http":  {srv.HTTPURL("team/fleet"), "X=1"},
		"https": {srv.HTTPSURL("team/fleet"), "GIT_SSL_CAINFO=" + write(t, "ca", srv.CA())},
		"ssh":   {srv.SSHURL("team/fleet"), "GIT_SSH_COMMAND=" + ssh},
	} {
		t.Run(name, func(t *testing.T) {
			c := newClient(t, tc.env)
			c.run("clone", "--depth", "1", tc.url, "work")
			c.dir = filepath.Join(c.dir, "work")
			if data, err := os.ReadFile(filepath.Join(c.dir, "a/b.yaml")); err != nil || string(data) != "b: 1\n" {
				t.Fatalf("read the clone: %q, %v", data, err)
			}
			c.run("commit", "--allow-empty", "-m", "Push over "+name)
			c.run("push", "origin", "HEAD:refs/heads/from-"+name)
			if _, err := repo.Resolve("refs/heads/from-" + name); err != nil {
				t.Fatalf("the pushed branch: %v", err)
			}
			served := func(r Request) bool {
				return r.Transport == name && r.Service == uploadPack && r.Sent > 100 && r.Status == 200
			}
			if !slices.ContainsFunc(srv.Requests(), served) {
				t.Fatalf("no record of the fetch over %s: %+v", name, srv.Requests())
			}
		})
	}
}

func TestCredentials(t *testing.T) {
	t.Parallel()
	srv := start(t, Options{
		HTTP: AnyPort, Users: map[string]string{"jo": "s3cret"}, Tokens: []string{"t0ken"},
	})
	fleet(t, srv)
	withUser := func(u string) string { return strings.Replace(srv.HTTPURL("team/fleet"), "://", "://"+u+"@", 1) }
	for _, tc := range []struct {
		reason, url string
		config      []string
		ok          bool
	}{
		{"no credentials are refused", srv.HTTPURL("team/fleet"), nil, false},
		{"the right password is let in", withUser("jo:s3cret"), nil, true},
		{"a wrong password is refused", withUser("jo:other"), nil, false},
		{"a token is let in", srv.HTTPURL("team/fleet"), []string{"-c", "http.extraHeader=Authorization: Bearer t0ken"}, true},
		{"a wrong token is refused", srv.HTTPURL("team/fleet"), []string{"-c", "http.extraHeader=Authorization: Bearer no"}, false},
	} {
		if out, err := newClient(t).try(append(tc.config, "ls-remote", tc.url)...); (err == nil) != tc.ok {
			t.Errorf("%s: %v\n%s", tc.reason, err, out)
		}
	}
}

func TestAnonymousReadStillGuardsPush(t *testing.T) {
	t.Parallel()
	srv := start(t, Options{HTTP: AnyPort, Users: map[string]string{"jo": "s3cret"}, AnonymousRead: true})
	fleet(t, srv)
	c := newClient(t)
	c.run("clone", srv.HTTPURL("team/fleet"), "work")
	c.dir = filepath.Join(c.dir, "work")
	if out, err := c.try("push", "origin", "HEAD:refs/heads/x"); err == nil {
		t.Fatalf("an anonymous push went through: %s", out)
	}
}

func TestClientCertificate(t *testing.T) {
	t.Parallel()
	srv := start(t, Options{HTTPS: AnyPort, ClientCertificate: true})
	fleet(t, srv)
	cert, key, err := srv.NewClientCertificate("jo")
	if err != nil {
		t.Fatal(err)
	}
	ca := "GIT_SSL_CAINFO=" + write(t, "ca", srv.CA())
	if out, err := newClient(t, ca).try("ls-remote", srv.HTTPSURL("team/fleet")); err == nil {
		t.Fatalf("let in without a certificate: %s", out)
	}
	newClient(t, ca, "GIT_SSL_CERT="+write(t, "crt", cert), "GIT_SSL_KEY="+write(t, "key", key)).
		run("ls-remote", srv.HTTPSURL("team/fleet"))
}

func TestWebhookAfterPush(t *testing.T) {
	t.Parallel()
	got, signatures := make(chan call, 1), make(chan bool, 1)
	hook := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		var c call
		_ = json.Unmarshal(body, &c)
		mac := hmac.New(sha256.New, []byte("s3cret"))
		mac.Write(body)
		signatures <- r.Header.Get("X-Hub-Signature-256") == "sha256="+hex.EncodeToString(mac.Sum(nil))
		got <- c
	}))
	t.Cleanup(hook.Close)
	srv := start(t, Options{HTTP: AnyPort})
	repo := fleet(t, srv)
	if err := repo.AddWebhook(hook.URL, "s3cret"); err != nil {
		t.Fatal(err)
	}
	work, err := Clone(srv.HTTPURL("team/fleet"), filepath.Join(t.TempDir(), "work"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := work.Commit(map[string]string{"new/file": "x"}, "Next"); err != nil {
		t.Fatal(err)
	}
	if err := work.Push(); err != nil {
		t.Fatal(err)
	}
	select {
	case p := <-got:
		tip, _ := repo.Resolve("trunk")
		if p.Repository.Name != "team/fleet" || p.Repository.CloneURL != srv.HTTPURL("team/fleet") || p.Ref != "refs/heads/trunk" || p.After != tip {
			t.Fatalf("webhook says %+v, the tip is %s", p, tip)
		}
		if !<-signatures {
			t.Error("the signature is wrong")
		}
	case <-time.After(30 * time.Second):
		t.Fatal("no webhook")
	}
}

func TestApply(t *testing.T) {
	t.Parallel()
	repo, err := Create(t.TempDir(), "r", "")
	if err != nil {
		t.Fatal(err)
	}
	first, err := repo.Apply(Change{
		Message: "One", Files: map[string]string{"run.sh": "#!/bin/sh\n", "old/x": "1", `odd "name"`: ""},
		Executables: []string{"run.sh"}, Symlinks: map[string]string{"link": "run.sh"}, Time: time.Unix(1_700_000_000, 0),
	})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := repo.Apply(Change{Message: "Two", Delete: []string{"old"}}); err != nil {
		t.Fatal(err)
	}
	tree, err := repo.Git(nil, "ls-tree", "-r", "--format=%(objectmode) %(path)", "main")
	want := "120000 link\n100644 \"odd \\\"name\\\"\"\n100755 run.sh"
	if err != nil || tree != want {
		t.Fatalf("tree %q, want %q: %v", tree, want, err)
	}
	side, err := repo.Apply(Change{Branch: "side", From: first, Message: "Side", Files: map[string]string{"s": "s"}})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := repo.Apply(Change{Message: "Merge", Merge: []string{side}, Files: map[string]string{"s": "s"}}); err != nil {
		t.Fatal(err)
	}
	if n, _ := repo.Git(nil, "rev-list", "--count", "main"); n != "4" {
		t.Fatalf("%s commits after the merge, want 4", n)
	}
	root, err := repo.Apply(Change{Message: "Anew", Orphan: true, Files: map[string]string{"n": ""}})
	if err != nil {
		t.Fatal(err)
	}
	if n, _ := repo.Git(nil, "rev-list", "--count", root); n != "1" {
		t.Fatalf("%s commits after the orphan, want 1", n)
	}
}

func TestNamesStayBelowTheRoot(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	for _, name := range []string{"", "..", "../x", "a/../../x", "/", "-x", "a//b", ".hidden", "a\x00b"} {
		if _, err := Create(root, name, ""); err == nil {
			t.Errorf("Create accepted %q", name)
		}
	}
	if _, err := Create(root, "a/b", ""); err != nil {
		t.Fatal(err)
	}
	if _, err := Create(root, "a/b.git", ""); !errors.Is(err, ErrExists) {
		t.Errorf("Create twice: %v, want ErrExists", err)
	}
	if names, err := List(root); err != nil || !slices.Equal(names, []string{"a/b"}) {
		t.Errorf("List: %v, %v", names, err)
	}
}

func TestOnlyLoopback(t *testing.T) {
	t.Parallel()
	if srv, err := Start(Options{Root: t.TempDir(), HTTP: "0.0.0.0:0"}); err == nil {
		_ = srv.Close()
		t.Fatal("listened on every address")
	}
}

func TestKeysOutliveRestart(t *testing.T) {
	t.Parallel()
	opts := Options{Root: t.TempDir(), KeysDir: t.TempDir(), HTTPS: AnyPort}
	var cas []string
	for range 2 {
		srv, err := Start(opts)
		if err != nil {
			t.Fatal(err)
		}
		cas = append(cas, string(srv.CA()))
		_ = srv.Close()
	}
	if cas[0] != cas[1] {
		t.Fatal("the authority changed over a restart")
	}
}
