package providers

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	notificationv1 "github.com/gitops-toolkit/flux/api/notification/v1beta3"
	"github.com/gitops-toolkit/flux/internal/notify/event"
)

// board is a Git host that keeps statuses in memory.
type board struct {
	kept   map[string]status
	writes int
	fails  error
}

func (b *board) current(_ context.Context, commit string, s status) (state, description string, found bool, err error) {
	old, found := b.kept[commit+s.ID]
	return old.State, old.Description, found, nil
}

func (b *board) write(_ context.Context, commit string, s status) error {
	b.writes++
	if b.fails != nil {
		return b.fails
	}
	b.kept[commit+s.ID] = s
	return nil
}

func newBoard(t *testing.T, s states, expr string) (*board, Sender) {
	t.Helper()
	b := &board{kept: map[string]status{}}
	p := &notificationv1.Provider{ObjectMeta: metav1.ObjectMeta{UID: "0123abcd-4567", Name: "p"}, Spec: notificationv1.ProviderSpec{Type: "github", CommitStatusExpr: expr}}
	sender, err := newCommitStatus(&Config{Provider: p}, b, s)
	if err != nil {
		t.Fatal(err)
	}
	return b, sender
}

func TestCommitStatus(t *testing.T) {
	t.Parallel()
	b, sender := newBoard(t, states{success: "success", failure: "failure"}, "")
	slot := hash + "kustomization/web/0123abcd"
	send := func(reason, severity string, second int) {
		t.Helper()
		n := sample()
		n.Event.Reason, n.Event.Severity = reason, severity
		n.Event.Timestamp = metav1.NewTime(time.Unix(int64(second), 0))
		if err := sender.Send(t.Context(), n); err != nil && b.fails == nil {
			t.Fatal(err)
		}
	}
	send("HealthCheckFailed", "error", 10)
	if got := b.kept[slot]; got.State != "failure" || got.Description != "health check failed" {
		t.Errorf("first: %+v in %v", got, b.kept)
	}
	send("HealthCheckFailed", "error", 11)
	if b.writes != 1 {
		t.Error("the same status is written again")
	}
	send("Progressing", "info", 12)
	if b.writes != 1 {
		t.Error("progress is written")
	}
	send("ReconciliationSucceeded", "info", 20)
	send("HealthCheckFailed", "error", 15)
	if got := b.kept[slot]; got.State != "success" {
		t.Errorf("an older event overwrites a newer: %+v", got)
	}
	b.fails = errors.New("500")
	send("HealthCheckFailed", "error", 30)
	b.fails = nil
	send("HealthCheckFailed", "error", 30)
	if got := b.kept[slot]; got.State != "failure" {
		t.Errorf("a retry after a failed write does nothing: %+v", got)
	}
}

func TestCommitStatusPending(t *testing.T) {
	t.Parallel()
	b, sender := newBoard(t, states{success: "success", failure: "failure", pending: "pending"}, "")
	n := sample()
	n.Event.Reason, n.Event.Severity = "Progressing", "info"
	if err := sender.Send(t.Context(), n); err != nil || b.kept[hash+"kustomization/web/0123abcd"].State != "pending" {
		t.Errorf("%v %v", b.kept, err)
	}
}

func TestCommitStatusExpr(t *testing.T) {
	t.Parallel()
	b, sender := newBoard(t, states{success: "s", failure: "f"}, `(event.involvedObject.kind + '/' + event.metadata.revision.split('@')[0] + '/' + provider.metadata.name + '/' + alert.metadata.name).lowerAscii()`)
	if err := sender.Send(t.Context(), sample()); err != nil || b.kept[hash+"kustomization/main/p/all"].State != "f" {
		t.Errorf("%v %v", b.kept, err)
	}
	for _, bad := range []string{"1", "event.", "unknown"} {
		p := &notificationv1.Provider{Spec: notificationv1.ProviderSpec{CommitStatusExpr: bad}}
		if _, err := newCommitStatus(&Config{Provider: p}, b, states{}); err == nil || !strings.HasPrefix(err.Error(), "spec.commitStatusExpr: ") {
			t.Errorf("%s: %v", bad, err)
		}
	}
	_, sender = newBoard(t, states{}, "event.metadata.missing")
	var e *Error
	if err := sender.Send(t.Context(), sample()); !errors.As(err, &e) || e.again {
		t.Errorf("a missing field: %v", err)
	}
}

func TestCommitOf(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		reason   string
		metadata map[string]string
		want     string
	}{
		{"a branch", map[string]string{"revision": "main@sha1:" + hash}, hash},
		{"a branch with slashes", map[string]string{"revision": "refs/heads/a/b@sha1:" + hash}, hash},
		{"a commit alone", map[string]string{"revision": "sha1:" + hash}, hash},
		{"the form of old", map[string]string{"revision": "main/" + hash}, hash},
		{"a plain hash", map[string]string{"commit": hash, "revision": "x"}, hash},
		{"the origin of an artifact", map[string]string{"originRevision": "main@sha1:" + hash, "revision": "latest@sha256:" + strings.Repeat("a", 64)}, hash},
		{"nothing", nil, "missing revision metadata"},
		{"an image", map[string]string{"revision": "latest@sha256:" + strings.Repeat("a", 64)}, "failed to extract commit hash from 'latest@sha256:" + strings.Repeat("a", 64) + "' revision"},
		{"a chart", map[string]string{"revision": "1.2.3"}, "failed to extract commit hash from '1.2.3' revision"},
		{"a path in the place of a hash", map[string]string{"commit": "../../" + hash + "/x"}, "failed to extract commit hash from '../../" + hash + "/x' revision"},
	} {
		got, err := commitOf(&event.Event{Metadata: tt.metadata})
		if err != nil {
			got = err.Error()
		}
		if got != tt.want {
			t.Errorf("%s: %s", tt.reason, got)
		}
	}
}

func TestGitAddress(t *testing.T) {
	t.Parallel()
	for address, want := range map[string]string{
		"https://github.com/o/r":               "https://github.com o/r",
		"https://github.com/o/r.git/":          "https://github.com o/r.git",
		"https://u:p@git.example.com:8443/o/r": "https://git.example.com:8443 o/r",
		"ssh://git@git.example.com:22/o/r.git": "https://git.example.com o/r",
		"git@github.com:o/r.git":               "https://github.com o/r",
		"git@gitlab.com:g/s/r":                 "https://gitlab.com g/s/r",
		"https://gitlab.com/12345":             "https://gitlab.com 12345",
		"file:///x/y":                          "", "https://github.com": "", "o/r": "", "": "",
	} {
		got := ""
		if r, err := gitAddress(&Config{Address: address}); err == nil {
			got = r.base() + " " + r.path
		}
		if got != want && got != strings.TrimSuffix(want, ".git") {
			t.Errorf("%s: %q, want %q", address, got, want)
		}
	}
}

func TestWords(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		"ReconciliationSucceeded": "reconciliation succeeded", "DependencyNotReady": "dependency not ready", "InvalidCELExpression": "invalid cel expression", "info": "info", "": "",
	} {
		if got := words(in); got != want {
			t.Errorf("%s: %q, want %q", in, got, want)
		}
	}
}
