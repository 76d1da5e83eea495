package bootstrap_test

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/gitops-toolkit/flux/internal/cli"
	"github.com/gitops-toolkit/flux/internal/version"
	"github.com/gitops-toolkit/flux/test/servers/git"
	"github.com/gitops-toolkit/flux/test/servers/githost"
)

// versionEnv tells sessions the version of the controllers that the node runs.
const versionEnv = "FLUX_TEST_VERSION"

// TestMain lets sessions run this binary as flux.
func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"flux": func() {
		if v := os.Getenv(versionEnv); v != "" {
			version.Version = v
		}
		ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
		defer stop()
		os.Exit(cli.Main(ctx, os.Args[1:], os.Stdin, os.Stdout, progress()))
	}})
}

// TestSessions runs the sessions of testdata/script one after the other against one sandbox, which
// each of them leaves empty.
func TestSessions(t *testing.T) {
	l := newLab(t)
	files, err := filepath.Glob("testdata/script/*.txtar")
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txtar"), func(t *testing.T) {
			testscript.Run(t, testscript.Params{
				Files: []string{file}, RequireExplicitExec: true,
				Setup: func(env *testscript.Env) error {
					env.Setenv("HOME", env.WorkDir)
					env.Setenv("NO_COLOR", "1")
					env.Setenv("KUBECONFIG", l.sandbox.Kubeconfig)
					env.Setenv("COMPONENTS", components)
					env.Setenv(versionEnv, version.Version)
					env.Values[host{}] = &host{}
					return l.expired(filepath.Join(env.WorkDir, "expired"))
				},
				Cmds: map[string]func(*testscript.TestScript, bool, []string){
					"githost": startHost, "commits": countCommits, "protect": protect, "push": push, "create": create, "gone": l.gone,
					"codecommit": codeCommit, "holds": holds, "dies": dies, "keys": countKeys, "private": private, "pretend": l.pretend, "halt": l.halt,
				},
			})
		})
	}
}

const hostToken = "canary-token"

// startHost starts a Git host as $HOST and $SSH_HOST, with its certificate in $CA and a good token in
// $TOKEN: `githost KIND [FORBIDDEN]`, where requests with FORBIDDEN in them are refused.
func startHost(ts *testscript.TestScript, _ bool, args []string) {
	root := ts.MkAbs("git-" + fmt.Sprint(len(ts.Getenv("HOST")))) // one for each server
	forbidden := strings.Join(args[1:], " ")
	server, err := githost.Start(githost.Options{Kind: args[0], Root: root, Token: hostToken, User: "jo", Orgs: []string{"org"}, Forbidden: forbidden})
	ts.Check(err)
	ts.Defer(func() {
		for _, v := range server.Violations() {
			ts.Logf("contract of %s: %s", args[0], v)
		}
		server.Close()
		if len(server.Violations()) > 0 {
			ts.Fatalf("the contract of %s was not kept", args[0])
		}
	})
	ts.Check(os.WriteFile(ts.MkAbs("ca.crt"), server.CA(), 0o600))
	ts.Setenv("HOST", server.Hostname())
	ts.Setenv("SSH_HOST", server.SSHHostname())
	ts.Setenv("CA", ts.MkAbs("ca.crt"))
	ts.Setenv("TOKEN", hostToken)
	ts.Setenv("ROOT", root)
	ts.Value(host{}).(*host).Server = server
}

// host is the Git host that a session started last.
type host struct{ *githost.Server }

// repository opens OWNER/NAME of the session's host.
func repository(ts *testscript.TestScript, name string) *git.Repo {
	repo, err := git.Open(ts.Getenv("ROOT"), name)
	ts.Check(err)
	return repo
}

// create makes an empty repository, unknown to the API: `create OWNER/NAME`.
func create(ts *testscript.TestScript, _ bool, args []string) {
	_, err := git.Create(ts.Getenv("ROOT"), args[0], "main")
	ts.Check(err)
}

// countCommits fails unless the branch main of a repository has that many: `commits OWNER/NAME N`.
func countCommits(ts *testscript.TestScript, _ bool, args []string) {
	out, err := repository(ts, args[0]).Git(nil, "rev-list", "--count", "main")
	ts.Check(err)
	if out != args[1] {
		ts.Fatalf("%s has %s commits, want %s", args[0], out, args[1])
	}
}

// countKeys fails unless a repository has that many deploy keys: `keys OWNER NAME N`.
func countKeys(ts *testscript.TestScript, _ bool, args []string) {
	if got := ts.Value(host{}).(*host).Keys(args[0], args[1]); fmt.Sprint(len(got)) != args[2] {
		ts.Fatalf("%s/%s has the deploy keys %v, want %s", args[0], args[1], got, args[2])
	}
}

// private fails unless a repository is, or is not: `private OWNER NAME true|false`.
func private(ts *testscript.TestScript, _ bool, args []string) {
	if got := ts.Value(host{}).(*host).Private(args[0], args[1]); fmt.Sprint(got) != args[2] {
		ts.Fatalf("private is %t for %s/%s", got, args[0], args[1])
	}
}

// protect has a repository refuse pushes, as a protected branch does: `protect OWNER/NAME`.
func protect(ts *testscript.TestScript, _ bool, args []string) {
	hook := filepath.Join(ts.Getenv("ROOT"), args[0]+".git", "hooks", "pre-receive")
	ts.Check(os.MkdirAll(filepath.Dir(hook), 0o755))
	ts.Check(os.WriteFile(hook, []byte("#!/bin/sh\necho 'GH006: Protected branch update failed' >&2\nexit 1\n"), 0o755))
}

// push commits a file to a branch of a repository: `push OWNER/NAME BRANCH FILE`.
func push(ts *testscript.TestScript, _ bool, args []string) {
	repo := repository(ts, args[0])
	_, err := repo.Apply(git.Change{Branch: args[1], Files: map[string]string{args[2]: ts.ReadFile(args[2])}, Message: "by somebody"})
	ts.Check(err)
}

// gone waits until the namespace of an installation is no more.
func (l *lab) gone(ts *testscript.TestScript, _ bool, _ []string) {
	for deadline := time.Now().Add(2 * time.Minute); ; time.Sleep(100 * time.Millisecond) {
		_, err := l.client.CoreV1().Namespaces().Get(context.Background(), namespace, metav1.GetOptions{})
		if apierrors.IsNotFound(err) {
			return
		}
		if time.Now().After(deadline) {
			ts.Fatalf("the namespace %s is still there: %v", namespace, err)
		}
	}
}
