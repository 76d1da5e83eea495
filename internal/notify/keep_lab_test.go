package notify

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-logr/logr"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/gitops-toolkit/flux/api/meta"
	notificationv1 "github.com/gitops-toolkit/flux/api/notification/v1beta3"
	sourcev1 "github.com/gitops-toolkit/flux/api/source/v1"
	"github.com/gitops-toolkit/flux/internal/notify/alert"
	"github.com/gitops-toolkit/flux/internal/notify/dispatch"
	"github.com/gitops-toolkit/flux/internal/notify/event"
	"github.com/gitops-toolkit/flux/internal/notify/providers"
)

// A new pod, whose disk is empty, delivers what the old one could not, tells nothing twice, and tells the end of what the
// old one told: by the condition Ready, and of what was deleted, where no event comes.
func TestReplacedPod(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	in, late := newInbox(t), newInbox(t)
	var up atomic.Bool
	door := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !up.Load() {
			w.WriteHeader(http.StatusServiceUnavailable)
			return
		}
		late.Config.Handler.ServeHTTP(w, r)
	}))
	t.Cleanup(door.Close)
	l.create(&notificationv1.Provider{}, "chat", "spec: {type: generic, address: "+in.URL+"}")
	l.create(&notificationv1.Provider{}, "late", "spec: {type: generic, address: "+door.URL+"}")
	l.create(&notificationv1.Alert{}, "failures", `spec: {providerRef: {name: chat}, transitions: {}, eventSources: [{kind: GitRepository, name: "*"}]}`)
	l.create(&notificationv1.Alert{}, "all", `spec: {providerRef: {name: late}, eventSources: [{kind: GitRepository, name: fleet}]}`)
	l.repository("fleet", nil)
	l.repository("gone", nil)
	l.repository("fails", nil)
	l.ready(t, in)
	heard := func(object, message, transition string) *event.Event {
		t.Helper()
		e := in.next(t)
		for e.InvolvedObject.Name == "probe" {
			e = in.next(t)
		}
		if e.InvolvedObject.Name != object || e.Message != message || e.Metadata[alert.KeyTransition] != transition {
			t.Errorf("heard %q of %s, %v; want %q of %s, %s", e.Message, e.InvolvedObject.Name, e.Metadata, message, object, transition)
		}
		return e
	}
	for _, name := range []string{"fleet", "gone"} {
		l.post("GitRepository", name, "error", "broken", map[string]string{"own/revision": "main@sha1:bad"})
		heard(name, "broken", alert.Fired)
	}
	l.stop()
	kept := &corev1.ConfigMap{}
	if err := l.c.Get(l.ctx, client.ObjectKey{Namespace: l.ns, Name: notificationv1.MemoryName}, kept); err != nil || len(kept.BinaryData) != 2 {
		t.Fatalf("kept %d values: %v", len(kept.BinaryData), err)
	}
	up.Store(true)
	l.start()
	if e := late.next(t); e.Message != "broken" {
		t.Errorf("after the start %q is delivered", e.Message)
	}
	for l.post("GitRepository", "fleet", "error", "still broken", map[string]string{"own/token": time.Now().String()}) != http.StatusAccepted {
		time.Sleep(10 * time.Millisecond) // the new process does not lead yet
	}
	l.verdict("fleet", metav1.ConditionTrue, "Succeeded", "stored artifact for revision 'main@sha1:good'")
	e := heard("fleet", "stored artifact for revision 'main@sha1:good'", alert.Resolved)
	if e.Metadata["revision"] != "main@sha1:good" || e.Severity != "info" || e.Reason != "Succeeded" {
		t.Errorf("resolved as %+v", e)
	}
	if err := l.c.Delete(l.ctx, &sourcev1.GitRepository{ObjectMeta: metav1.ObjectMeta{Namespace: l.ns, Name: "gone"}}); err != nil {
		t.Fatal(err)
	}
	heard("gone", "the object was deleted", alert.Resolved)
	l.post("GitRepository", "fails", "error", "not that either", nil)
	heard("fails", "not that either", alert.Fired)
}

// verdict writes the status of a repository as its controller would.
func (l *lab) verdict(name string, ready metav1.ConditionStatus, reason, message string) {
	l.Helper()
	r := &sourcev1.GitRepository{}
	if err := l.c.Get(l.ctx, client.ObjectKey{Namespace: l.ns, Name: name}, r); err != nil {
		l.Fatal(err)
	}
	old := r.DeepCopy()
	r.Status.ObservedGeneration = r.Generation
	r.Status.Artifact = &meta.Artifact{
		Revision: "main@sha1:good", Path: "x", URL: "http://x/x", Digest: "sha256:" + strings.Repeat("a", 64), LastUpdateTime: meta.Time{Time: metav1.Now()},
	}
	r.Status.Conditions = meta.Conditions{{
		Type: meta.ReadyCondition, Status: ready, Reason: reason, Message: message, LastTransitionTime: metav1.Now(), ObservedGeneration: r.Generation,
	}}
	if err := l.c.Status().Patch(l.ctx, r, client.MergeFrom(old)); err != nil {
		l.Fatal(err)
	}
}

// What people were told outlives the process, in the cluster, or on the disk where the cluster does not take it.
func TestMemory(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	for name, namespace := range map[string]string{"in the cluster": l.ns, "in a namespace that is not there": "absent"} {
		dir := t.TempDir()
		open := func() *memory {
			kept := &keeper{client: l.c, name: types.NamespacedName{Namespace: namespace, Name: "memory"}, dir: dir, log: logr.Discard()}
			if err := kept.load(t.Context()); err != nil {
				t.Fatal(err)
			}
			m := &memory{kept: kept, Transitions: &alert.Transitions{}, Mails: providers.NewMails()}
			if err := m.read(); err != nil {
				t.Fatal(err)
			}
			return m
		}
		a := &notificationv1.Alert{Spec: notificationv1.AlertSpec{Transitions: &notificationv1.Transitions{}}}
		a.UID = "u"
		e := &event.Event{InvolvedObject: corev1.ObjectReference{Kind: "X", Name: "x"}, Severity: "error"}
		m := open()
		if m.Transitions.Observe(a, e, time.Now()) == nil {
			t.Fatalf("%s: a first failure is not told", name)
		}
		if err := m.write(); err != nil {
			t.Fatal(err)
		}
		m = open()
		if m.Transitions.Observe(a, e, time.Now()) != nil {
			t.Errorf("%s: a failure is told again after a restart", name)
		}
		if err := m.write(); err != nil { // the second write of a process finds what it has written before
			t.Errorf("%s: %v", name, err)
		}
		done := *e
		done.Severity, done.Reason = "info", "ReconciliationSucceeded"
		if m.Transitions.Observe(a, &done, time.Now()) == nil {
			t.Errorf("%s: its end is not told", name)
		}
		m.Transitions.Observe(a, &event.Event{Severity: "error"}, time.Now())
		m.Transitions.Forget(func(types.UID) bool { return false })
		if m.Transitions.Observe(a, &event.Event{Severity: "error"}, time.Now()) == nil {
			t.Errorf("%s: the failures of an Alert that is gone are remembered", name)
		}
		if files, err := os.ReadDir(dir); err != nil || (len(files) > 0) != (namespace != l.ns) {
			t.Errorf("%s: %d files, %v", name, len(files), err)
		}
	}
}

// Somebody's edit of the ConfigMap does not stop its use, its deletion neither; but a process that ends leaves alone what
// another has written.
func TestKeeperBesideOthers(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	name := types.NamespacedName{Namespace: l.ns, Name: "memory"}
	k := &keeper{client: l.c, name: name, dir: t.TempDir(), log: logr.Discard()}
	if err := k.load(t.Context()); err != nil {
		t.Fatal(err)
	}
	for i, before := range []func() error{
		func() error { return nil },
		func() error { // an edit
			c := &corev1.ConfigMap{}
			if err := l.c.Get(l.ctx, name, c); err != nil {
				return err
			}
			c.Annotations = map[string]string{"by": "hand"}
			return l.c.Update(l.ctx, c)
		},
		func() error {
			return l.c.Delete(l.ctx, &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: name.Namespace, Name: name.Name}})
		},
	} {
		if err := before(); err != nil {
			t.Fatal(err)
		}
		if err := k.store(keyMemory, []byte(fmt.Sprint(i))); err != nil {
			t.Errorf("%d: %v", i, err)
		}
		if got := k.value(keyMemory); string(got) != fmt.Sprint(i) {
			t.Errorf("%d: %q is kept", i, got)
		}
	}
	other := &keeper{client: l.c, name: name, log: logr.Discard()}
	if err := other.load(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := other.store(keyMemory, []byte("the new leader's")); err != nil {
		t.Fatal(err)
	}
	k.close()
	if err := (spool{k}).Write([]dispatch.Item{{Event: &event.Event{Message: "m"}}}); err != nil {
		t.Errorf("events that the cluster does not take are lost: %v", err)
	}
	if items, err := (spool{k}).Read(); err != nil || len(items) != 1 || items[0].Event.Message != "m" {
		t.Errorf("%d items, %v", len(items), err)
	}
}
