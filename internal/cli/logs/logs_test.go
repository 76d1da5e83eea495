package logs

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"k8s.io/client-go/rest"

	"github.com/gitops-toolkit/flux/internal/cli/cluster"
	"github.com/gitops-toolkit/flux/internal/cli/session"
)

// TestOneControllerWithoutLog: the controller whose image cannot be pulled does not hide what the others say.
func TestOneControllerWithoutLog(t *testing.T) {
	t.Parallel()
	const item = `{"metadata":{"name":%[1]q,"namespace":"flux-system"},"spec":{"selector":{"matchLabels":{"app":%[1]q}},"containers":[{"name":"manager"}]}}`
	list := func(names ...string) string {
		var items []string
		for _, name := range names {
			items = append(items, fmt.Sprintf(item, name))
		}
		return `{"metadata":{},"items":[` + strings.Join(items, ",") + `]}`
	}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		switch {
		case strings.HasSuffix(r.URL.Path, "/deployments"):
			fmt.Fprint(w, list("broken", "healthy"))
		case strings.HasSuffix(r.URL.Path, "/pods"):
			fmt.Fprint(w, list(strings.TrimPrefix(r.URL.Query().Get("labelSelector"), "app=")))
		case strings.HasSuffix(r.URL.Path, "/broken/log"):
			w.WriteHeader(http.StatusBadRequest)
			fmt.Fprint(w, `{"kind":"Status","apiVersion":"v1","status":"Failure","code":400,"reason":"BadRequest","message":"container \"manager\" is waiting to start: image can't be pulled"}`)
		default:
			fmt.Fprintln(w, `{"ts":"T","level":"info","msg":"all is well"}`)
		}
	}))
	t.Cleanup(server.Close)
	c, err := cluster.New(&rest.Config{Host: server.URL})
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	o := &options{allNamespaces: true, fluxNamespace: "flux-system", tail: -1}
	err = o.run(t.Context(), session.New(strings.NewReader(""), &out, io.Discard), c)
	if err == nil || !strings.Contains(err.Error(), "read the logs of pod broken: ") || !strings.Contains(err.Error(), "image can't be pulled") {
		t.Errorf("error %v", err)
	}
	if got := out.String(); got != "T info  - all is well\n" {
		t.Errorf("printed %q", got)
	}
}

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
