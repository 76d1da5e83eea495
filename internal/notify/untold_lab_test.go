package notify

import (
	"testing"

	"sigs.k8s.io/controller-runtime/pkg/client"

	notificationv1 "github.com/gitops-toolkit/flux/api/notification/v1beta3"
	"github.com/gitops-toolkit/flux/internal/notify/alert"
)

// A failure that could not be sent, because the Provider comes after the Alert or the Alert is suspended when the threshold
// is over, is told when that has changed, and its end after it.
func TestFailureIsToldLater(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	in := newInbox(t)
	l.create(&notificationv1.Provider{}, "probe", "spec: {type: generic, address: "+in.URL+"}")
	l.create(&notificationv1.Alert{}, "probe", `spec: {providerRef: {name: probe}, eventSources: [{kind: GitRepository, name: probe}]}`)
	l.create(&notificationv1.Alert{}, "early", `spec: {providerRef: {name: late}, transitions: {}, eventSources: [{kind: GitRepository, name: fleet}]}`)
	paused := &notificationv1.Alert{}
	l.create(paused, "paused", `spec: {providerRef: {name: probe}, transitions: {threshold: 2s}, eventSources: [{kind: GitRepository, name: slow}]}`)
	l.ready(t, in)
	l.post("GitRepository", "slow", "error", "slow breaks", nil)
	l.post("GitRepository", "fleet", "error", "fleet breaks", nil)
	l.pause(paused, true)
	l.create(&notificationv1.Provider{}, "late", "spec: {type: generic, address: "+in.URL+"}")
	fired := func(message string) {
		t.Helper()
		e := in.next(t)
		for e.InvolvedObject.Name == "probe" {
			e = in.next(t)
		}
		if e.Message != message || e.Metadata[alert.KeyTransition] != alert.Fired {
			t.Errorf("told %q as %v, want %q", e.Message, e.Metadata, message)
		}
	}
	fired("fleet breaks")
	l.pause(paused, false)
	fired("slow breaks")
	l.post("GitRepository", "fleet", "info", "works", map[string]string{"reason": "NewArtifact"})
	if e := in.next(t); e.Message != "works" || e.Metadata[alert.KeyTransition] != alert.Resolved {
		t.Errorf("told %q as %v", e.Message, e.Metadata)
	}
}

func (l *lab) pause(a *notificationv1.Alert, yes bool) {
	l.Helper()
	old := a.DeepCopy()
	a.Spec.Suspend = yes
	if err := l.c.Patch(l.ctx, a, client.MergeFrom(old)); err != nil {
		l.Fatal(err)
	}
}
