package kustomize_test

import (
	"fmt"
	"os"
	"strconv"
	"testing"
	"time"

	kustomizev1 "github.com/gitops-toolkit/flux/api/kustomize/v1"
)

// TestRestartOfMany installs many Kustomizations at once, while the watches of the tracker have only begun, and
// restarts: not one of them is looked at again.
func TestRestartOfMany(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	n := 60
	if text := os.Getenv("FLUX_TEST_MANY"); text != "" {
		n, _ = strconv.Atoi(text)
	}
	files := map[string]string{}
	for i := range n {
		for o := range 4 {
			files[fmt.Sprintf("app%d/cm%d.yaml", i, o)] = configMap(fmt.Sprintf("app%d-%d", i, o), "1")
		}
	}
	l.source("repo", "r1", files)
	for i := range n {
		l.create(fmt.Sprintf("app%d", i), func(s *kustomizev1.KustomizationSpec) { s.Path = fmt.Sprintf("./app%d", i) })
	}
	unproven := 0
	for i := range n {
		if k := l.settled(fmt.Sprintf("app%d", i), "r1"); k.Status.Tracked == "" || k.Status.Inputs == "" {
			unproven++
		}
	}
	if unproven > 0 {
		t.Errorf("%d of %d kept no proof", unproven, n)
	}
	l.stop()
	l.proxy.take()
	l.artifacts.fetches()
	before := make([]uint64, n)
	for i := range n {
		before[i] = l.verdicts(fmt.Sprintf("app%d", i))
	}
	l.start()
	for i := range n {
		name := fmt.Sprintf("app%d", i)
		for deadline := time.Now().Add(patience); l.verdicts(name) == before[i]; time.Sleep(50 * time.Millisecond) {
			if time.Now().After(deadline) {
				t.Fatalf("%s was not looked at after the restart", name)
			}
		}
	}
	seen := l.proxy.take()
	if work := count(seen, "dry-run") + count(seen, "apply") + count(seen, "status") + count(seen, "event"); work != 0 {
		t.Errorf("a restart cost %d dry-runs, %d writes, %d status patches and %d events", count(seen, "dry-run"), count(seen, "apply"), count(seen, "status"), count(seen, "event"))
	}
	if n := l.artifacts.fetches(); n != 0 {
		t.Errorf("%d fetches, want 0", n)
	}
}
