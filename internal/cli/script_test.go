package cli

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/gitops-toolkit/flux/internal/cli/clitest"
	"github.com/gitops-toolkit/flux/internal/cli/cluster"
	"github.com/gitops-toolkit/flux/internal/cli/kinds"
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
			"receivers": receivers(t),
			"status":    setStatus,
			"web":       serveFiles(t),
		},
	})
}

// inMemory gives the script an API server of its own.
func inMemory(t *testing.T) func(*testscript.TestScript, bool, []string) {
	return func(ts *testscript.TestScript, _ bool, _ []string) {
		server := clitest.New(t)
		server.Serve(coreKinds...)
		for _, k := range kinds.All() {
			server.Serve(clitest.Served{Group: k.Group, Version: k.Version, Plural: k.Plural, Kind: k.Kind})
		}
		ts.Setenv("KUBECONFIG", server.Kubeconfig(t))
		ts.Setenv("NS", "flux-system")
	}
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
