package kernel

import (
	"errors"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/gitops-toolkit/flux/api/meta"
	sourcev1 "github.com/gitops-toolkit/flux/api/source/v1"
)

func object(conditions ...metav1.Condition) *sourcev1.GitRepository {
	o := &sourcev1.GitRepository{}
	o.Generation = 3
	o.Spec.Interval = meta.NewDuration(time.Minute)
	o.Status.ObservedGeneration = 2
	o.Status.Conditions = conditions
	return o
}

func cond(conditionType string, status metav1.ConditionStatus, reason, message string) metav1.Condition {
	return metav1.Condition{Type: conditionType, Status: status, Reason: reason, Message: message}
}

func TestJudge(t *testing.T) {
	t.Parallel()
	const working = "building"
	reconciling := cond(meta.ReconcilingCondition, metav1.ConditionTrue, meta.ProgressingReason, "fetching")
	stalled := cond(meta.StalledCondition, metav1.ConditionTrue, "Bad", "bad")
	tests := []struct {
		reason   string
		outcome  Outcome
		before   []metav1.Condition
		progress string
		want     []metav1.Condition
		observed int64
	}{
		{"success clears everything else", Done("Succeeded", "ok"), []metav1.Condition{reconciling, stalled}, working,
			[]metav1.Condition{cond("Ready", metav1.ConditionTrue, "Succeeded", "ok")}, 3},
		{"a failure keeps its progress", Failed("BuildFailed", errors.New("no")), nil, working, []metav1.Condition{
			cond("Ready", metav1.ConditionFalse, "BuildFailed", "no"),
			cond("Reconciling", metav1.ConditionTrue, meta.ProgressingWithRetryReason, "building")}, 2},
		{"a failure before any progress shows none", Failed("ArtifactFailed", errors.New("no")), nil, "",
			[]metav1.Condition{cond("Ready", metav1.ConditionFalse, "ArtifactFailed", "no")}, 2},
		{"what it had come to is told over what was written", Failed("X", errors.New("no")), []metav1.Condition{reconciling}, working, []metav1.Condition{
			cond("Reconciling", metav1.ConditionTrue, meta.ProgressingWithRetryReason, "building"),
			cond("Ready", metav1.ConditionFalse, "X", "no")}, 2},
		{"progress that was written stays with the failure", Failed("X", errors.New("no")), []metav1.Condition{reconciling}, "", []metav1.Condition{
			cond("Reconciling", metav1.ConditionTrue, meta.ProgressingWithRetryReason, "fetching"),
			cond("Ready", metav1.ConditionFalse, "X", "no")}, 2},
		{"waiting observes nothing", Waiting("DependencyNotReady", "dep", time.Second), []metav1.Condition{stalled}, "",
			[]metav1.Condition{cond("Ready", metav1.ConditionFalse, "DependencyNotReady", "dep")}, 2},
		{"a stall is a verdict", Stalled("InvalidURL", errors.New("no")), []metav1.Condition{reconciling}, working, []metav1.Condition{
			cond("Ready", metav1.ConditionFalse, "InvalidURL", "no"),
			cond("Stalled", metav1.ConditionTrue, "InvalidURL", "no")}, 3},
		{"denied access is no verdict on the generation", Stalled("AccessDenied", errors.New("no")).KeepObservedGeneration(), nil, "", []metav1.Condition{
			cond("Ready", metav1.ConditionFalse, "AccessDenied", "no"),
			cond("Stalled", metav1.ConditionTrue, "AccessDenied", "no")}, 2},
	}
	for _, tt := range tests {
		t.Run(tt.reason, func(t *testing.T) {
			t.Parallel()
			o := object(tt.before...)
			judge(o, tt.outcome, tt.progress)
			compare(t, o.Status.Conditions, tt.want)
			if o.Status.ObservedGeneration != tt.observed {
				t.Errorf("observedGeneration %d, want %d", o.Status.ObservedGeneration, tt.observed)
			}
		})
	}
}

func compare(t *testing.T, got, want []metav1.Condition) {
	t.Helper()
	byType := map[string]metav1.Condition{}
	for _, c := range got {
		byType[c.Type] = c
	}
	if len(got) != len(want) {
		t.Errorf("conditions %+v, want %+v", got, want)
	}
	for _, w := range want {
		g := byType[w.Type]
		if g.Status != w.Status || g.Reason != w.Reason || g.Message != w.Message {
			t.Errorf("%s: %+v, want %+v", w.Type, g, w)
		}
	}
}

func TestShow(t *testing.T) {
	t.Parallel()
	ready := cond("Ready", metav1.ConditionTrue, "Succeeded", "ok")
	progressing := cond("Reconciling", metav1.ConditionTrue, "Progressing", "busy")
	tests := []struct {
		reason   string
		before   []metav1.Condition
		progress Progress
		want     []metav1.Condition
	}{
		{"a source keeps its verdict while it works", []metav1.Condition{ready}, Progress{Message: "busy"}, []metav1.Condition{ready, progressing}},
		{"without a verdict Ready is Unknown", nil, Progress{Message: "busy"},
			[]metav1.Condition{progressing, cond("Ready", metav1.ConditionUnknown, "Progressing", "busy")}},
		{"a Kustomization says so", []metav1.Condition{ready}, Progress{Message: "busy", Ready: "Reconciliation in progress"},
			[]metav1.Condition{progressing, cond("Ready", metav1.ConditionUnknown, "Progressing", "Reconciliation in progress")}},
		{"Stalled gives way", []metav1.Condition{ready, cond("Stalled", metav1.ConditionTrue, "X", "x")}, Progress{Message: "busy"},
			[]metav1.Condition{ready, progressing}},
	}
	for _, tt := range tests {
		t.Run(tt.reason, func(t *testing.T) {
			t.Parallel()
			o := object(tt.before...)
			show(o, tt.progress)
			compare(t, o.Status.Conditions, tt.want)
		})
	}
}

func TestDelay(t *testing.T) {
	t.Parallel()
	s := Defaults()
	s.IntervalJitterPercentage = 0
	err := errors.New("x")
	tests := []struct {
		reason  string
		outcome Outcome
		want    time.Duration
	}{
		{"success comes back at the interval", Done("", ""), time.Minute},
		{"a failure at the retry interval, by default the interval", Failed("X", err), time.Minute},
		{"an outcome may know better", Failed("X", err).RetryAfter(time.Second), time.Second},
		{"waiting has a safety net", Waiting("X", "x", 0), 30 * time.Second},
		{"a stall does not come back by itself", Stalled("X", err), 0},
	}
	for _, tt := range tests {
		if got := delay(object(), tt.outcome, s); got != tt.want {
			t.Errorf("%s: %s, want %s", tt.reason, got, tt.want)
		}
	}
}

func TestJitterStaysInItsBounds(t *testing.T) {
	t.Parallel()
	lower, higher := false, false
	for range 1000 {
		d := jitter(time.Hour, 5)
		if d < 57*time.Minute || d > 63*time.Minute {
			t.Fatalf("%s is not within 5%% of an hour", d)
		}
		lower, higher = lower || d < time.Hour, higher || d > time.Hour
	}
	if !lower || !higher {
		t.Error("jitter goes one way only")
	}
	if jitter(time.Hour, 0) != time.Hour || jitter(0, 5) != 0 {
		t.Error("no jitter asked for, or no interval to spread")
	}
}

func TestMergeDiffIsAppliedByMergeApply(t *testing.T) {
	t.Parallel()
	a := map[string]any{"same": "x", "gone": 1.0, "map": map[string]any{"a": 1.0, "b": 2.0}, "list": []any{1.0}}
	b := map[string]any{"same": "x", "new": "y", "map": map[string]any{"a": 1.0, "c": 3.0}, "list": []any{1.0, 2.0}}
	diff := mergeDiff(a, b)
	if _, touched := diff["same"]; touched || diff["gone"] != nil {
		t.Errorf("diff %v", diff)
	}
	got := mergeApply(a, diff)
	if len(mergeDiff(got, b)) != 0 || len(mergeDiff(b, got)) != 0 {
		t.Errorf("%v, want %v", got, b)
	}
}

func TestRedact(t *testing.T) {
	t.Parallel()
	tests := map[string]string{
		"clone https://me:hunter2@git.example/x: refused": "clone https://me:*****@git.example/x: refused",
		"https://:token@h/":               "https://:*****@h/",
		"ssh://git@github.com/o/r":        "ssh://git@github.com/o/r",
		"http://127.0.0.1:5001/fleet.git": "http://127.0.0.1:5001/fleet.git",
		"see http://h:80/a@b":             "see http://h:80/a@b",
	}
	for in, want := range tests {
		if got := redact(in); got != want {
			t.Errorf("redact(%q) = %q, want %q", in, got, want)
		}
	}
}

func TestCutMessageKeepsWholeCharacters(t *testing.T) {
	t.Parallel()
	long := make([]rune, meta.MaxConditionMessageLength)
	for i := range long {
		long[i] = 'ä'
	}
	got := cutMessage(string(long))
	if len(got) > meta.MaxConditionMessageLength || got[len(got)-3:] != "..." || []rune(got)[len([]rune(got))-4] != 'ä' {
		t.Errorf("length %d, end %q", len(got), got[len(got)-8:])
	}
}

func TestChangesThatMatter(t *testing.T) {
	t.Parallel()
	base := description{generation: 1, observed: 1, ready: true, Published: Published{"r1", "d1"}}
	tests := []struct {
		reason string
		now    description
		want   Change
	}{
		{"nothing", base, 0},
		{"other bytes of the same revision wake nobody", description{1, 1, true, "", Published{"r1", "d2"}}, 0},
		{"other bytes after another spec do", description{2, 2, true, "", Published{"r1", "d2"}}, OnRevision | OnSpec},
		{"a new revision", description{1, 1, true, "", Published{"r2", "d2"}}, OnRevision},
		{"no longer ready", description{1, 1, false, "", Published{"r1", "d1"}}, 0},
		{"another spec, and why it failed", description{2, 1, false, "no chart", Published{"r1", "d1"}}, OnFailure | OnSpec},
	}
	for _, tt := range tests {
		if got := base.changes(tt.now); got != tt.want {
			t.Errorf("%s: %b, want %b", tt.reason, got, tt.want)
		}
	}
	if got := (description{}).changes(description{ready: true}); got != OnReady {
		t.Errorf("became ready: %b", got)
	}
}

func TestUnknownGateIsAnError(t *testing.T) {
	t.Parallel()
	if _, err := MergeGates(map[string]bool{"A": true}, map[string]bool{"B": true}); err == nil {
		t.Error("an unknown gate was accepted")
	}
	got, err := MergeGates(map[string]bool{"A": true, "B": false}, map[string]bool{"B": true})
	if err != nil || !got["A"] || !got["B"] {
		t.Errorf("%v %v", got, err)
	}
}

func TestLeaseName(t *testing.T) {
	t.Parallel()
	if got := LeaseName("source-controller", ""); got != "source-controller-leader-election" {
		t.Error(got)
	}
	if got := LeaseName("source-controller", "sharding.fluxcd.io/key=shard1"); len(got) != len("source-controller-leader-election-")+8 {
		t.Error(got)
	}
}
