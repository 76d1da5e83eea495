package image_test

import (
	"cmp"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	imagev1 "github.com/gitops-toolkit/flux/api/image/v1"
	"github.com/gitops-toolkit/flux/internal/registry/registrytest"
	"github.com/gitops-toolkit/flux/test/servers/git"
)

// person pushes all the time, as people do, and returns how often that worked.
func (l *lab) person(ctx context.Context) (n int) {
	dir := filepath.Join(l.TempDir(), "clone")
	run := func(args ...string) bool {
		cmd := exec.Command("git", append([]string{"-C", dir, "-c", "user.name=Jo", "-c", "user.email=jo@example.com"}, args...)...)
		cmd.Env = append(os.Environ(), "GIT_CONFIG_GLOBAL=/dev/null", "GIT_CONFIG_NOSYSTEM=1")
		return cmd.Run() == nil
	}
	if err := os.Mkdir(dir, 0o700); err != nil || !run("clone", "-q", l.git.HTTPURL("fleet"), ".") {
		l.Error("the person could not clone")
		return 0
	}
	for ctx.Err() == nil {
		if err := os.WriteFile(filepath.Join(dir, "human.txt"), []byte(fmt.Sprint(n)), 0o600); err != nil || !run("add", ".") || !run("commit", "-qm", "Human") {
			l.Errorf("the person could not commit: %v", err)
			return n
		}
		for !run("push", "-q", "origin", "main") {
			if !run("pull", "-q", "--rebase", "origin", "main") {
				l.Error("the person could not rebase")
				return n
			}
		}
		n++
	}
	return n
}

// pushersEnv is how long TestManyPushers lasts at least, such as 1m; without it, it is a few rounds.
const pushersEnv = "FLUX_TEST_PUSHERS"

// TestManyPushers lets automations and a person push to one branch.
func TestManyPushers(t *testing.T) {
	t.Parallel()
	const automations = 10
	atLeast, err := time.ParseDuration(cmp.Or(os.Getenv(pushersEnv), "0s"))
	if err != nil {
		t.Fatalf("%s: %v", pushersEnv, err)
	}
	l := newLab(t, registrytest.Options{}, git.Options{})
	l.start()
	files := map[string]string{}
	for i := range automations {
		files[fmt.Sprintf("app%d/dep.yaml", i)] = l.marked("app", "old:1")
	}
	l.commit(files, "Begin")
	l.ready("1.0.0")
	for i := range automations {
		l.createUpdate(fmt.Sprintf("auto%d", i), func(o *imagev1.ImageUpdateAutomation) {
			o.Spec.Update = &imagev1.UpdateStrategy{Path: fmt.Sprintf("app%d", i), Strategy: "Setters"}
		})
	}
	ctx, stop := context.WithCancel(context.Background())
	human := make(chan int, 1)
	go func() { human <- l.person(ctx) }()
	rounds := 0
	for began := time.Now(); rounds < 3 || time.Since(began) < atLeast; rounds++ {
		round := rounds
		tag := fmt.Sprintf("1.%d.0", round)
		if round > 0 {
			l.push("app", tag)
			l.rescan("app", tag)
		}
		for i := range automations {
			l.update(fmt.Sprintf("auto%d", i), "pushed "+tag, func(o *imagev1.ImageUpdateAutomation) bool { return o.Status.ObservedPolicies["app"].Tag == tag })
		}
	}
	stop()
	people := <-human
	t.Logf("%d images, written by %d automations each, and %d commits of a person", rounds, automations, people)
	if merges := l.gitCmd("rev-list", "--merges", "--count", "main"); merges != "0" {
		t.Errorf("%s merges", merges)
	}
	if got, want := l.gitCmd("rev-list", "--count", "main"), fmt.Sprint(1+automations*rounds+people); got != want {
		t.Errorf("%s commits, want %s: one for each image and automation, %d of the person", got, want, people)
	}
	for i := range automations {
		if got := l.gitCmd("show", fmt.Sprintf("main:app%d/dep.yaml", i)); !strings.Contains(got, fmt.Sprintf(":1.%d.0 ", rounds-1)) {
			t.Errorf("app%d: %q", i, got)
		}
	}
}
