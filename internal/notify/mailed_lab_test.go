package notify

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	notificationv1 "github.com/gitops-toolkit/flux/api/notification/v1beta3"
	"github.com/gitops-toolkit/flux/internal/notify/alert"
	"github.com/gitops-toolkit/flux/internal/notify/providers"
)

// remembered is the memory of an earlier process whose mails told of failures, each by a Provider, for an Alert.
func (l *lab) remembered(told ...[3]string) {
	l.Helper()
	broken := map[string]any{}
	for _, one := range told {
		key := fmt.Sprintf("%s/%s/GitRepository/%s/%s", one[0], one[1], l.ns, one[2])
		broken[key] = map[string]any{
			"revision": "r", "reason": "Failed", "at": time.Now().Add(-time.Hour), "alert": map[string]string{"Namespace": l.ns, "Name": "mails"},
			"event": map[string]any{"severity": "error", "involvedObject": map[string]string{
				"apiVersion": "source.toolkit.fluxcd.io/v1", "kind": "GitRepository", "namespace": l.ns, "name": one[2],
			}},
		}
	}
	data, err := json.Marshal(map[string]any{"broken": broken})
	if err != nil {
		l.Fatal(err)
	}
	m := &memory{Transitions: &alert.Transitions{}, Mails: providers.NewMails()}
	if err := m.Mails.UnmarshalJSON(data); err != nil {
		l.Fatal(err)
	}
	packed, err := m.encode(maxMemory)
	if err != nil {
		l.Fatal(err)
	}
	kept := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: l.ns, Name: notificationv1.MemoryName}}
	_ = l.c.Delete(l.ctx, kept)
	kept.BinaryData = map[string][]byte{keyMemory: packed}
	if err := l.c.Create(l.ctx, kept); err != nil {
		l.Fatal(err)
	}
}

// The end of a failure that a mail told of is told once, and where the mail went; neither a Provider that the Alert was
// pointed at since hears of it, nor one that was made anew, nor is it looked for as long as the process lives.
func TestEndOfMailedFailures(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	l.stop()
	in := newInbox(t)
	p, a := &notificationv1.Provider{}, &notificationv1.Alert{}
	l.create(p, "post", "spec: {type: generic, address: "+in.URL+"}")
	l.create(a, "mails", `spec: {providerRef: {name: post}, eventSources: [{kind: GitRepository, name: "*"}]}`)
	for _, name := range []string{"moved", "renewed", "stays"} {
		l.repository(name, nil)
		l.verdict(name, metav1.ConditionTrue, "Succeeded", "works again")
	}
	l.remembered([3]string{"before", string(a.UID), "moved"}, [3]string{string(p.UID), "before", "renewed"}, [3]string{string(p.UID), string(a.UID), "stays"})
	l.start()
	e := in.next(t)
	if e.InvolvedObject.Name != "stays" || e.Metadata[alert.KeyTransition] != alert.Resolved || e.Message != "works again" {
		t.Errorf("resolved as %+v", e)
	}
	for range 3 { // each look finds all that still count as failing
		l.post("GitRepository", "probe", "error", "probe "+time.Now().String(), nil)
		if e := in.next(t); e.InvolvedObject.Name != "probe" {
			t.Errorf("%s is told too: %s", e.InvolvedObject.Name, e.Message)
		}
	}
	for l.ctx.Err() == nil {
		left := l.kept(t)
		if !strings.Contains(left, "moved") && !strings.Contains(left, "renewed") && strings.Contains(left, "stays") {
			return // a Provider that sends mails forgets it when its mail is sent
		}
		time.Sleep(100 * time.Millisecond)
	}
	t.Errorf("left: %s", l.kept(t))
}

// kept is what the memory in the cluster says of mails.
func (l *lab) kept(t *testing.T) string {
	t.Helper()
	c := &corev1.ConfigMap{}
	if err := l.c.Get(l.ctx, client.ObjectKey{Namespace: l.ns, Name: notificationv1.MemoryName}, c); err != nil {
		return err.Error()
	}
	m := &memory{Transitions: &alert.Transitions{}, Mails: providers.NewMails()}
	if err := m.decode(c.BinaryData[keyMemory]); err != nil {
		t.Fatal(err)
	}
	text, err := json.Marshal(m.Mails.Snapshot(mostRemembered))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}
