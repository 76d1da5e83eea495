package test

import (
	"context"
	"fmt"
	"os"
	"testing"
	"time"

	"k8s.io/client-go/rest"

	"github.com/gitops-toolkit/flux/internal/testenv"
	"github.com/gitops-toolkit/flux/test/harness"
	"github.com/gitops-toolkit/flux/test/servers/git"
)

// world is what all scenarios share: a cluster, the controllers on it and a Git server.
var world struct {
	config            *rest.Config
	source, kustomize *harness.Process
	watcher           *harness.Process
	git               *git.Server
	dir               string
}

// shardLabel keeps the scenarios' controllers away from objects of other packages' tests, which use
// the same sandbox at the same time.
const shardLabel = "sharding.fluxcd.io/key"

func TestMain(m *testing.M) {
	if os.Getenv(testenv.KubeconfigEnv) == "" {
		fmt.Println("no API server: the scenarios are skipped; run `make test`")
		os.Exit(m.Run())
	}
	os.Exit(run(m))
}

func run(m *testing.M) int {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	dir, remove, err := harness.TempDir()
	if err != nil {
		return fail(err)
	}
	defer remove()
	stack, err := harness.New(ctx, os.Getenv(testenv.KubeconfigEnv), dir)
	if err != nil {
		return fail(err)
	}
	defer stack.Stop()
	world.config, world.dir = stack.Config, dir

	if world.source, err = stack.Add(ctx, "source-controller", "--concurrent=4", "--feature-gates=ResourceInfoMetrics=true", "--watch-label-selector="+shardLabel+"=scenarios"); err != nil {
		return fail(err)
	}
	if world.kustomize, err = stack.Add(ctx, "kustomize-controller", "--concurrent=4", "--feature-gates=ExternalArtifact=true,ResourceInfoMetrics=true", "--watch-label-selector="+shardLabel+"=scenarios"); err != nil {
		return fail(err)
	}
	if world.watcher, err = stack.Add(ctx, "source-watcher", "--watch-label-selector="+shardLabel+"=scenarios"); err != nil {
		return fail(err)
	}
	world.git, err = git.Start(git.Options{
		Root: dir + "/git", HTTP: git.AnyPort, HTTPS: git.AnyPort, SSH: git.AnyPort,
		Users: map[string]string{"dev": "dev-password"}, AnonymousRead: true,
	})
	if err != nil {
		return fail(err)
	}
	defer world.git.Close()
	code := m.Run()
	if code != 0 && os.Getenv("FLUX_TEST_LOGS") != "" {
		for _, p := range stack.Processes {
			fmt.Printf("--- %s\n%s\n", p.Name, p.Tail(200))
		}
	}
	return code
}

func fail(err error) int {
	fmt.Println("start the world of the scenarios:", err)
	return 1
}
