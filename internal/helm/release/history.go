package release

import (
	"fmt"

	helm "helm.sh/helm/v4/pkg/release/v1"

	helmv2 "github.com/gitops-toolkit/flux/api/helm/v2"
	"github.com/gitops-toolkit/flux/api/meta"
)

// keptWithoutSuccess is how many snapshots a history keeps in which none was deployed.
const keptWithoutSuccess = 5

// Record takes a release, as it was just stored, into a history: a newer one in front, an older one in its place, where
// it keeps its tests and the digest of its chart.
func Record(history helmv2.Snapshots, s *helmv2.Snapshot) helmv2.Snapshots {
	latest := history.Latest()
	if latest == nil || s.Version > latest.Version || s.Name != latest.Name || s.Namespace != latest.Namespace {
		return append(helmv2.Snapshots{s}, history...)
	}
	for i, old := range history {
		if old.Version != s.Version || old.Name != s.Name || old.Namespace != s.Namespace {
			continue
		}
		updated := *s
		if updated.TestHooks == nil {
			updated.TestHooks = old.TestHooks
		}
		if updated.OCIDigest == "" {
			updated.OCIDigest = old.OCIDigest
		}
		out := append(helmv2.Snapshots(nil), history...)
		out[i] = &updated
		return out
	}
	return history
}

// Truncate keeps the latest snapshot and those up to the previous one that can be rolled back to.
func Truncate(history helmv2.Snapshots, ignoreTests bool) helmv2.Snapshots {
	for i := 1; i < len(history); i++ {
		if succeeded(history[i], ignoreTests) {
			return history[:i+1]
		}
	}
	return TruncateTo(history, keptWithoutSuccess)
}

// TruncateTo keeps at most n snapshots.
func TruncateTo(history helmv2.Snapshots, n int) helmv2.Snapshots {
	return history[:min(n, len(history))]
}

// Previous returns the newest snapshot before the latest to which can be rolled back, nil if there is none.
func Previous(history helmv2.Snapshots, ignoreTests bool) *helmv2.Snapshot {
	for i := 1; i < len(history); i++ {
		if succeeded(history[i], ignoreTests) {
			return history[i]
		}
	}
	return nil
}

func succeeded(s *helmv2.Snapshot, ignoreTests bool) bool {
	return (s.Status == "deployed" || s.Status == "superseded") && (ignoreTests || !FailedTest(s))
}

// FullName is <namespace>/<name>.v<version>.
func FullName(s *helmv2.Snapshot) string {
	return fmt.Sprintf("%s/%s.v%d", s.Namespace, s.Name, s.Version)
}

// VersionedChart is <chart>@<version>.
func VersionedChart(s *helmv2.Snapshot) string { return s.ChartName + "@" + s.ChartVersion }

// Tests returns how the tests of a stored release went that filters leave; one that another's failure kept from running
// has no phase. None is an empty map, not nil.
func Tests(rel *helm.Release, filters *[]helmv2.TestFilter) *map[string]*helmv2.TestHookStatus {
	out := map[string]*helmv2.TestHookStatus{}
	for _, h := range rel.Hooks {
		if !isTest(h) || !selected(h.Name, filters) {
			continue
		}
		t := &helmv2.TestHookStatus{Phase: h.LastRun.Phase.String()}
		if !h.LastRun.StartedAt.IsZero() {
			at := meta.NewTime(h.LastRun.StartedAt)
			t.LastStarted = &at
		}
		if !h.LastRun.CompletedAt.IsZero() {
			at := meta.NewTime(h.LastRun.CompletedAt)
			t.LastCompleted = &at
		}
		out[h.Name] = t
	}
	return &out
}

// selected tells whether filters leave a test, as Helm reads them: any that names tests to run leaves only those.
func selected(name string, filters *[]helmv2.TestFilter) bool {
	if filters == nil {
		return true
	}
	var only, named bool
	for _, f := range *filters {
		if f.Exclude && f.Name == name {
			return false
		}
		only = only || !f.Exclude
		named = named || !f.Exclude && f.Name == name
	}
	return named || !only
}

// Tested tells whether a verdict about the tests of a snapshot is known.
func Tested(s *helmv2.Snapshot) bool {
	if s == nil || s.TestHooks == nil {
		return false
	}
	if FailedTest(s) {
		return true
	}
	for _, t := range *s.TestHooks {
		if t.Phase != helm.HookPhaseSucceeded.String() {
			return false
		}
	}
	return true
}

// FailedTest tells whether a test of a snapshot failed.
func FailedTest(s *helmv2.Snapshot) bool {
	if s.TestHooks == nil {
		return false
	}
	for _, t := range *s.TestHooks {
		if t.Phase == helm.HookPhaseFailed.String() {
			return true
		}
	}
	return false
}
