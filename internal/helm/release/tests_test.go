package release_test

import (
	"testing"
	"time"

	helm "helm.sh/helm/v4/pkg/release/v1"

	helmv2 "github.com/gitops-toolkit/flux/api/helm/v2"
	"github.com/gitops-toolkit/flux/internal/helm/release"
)

func TestTestsThatFiltersLeave(t *testing.T) {
	t.Parallel()
	hook := func(name string, phase helm.HookPhase) *helm.Hook {
		h := &helm.Hook{Name: name, Events: []helm.HookEvent{helm.HookTest}}
		if phase != "" {
			h.LastRun = helm.HookExecution{StartedAt: time.Now(), CompletedAt: time.Now(), Phase: phase}
		}
		return h
	}
	include := func(name string) helmv2.TestFilter { return helmv2.TestFilter{Name: name} }
	exclude := func(name string) helmv2.TestFilter { return helmv2.TestFilter{Name: name, Exclude: true} }
	for _, tt := range []struct {
		reason  string
		hooks   []*helm.Hook
		filters []helmv2.TestFilter
		want    []string
		tested  bool
		failed  bool
	}{
		{"no tests at all", nil, nil, nil, true, false},
		{"all went well", []*helm.Hook{hook("a", helm.HookPhaseSucceeded)}, nil, []string{"a"}, true, false},
		{"none has begun", []*helm.Hook{hook("a", "")}, nil, []string{"a"}, false, false},
		{"one was cut off", []*helm.Hook{hook("a", helm.HookPhaseSucceeded), hook("b", helm.HookPhaseRunning)}, nil, []string{"a", "b"}, false, false},
		{"a failure ends the others", []*helm.Hook{hook("a", helm.HookPhaseFailed), hook("b", "")}, nil, []string{"a", "b"}, true, true},
		{"what failed is left out now", []*helm.Hook{hook("a", helm.HookPhaseFailed), hook("b", helm.HookPhaseSucceeded)}, []helmv2.TestFilter{exclude("a")}, []string{"b"}, true, false},
		{"only what is named", []*helm.Hook{hook("a", ""), hook("b", helm.HookPhaseSucceeded)}, []helmv2.TestFilter{include("b")}, []string{"b"}, true, false},
		{"named and left out", []*helm.Hook{hook("a", ""), hook("b", "")}, []helmv2.TestFilter{include("b"), exclude("b")}, nil, true, false},
	} {
		s := &helmv2.Snapshot{TestHooks: release.Tests(&helm.Release{Hooks: tt.hooks}, &tt.filters)}
		if len(*s.TestHooks) != len(tt.want) {
			t.Errorf("%s: %d tests, want %v", tt.reason, len(*s.TestHooks), tt.want)
		}
		for _, name := range tt.want {
			if (*s.TestHooks)[name] == nil {
				t.Errorf("%s: %s is missing", tt.reason, name)
			}
		}
		if release.Tested(s) != tt.tested || release.FailedTest(s) != tt.failed {
			t.Errorf("%s: tested %v, failed %v", tt.reason, release.Tested(s), release.FailedTest(s))
		}
	}
}
