package cel

import (
	"reflect"
	"testing"
)

func TestValues(t *testing.T) {
	t.Parallel()
	variables := map[string]any{"event": map[string]any{"metadata": map[string]any{"env": "prod"}, "n": 1}}
	tests := []struct {
		reason, expr string
		want         any
		fails        bool
	}{
		{"strings are put together", "'a/' + event.metadata.env", "a/prod", false},
		{"a field may be any string", "event.metadata.env", "prod", false},
		{"a number is no string", "1", nil, true},
		{"a field that is no string shows when evaluated", "event.n", nil, true},
		{"a missing field is an error", "event.missing", nil, true},
		{"syntax", "'a", nil, true},
	}
	for _, tt := range tests {
		v, err := CompileString(tt.expr, "event")
		if err != nil {
			if !tt.fails {
				t.Errorf("%s: %v", tt.reason, err)
			}
			continue
		}
		got, err := v.String(t.Context(), variables)
		if (err != nil) != tt.fails || !tt.fails && got != tt.want {
			t.Errorf("%s: %q %v", tt.reason, got, err)
		}
	}
	for expr, want := range map[string]any{
		"event.metadata": map[string]any{"env": "prod"}, "[1, 'a']": []any{int64(1), "a"}, "event.n > 0": true, "1 + 1": int64(2),
	} {
		v, err := CompileAny(expr, "event")
		if err != nil {
			t.Fatal(err)
		}
		if got, err := v.Any(t.Context(), variables); err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%s: %#v %v, want %#v", expr, got, err, want)
		}
	}
}
