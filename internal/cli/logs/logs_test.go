package logs

import (
	"slices"
	"strings"
	"testing"
)

// TestLongLines: a line beyond all measure does not hide those after it.
func TestLongLines(t *testing.T) {
	t.Parallel()
	var got []string
	text := "one\n" + strings.Repeat("x", maxLine+1) + "\n\n" + strings.Repeat("y", maxLine) + "\nlast"
	if err := lines(strings.NewReader(text), func(line string) { got = append(got, line) }); err != nil {
		t.Fatal(err)
	}
	if len(got) != 4 || got[0] != "one" || got[1] != "" || len(got[2]) != maxLine || got[3] != "last" {
		t.Errorf("%d lines, the last %q", len(got), slices.Compact(got)[len(got)-1])
	}
}

// TestFormat: every filter holds, and what is no line of ours is left out.
func TestFormat(t *testing.T) {
	t.Parallel()
	const line = `{"level":"error","ts":"2026-01-01T00:00:00Z","msg":"Reconciler error","error":"no route","controllerKind":"Kustomization","name":"app","namespace":"apps"}`
	const old = `{"level":"info","ts":"T","msg":"done","reconciler kind":"HelmRelease","name":"app","namespace":"apps"}`
	for _, c := range []struct {
		o    options
		in   string
		want string
	}{
		{options{}, line, "2026-01-01T00:00:00Z error Kustomization/app.apps - Reconciler error no route"},
		{options{kind: "kustomization", name: "APP", level: "error"}, line, "2026-01-01T00:00:00Z error Kustomization/app.apps - Reconciler error no route"},
		{options{kind: "HelmRelease"}, line, ""},
		{options{name: "other"}, line, ""},
		{options{level: "info"}, line, ""},
		{options{kind: "helmrelease"}, old, "T info HelmRelease/app.apps - done"},
		{options{}, `{"ts":"T","level":"info","msg":"starting"}`, ""},
		{options{allNamespaces: true}, `{"ts":"T","level":"info","msg":"starting"}`, "T info  - starting"},
		{options{allNamespaces: true}, "plain text", ""},
		{options{allNamespaces: true}, `{"broken`, ""},
	} {
		if got := c.o.format(c.in, "apps"); got != c.want {
			t.Errorf("%+v of %s: %q, want %q", c.o, c.in, got, c.want)
		}
	}
}
