package health

import (
	"context"
	"strings"
	"testing"

	"github.com/fluxcd/cli-utils/pkg/kstatus/status"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/yaml"
)

func object(t *testing.T, doc string) *unstructured.Unstructured {
	t.Helper()
	u := &unstructured.Unstructured{}
	data, err := yaml.YAMLToJSON([]byte(doc))
	if err != nil {
		t.Fatal(err)
	}
	if err := u.UnmarshalJSON(data); err != nil {
		t.Fatal(err)
	}
	return u
}

func TestCompute(t *testing.T) {
	t.Parallel()
	exprs, err := CompileExprs([]Expr{
		{APIVersion: "example.com/v1", Kind: "Widget", Current: "status.phase == 'Up'", Failed: "status.phase == 'Broken'", InProgress: "status.phase == 'Starting'"},
		{APIVersion: "group.example.com/v1beta1", Current: "data.ok"},
		{APIVersion: "group.example.com/v1", Kind: "Exact", Current: "false"},
		{APIVersion: "batch/v1", Kind: "Job", Current: "true"},
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct {
		reason, doc string
		jobExprs    bool
		want        status.Status
		err         string
	}{
		{reason: "no status, no rules", doc: "{apiVersion: v1, kind: ConfigMap, metadata: {name: a}}", want: status.CurrentStatus},
		{reason: "a Job that runs is not current", doc: "{apiVersion: batch/v1, kind: Job, metadata: {name: a}, status: {startTime: '2026-01-01T00:00:00Z', active: 1}}", want: status.InProgressStatus},
		{reason: "a Job must complete", doc: "{apiVersion: batch/v1, kind: Job, metadata: {name: a}, status: {startTime: '2026-01-01T00:00:00Z', conditions: [{type: Complete, status: 'True'}]}}", want: status.CurrentStatus},
		{reason: "a Job may fail", doc: "{apiVersion: batch/v1, kind: Job, metadata: {name: a}, status: {startTime: '2026-01-01T00:00:00Z', conditions: [{type: Failed, status: 'True'}]}}", want: status.FailedStatus},
		{reason: "a suspended Job is healthy", doc: "{apiVersion: batch/v1, kind: Job, metadata: {name: a}, spec: {suspend: true}, status: {startTime: '2026-01-01T00:00:00Z'}}", want: status.CurrentStatus},
		{reason: "expressions win over the Job rules where asked to", jobExprs: true, doc: "{apiVersion: batch/v1, kind: Job, metadata: {name: a}, status: {startTime: '2026-01-01T00:00:00Z'}}", want: status.CurrentStatus},
		{reason: "current", doc: "{apiVersion: example.com/v2, kind: Widget, metadata: {name: a}, status: {phase: Up}}", want: status.CurrentStatus},
		{reason: "failed", doc: "{apiVersion: example.com/v2, kind: Widget, metadata: {name: a}, status: {phase: Broken}}", want: status.FailedStatus},
		{reason: "in progress", doc: "{apiVersion: example.com/v2, kind: Widget, metadata: {name: a}, status: {phase: Starting}}", want: status.InProgressStatus},
		{reason: "none is true", doc: "{apiVersion: example.com/v2, kind: Widget, metadata: {name: a}, status: {phase: Odd}}", want: status.InProgressStatus},
		{reason: "an old generation is in progress, whatever it says", doc: "{apiVersion: example.com/v2, kind: Widget, metadata: {name: a, generation: 2}, status: {observedGeneration: 1, phase: Broken}}", want: status.InProgressStatus},
		{reason: "an evaluation error is unknown", doc: "{apiVersion: example.com/v2, kind: Widget, metadata: {name: a}}", want: status.UnknownStatus, err: "status"},
		{reason: "a whole group", doc: "{apiVersion: group.example.com/v1, kind: Any, metadata: {name: a}, data: {ok: true}}", want: status.CurrentStatus},
		{reason: "the exact kind wins over its group", doc: "{apiVersion: group.example.com/v1, kind: Exact, metadata: {name: a}, data: {ok: true}}", want: status.InProgressStatus},
	} {
		t.Run(tc.reason, func(t *testing.T) {
			t.Parallel()
			got, _, err := Compute(context.Background(), object(t, tc.doc), exprs, tc.jobExprs)
			if got != tc.want {
				t.Errorf("got %s, want %s", got, tc.want)
			}
			if (err == nil) != (tc.err == "") || err != nil && !strings.Contains(err.Error(), tc.err) {
				t.Errorf("error %v", err)
			}
		})
	}
}

func TestCompileExprs(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		reason string
		exprs  []Expr
		err    string
	}{
		{"current is required", []Expr{{APIVersion: "a/v1", Kind: "A"}}, "current is required"},
		{"only group and kind count", []Expr{{APIVersion: "a/v1", Kind: "A", Current: "true"}, {APIVersion: "a/v2", Kind: "A", Current: "true"}}, "listed twice"},
		{"syntax", []Expr{{APIVersion: "a/v1", Kind: "A", Current: "status."}}, "Syntax error"},
		{"no bool", []Expr{{APIVersion: "a/v1", Kind: "A", Current: "true", Failed: "'text'"}}, "must give a bool"},
		{"apiVersion", []Expr{{APIVersion: "a/b/c", Kind: "A", Current: "true"}}, "unexpected GroupVersion"},
	} {
		t.Run(tc.reason, func(t *testing.T) {
			t.Parallel()
			if _, err := CompileExprs(tc.exprs); err == nil || !strings.Contains(err.Error(), tc.err) {
				t.Errorf("got %v, want %s", err, tc.err)
			}
		})
	}
}
