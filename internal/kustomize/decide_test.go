package kustomize

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	kustomizev1 "github.com/gitops-toolkit/flux/api/kustomize/v1"
	"github.com/gitops-toolkit/flux/api/meta"
	"github.com/gitops-toolkit/flux/internal/apply"
	"github.com/gitops-toolkit/flux/internal/artifact"
	"github.com/gitops-toolkit/flux/internal/depends"
	"github.com/gitops-toolkit/flux/internal/kernel"
)

func TestDecide(t *testing.T) {
	t.Parallel()
	base := situation{desire: "g1|d", settled: "g1|d", known: true, ready: true, applyKey: "apply|d", handOverKey: "hand-over|d", pruneKey: "prune|d", healthKey: "health|d"}
	for reason, c := range map[string]struct {
		change func(*situation)
		want   step
	}{
		"woken without news":                   {func(s *situation) { s.trigger = kernel.TriggerReference }, stepRest},
		"new in this process":                  {func(s *situation) { s.trigger = kernel.TriggerNew }, stepApply},
		"the interval":                         {func(s *situation) { s.trigger = kernel.TriggerInterval }, stepApply},
		"a request":                            {func(s *situation) { s.trigger = kernel.TriggerRequested }, stepApply},
		"another desire":                       {func(s *situation) { s.settled = "g1|old" }, stepApply},
		"another generation":                   {func(s *situation) { s.settled = "g0|d" }, stepApply},
		"not ready":                            {func(s *situation) { s.ready = false }, stepApply},
		"versions unknown":                     {func(s *situation) { s.known = false }, stepApply},
		"its apply runs":                       {func(s *situation) { s.running = "apply|d" }, stepRun},
		"its wait runs":                        {func(s *situation) { s.running = "health|d" }, stepRun},
		"a request while it runs":              {func(s *situation) { s.running, s.trigger = "health|d", kernel.TriggerRequested }, stepRun},
		"a new request while its wait runs":    {func(s *situation) { s.running, s.trigger, s.asked = "health|d", kernel.TriggerRequested, true }, stepApply},
		"an older apply runs":                  {func(s *situation) { s.running = "apply|old" }, stepApply},
		"an older wait runs, settled before":   {func(s *situation) { s.running = "health|old" }, stepApply},
		"applied, nothing to wait for":         {func(s *situation) { s.ended = "apply|d" }, stepConclude},
		"applied, objects to wait for":         {func(s *situation) { s.ended, s.waits = "apply|d", true }, stepHealth},
		"the apply failed":                     {func(s *situation) { s.ended, s.failed = "apply|d", true }, stepConclude},
		"the wait ended":                       {func(s *situation) { s.ended, s.waits = "health|d", true }, stepConclude},
		"others may want what is stale":        {func(s *situation) { s.ended, s.pending, s.waits = "apply|d", true, true }, stepHandOver},
		"the wait for others runs":             {func(s *situation) { s.running = "hand-over|d" }, stepRun},
		"others had their time":                {func(s *situation) { s.ended, s.pending, s.waits = "hand-over|d", true, true }, stepPrune},
		"pruned, objects to wait for":          {func(s *situation) { s.ended, s.waits = "prune|d", true }, stepHealth},
		"pruned, nothing to wait for":          {func(s *situation) { s.ended = "prune|d" }, stepConclude},
		"the prune failed":                     {func(s *situation) { s.ended, s.failed, s.waits = "prune|d", true, true }, stepConclude},
		"objects wait to be taken over":        {func(s *situation) { s.held, s.trigger = true, kernel.TriggerReference }, stepApply},
		"the apply ended while it runs again":  {func(s *situation) { s.ended, s.running = "apply|d", "apply|d" }, stepConclude},
		"a finalize job is no one's apply job": {func(s *situation) { s.running, s.trigger = finalizeKey, kernel.TriggerSpec }, stepApply},
	} {
		s := base
		c.change(&s)
		if got := decide(s); got != c.want {
			t.Errorf("%s: step %d, want %d", reason, got, c.want)
		}
	}
}

func TestRecordSnapshot(t *testing.T) {
	t.Parallel()
	at := func(minute int) meta.Time { return meta.NewTime(time.Date(2026, 1, 1, 0, minute, 0, 0, time.UTC)) }
	entry := func(digest, status string, minute int) kustomizev1.Snapshot {
		return kustomizev1.Snapshot{Digest: digest, LastReconciledStatus: status, LastReconciled: at(minute)}
	}
	var history []kustomizev1.Snapshot
	for i, s := range []kustomizev1.Snapshot{
		entry("a", "ok", 1), entry("b", "ok", 2), entry("a", "ok", 3), entry("a", "failed", 4), entry("c", "ok", 5), entry("d", "ok", 6), entry("e", "ok", 7),
	} {
		history = recordSnapshot(history, s)
		if history[0].Digest != s.Digest || history[0].LastReconciledStatus != s.LastReconciledStatus {
			t.Fatalf("step %d: the newest is not first: %+v", i, history)
		}
	}
	if len(history) != maxHistory {
		t.Errorf("%d entries, want %d", len(history), maxHistory)
	}
	a := history[len(history)-1]
	if a.Digest != "a" || a.LastReconciledStatus != "ok" || a.TotalReconciliations != 2 || a.FirstReconciled != at(1) || a.LastReconciled != at(3) {
		t.Errorf("the pair that came twice: %+v", a)
	}
}

func TestJudgeDependency(t *testing.T) {
	t.Parallel()
	self := &kustomizev1.Kustomization{ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: "self"}}
	self.Spec.SourceRef = kustomizev1.CrossNamespaceSourceReference{Kind: "GitRepository", Name: "repo"}
	target := &target{object: self, ref: artifact.Ref{Revision: "r2"}}
	ready := func() *kustomizev1.Kustomization {
		k := &kustomizev1.Kustomization{ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: "dep", Generation: 2}}
		k.Spec.SourceRef = kustomizev1.CrossNamespaceSourceReference{Kind: "GitRepository", Name: "repo", Namespace: "ns"}
		k.Status.ObservedGeneration, k.Status.LastAppliedRevision = 2, "r2"
		k.Status.Conditions = []metav1.Condition{{Type: meta.ReadyCondition, Status: metav1.ConditionTrue}}
		return k
	}
	for reason, c := range map[string]struct {
		change   func(*kustomizev1.Kustomization)
		expr     string
		additive bool
		want     string
	}{
		"ready":                    {},
		"suspended, but ready":     {change: func(k *kustomizev1.Kustomization) { k.Spec.Suspend = true }},
		"no conditions":            {change: func(k *kustomizev1.Kustomization) { k.Status.Conditions = nil }, want: "dependency 'ns/dep' is not ready"},
		"new spec":                 {change: func(k *kustomizev1.Kustomization) { k.Generation = 3 }, want: "dependency 'ns/dep' is not ready"},
		"not ready":                {change: func(k *kustomizev1.Kustomization) { k.Status.Conditions[0].Status = metav1.ConditionFalse }, want: "dependency 'ns/dep' is not ready"},
		"behind":                   {change: func(k *kustomizev1.Kustomization) { k.Status.LastAppliedRevision = "r1" }, want: "dependency 'ns/dep' revision is not up to date"},
		"behind in another source": {change: func(k *kustomizev1.Kustomization) { k.Status.LastAppliedRevision, k.Spec.SourceRef.Name = "x", "other" }},
		"behind in another namespace": {change: func(k *kustomizev1.Kustomization) {
			k.Status.LastAppliedRevision, k.Spec.SourceRef.Namespace = "x", "other"
		}},
		"expression holds":              {expr: "dep.metadata.name == 'dep' && self.metadata.name == 'self'"},
		"expression replaces checks":    {change: func(k *kustomizev1.Kustomization) { k.Status.Conditions = nil }, expr: "true"},
		"expression adds to the checks": {change: func(k *kustomizev1.Kustomization) { k.Status.Conditions = nil }, expr: "true", additive: true, want: "dependency 'ns/dep' is not ready"},
		"expression does not hold":      {expr: "dep.metadata.generation == 3", want: "dependency 'ns/dep' is not ready according to readyExpr eval"},
	} {
		dep := ready()
		if c.change != nil {
			c.change(dep)
		}
		exprs, stopped := depends.Compile(nil, []meta.DependencyReference{{Name: "dep", ReadyExpr: c.expr}})
		if stopped != nil {
			t.Fatal(stopped)
		}
		target.exprs = exprs
		err := judgeDependency(t.Context(), target, 0, dep, c.additive)
		if got := fmt.Sprint(err); got != c.want && (err != nil || c.want != "") {
			t.Errorf("%s: %v, want %q", reason, err, c.want)
		}
	}
}

func TestDeletes(t *testing.T) {
	t.Parallel()
	some := apply.Inventory{{ID: "ns_x__ConfigMap", Version: "v1"}}
	for reason, c := range map[string]struct {
		spec    kustomizev1.KustomizationSpec
		entries apply.Inventory
		want    bool
	}{
		"prune":                    {kustomizev1.KustomizationSpec{Prune: true}, some, true},
		"no prune":                 {kustomizev1.KustomizationSpec{}, some, false},
		"mirror":                   {kustomizev1.KustomizationSpec{Prune: true, DeletionPolicy: "MirrorPrune"}, some, true},
		"delete without prune":     {kustomizev1.KustomizationSpec{DeletionPolicy: "Delete"}, some, true},
		"wait without prune":       {kustomizev1.KustomizationSpec{DeletionPolicy: "WaitForTermination"}, some, true},
		"orphan in spite of prune": {kustomizev1.KustomizationSpec{Prune: true, DeletionPolicy: "Orphan"}, some, false},
		"suspended":                {kustomizev1.KustomizationSpec{Suspend: true, DeletionPolicy: "Delete"}, some, false},
		"nothing applied":          {kustomizev1.KustomizationSpec{Prune: true}, nil, false},
	} {
		if got := deletes(&kustomizev1.Kustomization{Spec: c.spec}, c.entries); got != c.want {
			t.Errorf("%s: %v, want %v", reason, got, c.want)
		}
	}
}

func TestReasonOf(t *testing.T) {
	t.Parallel()
	if got := reasonOf(fmt.Errorf("x: %w", failed(meta.BuildFailedReason, errors.New("y")))); got != meta.BuildFailedReason {
		t.Errorf("reason %s", got)
	}
	if got := reasonOf(errors.New("y")); got != meta.ReconciliationFailedReason {
		t.Errorf("reason %s of an error without one", got)
	}
}

func TestBuildsKeepObjects(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	b, err := openBuilds(dir, 4000)
	if err != nil {
		t.Fatal(err)
	}
	objects := []apply.Object{{Origin: "a.yaml", Unstructured: &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "v1", "kind": "X", "int": int64(12345678901234567), "float": 1.5, "list": []any{"a", int64(1)},
	}}}}
	if err := b.put("key", objects); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		got, ok := b.get("key")
		if !ok || !reflect.DeepEqual(got, objects) {
			t.Fatalf("got %+v, %v", got, ok)
		}
		got[0].Object["kind"] = "changed" // must not reach the next reader
	}
	if info, err := os.Stat(b.path("key")); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, %v: others can read it", info.Mode(), err)
	}
	if _, ok := b.get("absent"); ok {
		t.Error("got what was never put")
	}
	if err := os.WriteFile(b.path("broken"), []byte(`[{"object": 1`), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, ok := b.get("broken"); ok {
		t.Error("got half a file")
	}
	for i := range 100 {
		if err := b.put(fmt.Sprint(i), objects); err != nil {
			t.Fatal(err)
		}
	}
	var size int64
	for _, f := range b.files() {
		size += f.Size()
	}
	if size > 4000 {
		t.Errorf("%d bytes are kept, the limit is 4000", size)
	}
	if left, _ := filepath.Glob(filepath.Join(dir, ".new-*")); len(left) > 0 {
		t.Errorf("temporary files are left: %v", left)
	}
}

func TestNoBuildsAreKeptWithoutDirectory(t *testing.T) {
	t.Parallel()
	b, err := openBuilds("", 0)
	if err != nil || b.put("key", nil) != nil {
		t.Error(err)
	}
	if _, ok := b.get("key"); ok {
		t.Error("got something")
	}
}

func TestInventoryRoundTrip(t *testing.T) {
	t.Parallel()
	inv := apply.Inventory{{ID: "ns_a__ConfigMap", Version: "v1"}, {ID: "_b_apps_X", Version: "v2"}}
	if got := inventoryOf(storedInventory(inv)); !reflect.DeepEqual(got, inv) {
		t.Errorf("%v, want %v", got, inv)
	}
	if inventoryOf(nil) != nil {
		t.Error("no inventory must stay none")
	}
}
