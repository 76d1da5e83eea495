package cli

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
	"github.com/spf13/cobra"

	"github.com/gitops-toolkit/flux/internal/cli/cluster"
	"github.com/gitops-toolkit/flux/internal/cli/kinds"
	"github.com/gitops-toolkit/flux/internal/cli/session"
	"github.com/gitops-toolkit/flux/internal/registry/registrytest"
	"github.com/gitops-toolkit/flux/internal/testenv"
	"github.com/gitops-toolkit/flux/test/servers/git"
)

// TestMain lets scripts run this binary as flux.
func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"flux": func() {
		ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
		defer stop()
		os.Exit(Main(ctx, os.Args[1:], os.Stdin, os.Stdout, os.Stderr))
	}})
}

// TestScripts runs the sessions of testdata/script against an API server in memory. A session
// that begins with "cluster" gets a namespace of the real one in $NS, or is skipped.
func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata/script",
		RequireExplicitExec: true,
		RequireUniqueNames:  true,
		Setup: func(env *testscript.Env) error {
			env.Setenv("HOME", env.WorkDir)
			env.Setenv("NO_COLOR", "1")
			env.Setenv("PATH", withoutPlugins(env.Getenv("PATH")))
			env.Setenv("DOCKER_CONFIG", env.WorkDir)
			env.Setenv("FLUXCD_PLUGINS", filepath.Join(env.WorkDir, "plugins"))
			return nil
		},
		Condition: func(condition string) (bool, error) {
			if condition == "apiserver" {
				return os.Getenv(testenv.KubeconfigEnv) != "", nil
			}
			return false, fmt.Errorf("unknown condition %s", condition)
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"memory":    inMemory(t),
			"cluster":   onCluster(t),
			"gitrepo":   gitRepository(t),
			"registry":  registry(t),
			"receivers": receivers(t),
			"status":    setStatus,
			"web":       serveFiles(t),
		},
	})
}

// withoutPlugins leaves out of a PATH where flux would find programs that are no part of a script.
func withoutPlugins(path string) string {
	dirs := slices.DeleteFunc(filepath.SplitList(path), func(dir string) bool {
		plugins, _ := filepath.Glob(filepath.Join(dir, "flux-*"))
		return len(plugins) > 0
	})
	return strings.Join(dirs, string(filepath.ListSeparator))
}

// onCluster gives the script a namespace of the sandbox.
func onCluster(t *testing.T) func(*testscript.TestScript, bool, []string) {
	return func(ts *testscript.TestScript, _ bool, _ []string) {
		path := os.Getenv(testenv.KubeconfigEnv)
		ts.Setenv("KUBECONFIG", path)
		ts.Setenv("NS", testenv.Namespace(t))
		ts.Setenv("FLUX_SYSTEM_NAMESPACE", ts.Getenv("NS"))
	}
}

// gitRepository serves a repository with the default branch that is named, as $GIT_URL: `gitrepo BRANCH [FILE]...`.
func gitRepository(t *testing.T) func(*testscript.TestScript, bool, []string) {
	return func(ts *testscript.TestScript, _ bool, args []string) {
		server, err := git.Start(git.Options{Root: t.TempDir(), HTTP: git.AnyPort, AnonymousRead: true})
		ts.Check(err)
		ts.Defer(func() { server.Close() })
		repo, err := server.Create("app", args[0])
		ts.Check(err)
		files := map[string]string{"deploy/cm.yaml": "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: app\n"}
		for _, name := range args[1:] {
			files[name] = ts.ReadFile(name)
		}
		_, err = repo.Commit(files, "first")
		ts.Check(err)
		ts.Setenv("GIT_URL", server.HTTPURL("app"))
	}
}

// registry starts one, as $REGISTRY.
func registry(t *testing.T) func(*testscript.TestScript, bool, []string) {
	return func(ts *testscript.TestScript, _ bool, _ []string) {
		ts.Setenv("REGISTRY", registrytest.Start(t, registrytest.Options{}).Host)
	}
}

// commandTree is every command by its path, those for completion among them.
func commandTree() map[string]*cobra.Command {
	root := newRoot(session.New(strings.NewReader(""), &bytes.Buffer{}, &bytes.Buffer{}))
	root.InitDefaultCompletionCmd("x")
	have := map[string]*cobra.Command{}
	collect(root, have)
	return have
}

// commandsOf returns the paths of the commands that a session runs and that have to end well.
func commandsOf(t *testing.T, file string) (paths []string) {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	root := newRoot(session.New(strings.NewReader(""), &bytes.Buffer{}, &bytes.Buffer{}))
	root.InitDefaultCompletionCmd("x")
	session, _, _ := strings.Cut(string(text), "\n-- ")
	for line := range strings.Lines(session) {
		words, ok := strings.CutPrefix(strings.TrimSpace(line), "exec flux ")
		if !ok {
			continue
		}
		if cmd, _, err := root.Find(strings.Fields(words)); err == nil {
			paths = append(paths, cmd.CommandPath())
		}
	}
	return paths
}

// setStatus waits for an object and merges a status into it: `status kustomization/name FILE`.
// In the file, GENERATION stands for the object's generation, NEWER for one that no status has
// yet, and TOKEN for the last request.
func setStatus(ts *testscript.TestScript, _ bool, args []string) {
	word, name, _ := strings.Cut(args[0], "/")
	k := kinds.ByKind(word)
	if k == nil {
		ts.Fatalf("no kind %s", word)
	}
	ts.Check(mergeStatus(ts.Getenv("KUBECONFIG"), ts.Getenv("NS"), k, name, ts.ReadFile(args[1])))
}

func scriptClient(kubeconfig string) (*cluster.Client, error) {
	flags := cluster.Flags{Kubeconfig: kubeconfig, QPS: 100, Burst: 100}
	cfg, err := flags.RESTConfig()
	if err != nil {
		return nil, err
	}
	return cluster.New(cfg)
}
