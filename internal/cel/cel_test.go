package cel

import (
	"context"
	"strings"
	"testing"
)

func TestReadyExpr(t *testing.T) {
	t.Parallel()
	self := map[string]any{"metadata": map[string]any{"labels": map[string]any{"app/version": "v1.2.3"}}}
	dep := map[string]any{
		"metadata": map[string]any{"generation": int64(2), "labels": map[string]any{"app/version": "v1.2.3"}},
		"status": map[string]any{"observedGeneration": int64(2), "conditions": []any{
			map[string]any{"type": "Ready", "status": "True"},
		}},
	}
	for _, tc := range []struct {
		reason, expr string
		want         bool
		compileErr   string
		evalErr      string
	}{
		{"both objects are whole", `dep.metadata.labels['app/version'] == self.metadata.labels['app/version']`, true, "", ""},
		{"macros bind names", `dep.status.conditions.filter(e, e.type == 'Ready').all(e, e.status == 'True')`, true, "", ""},
		{"numbers compare across types", `dep.metadata.generation == 2.0`, true, "", ""},
		{"optional types", `dep.?status.?missing.orValue(false)`, false, "", ""},
		{"string extension", `'a,b'.split(',').size() == 2`, true, "", ""},
		{"sets extension", `sets.contains([1, 2], [1])`, true, "", ""},
		{"encoders extension", `base64.encode(b'hello') == 'aGVsbG8='`, true, "", ""},
		{"not a bool", `dep.metadata.generation + 1`, false, "must give a bool", ""},
		{"unknown variable", `other.status`, false, "undeclared reference", ""},
		{"syntax", `dep.`, false, "Syntax error", ""},
		{"missing field", `dep.status.nothing == 1`, false, "", "no such key"},
		{"cost limit", `[1,2,3,4,5,6,7,8,9,10].all(a, [1,2,3,4,5,6,7,8,9,10].all(b, [1,2,3,4,5,6,7,8,9,10].all(c, [1,2,3,4,5,6,7,8,9,10].all(d, [1,2,3,4,5,6,7,8,9,10].all(e, [1,2,3,4,5,6,7,8,9,10].all(f, a+b+c+d+e+f > 0))))))`, false, "", "cost limit"},
	} {
		t.Run(tc.reason, func(t *testing.T) {
			t.Parallel()
			e, err := CompileReady(tc.expr)
			if tc.compileErr != "" {
				if err == nil || !strings.Contains(err.Error(), tc.compileErr) {
					t.Fatalf("compile: %v, want %q", err, tc.compileErr)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			got, err := e.Eval(context.Background(), self, dep)
			if tc.evalErr != "" {
				if err == nil || !strings.Contains(err.Error(), tc.evalErr) {
					t.Fatalf("eval: %v, want %q", err, tc.evalErr)
				}
				return
			}
			if err != nil || got != tc.want {
				t.Fatalf("got %v, %v; want %v", got, err, tc.want)
			}
		})
	}
}

func TestObjectExpression(t *testing.T) {
	t.Parallel()
	obj := map[string]any{
		"kind": "Widget", "spec": map[string]any{"size": int64(3)},
		"data":   map[string]any{"type": "x"},
		"status": map[string]any{"items": []any{"a", "b"}},
	}
	for _, tc := range []struct {
		reason, expr string
		want, fails  bool
	}{
		{"any top-level field is a variable", `data.type == 'x' && spec.size > 2`, true, false},
		{"bound names shadow", `status.items.exists(kind, kind == 'b')`, true, false},
		{"has of an absent field", `has(status.phase)`, false, false},
		{"absent top-level field", `missing.field == 1`, false, true},
		{"type names are no variables", `type(spec.size) == int`, true, false},
	} {
		t.Run(tc.reason, func(t *testing.T) {
			t.Parallel()
			e, err := CompileObject(tc.expr)
			if err != nil {
				t.Fatal(err)
			}
			got, err := e.Eval(context.Background(), obj)
			if (err != nil) != tc.fails || got != tc.want {
				t.Fatalf("got %v, %v; want %v, fails %v", got, err, tc.want, tc.fails)
			}
		})
	}
}

func FuzzCompileObject(f *testing.F) {
	for _, s := range []string{`status.ready`, `[1].all(x, x > 0)`, `a.?b[?0].hasValue()`, `{'a': b}`} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, source string) {
		if e, err := CompileObject(source); err == nil {
			_, _ = e.Eval(context.Background(), map[string]any{"status": map[string]any{}})
		}
	})
}
