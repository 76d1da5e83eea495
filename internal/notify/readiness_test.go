package notify

import (
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/yaml"
)

func TestOver(t *testing.T) {
	t.Parallel()
	failed := time.Date(2026, 11, 21, 12, 0, 0, 5e8, time.UTC)
	state := func(status, at string) *readiness {
		obj := &unstructured.Unstructured{}
		data, err := yaml.YAMLToJSON([]byte(`{apiVersion: v1, kind: X, metadata: {name: x, generation: 3}, status: {observedGeneration: 3, lastAppliedRevision: r2, conditions: [{type: Ready, status: "` + status + `", reason: R, message: m, lastTransitionTime: "2026-11-21T` + at + `Z"}]}}`))
		if err == nil {
			err = obj.UnmarshalJSON(data)
		}
		if err != nil {
			t.Fatal(err)
		}
		out, err := toReadiness(obj)
		if err != nil {
			t.Fatal(err)
		}
		return out.(*readiness)
	}
	change := func(r *readiness, f func(*readiness)) *readiness { f(r); return r }
	for name, test := range map[string]struct {
		state *readiness
		gone  bool
		after time.Duration
		want  bool
	}{
		"still failing":                       {state("False", "12:00:00"), false, time.Hour, false},
		"under way":                           {state("Unknown", "12:05:00"), false, time.Hour, false},
		"ready since":                         {state("True", "12:00:10"), false, 13 * time.Second, true},
		"in the second of the failure":        {state("True", "12:00:00"), false, 3 * time.Second, true},
		"ready a moment ago: the event first": {state("True", "12:00:10"), false, 10 * time.Second, false},
		"ready before, perhaps an old state":  {state("True", "11:00:00"), false, 30 * time.Second, false},
		"ready before, and it stays so":       {state("True", "11:00:00"), false, 2 * time.Minute, true},
		"ready, for an older spec":            {change(state("True", "12:00:10"), func(r *readiness) { r.Generation = 4 }), false, time.Hour, false},
		"being deleted":                       {change(state("True", "12:00:10"), func(r *readiness) { r.DeletionTimestamp = &metav1.Time{} }), false, time.Hour, false},
		"without the condition":               {change(state("True", "12:00:10"), func(r *readiness) { r.ready = nil }), false, time.Hour, false},
		"not there, perhaps not yet":          {nil, false, 30 * time.Second, false},
		"not there":                           {nil, false, 2 * time.Minute, true},
		"seen to go":                          {nil, true, time.Second, true},
	} {
		now := failed.Add(test.after)
		over, again := test.state.over(failed, now, test.gone)
		if over != test.want || !over && !again.IsZero() && !again.After(now) {
			t.Errorf("%s: over %v, again at %s", name, over, again)
		}
	}
	if reason, message, revision := state("True", "12:00:10").words(); reason != "R" || message != "m" || revision != "r2" {
		t.Errorf("in words: %s, %s, %s", reason, message, revision)
	}
}
