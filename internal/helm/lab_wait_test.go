package helm_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apimeta "k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	helmv2 "github.com/gitops-toolkit/flux/api/helm/v2"
	"github.com/gitops-toolkit/flux/api/meta"
)

// request asks for a pass by annotation, and waits for the answer.
func (l *lab) request(name string, also ...string) *helmv2.HelmRelease {
	l.t.Helper()
	at := time.Now().Format(time.RFC3339Nano)
	l.update(name, func(hr *helmv2.HelmRelease) {
		metav1.SetMetaDataAnnotation(&hr.ObjectMeta, meta.ReconcileRequestAnnotation, at)
		for _, a := range also {
			metav1.SetMetaDataAnnotation(&hr.ObjectMeta, a, at)
		}
	})
	return l.until(name, "request handled", func(hr *helmv2.HelmRelease) bool { return hr.Status.LastHandledReconcileAt == at })
}

// until waits until a HelmRelease is as wanted.
func (l *lab) until(name, what string, wanted func(*helmv2.HelmRelease) bool) *helmv2.HelmRelease {
	l.t.Helper()
	ctx, cancel := context.WithTimeout(l.t.Context(), patience)
	defer cancel()
	last := &helmv2.HelmRelease{}
	for ctx.Err() == nil {
		w, err := l.client.Watch(ctx, &helmv2.HelmReleaseList{}, client.InNamespace(l.namespace), client.MatchingFields{"metadata.name": name})
		if err != nil {
			continue
		}
		for e := range w.ResultChan() {
			hr, ok := e.Object.(*helmv2.HelmRelease)
			if !ok {
				break
			}
			if last = hr; wanted(hr) {
				w.Stop()
				return hr
			}
		}
		w.Stop()
	}
	text, _ := json.MarshalIndent(last.Status, "", " ")
	l.t.Fatalf("waited %s for %s to be %s; its status is\n%s", patience, name, what, text)
	return nil
}

// ready waits until a HelmRelease is Ready for its generation with a revision of the release.
func (l *lab) ready(name string, version int) *helmv2.HelmRelease {
	l.t.Helper()
	return l.until(name, fmt.Sprintf("Ready with v%d", version), func(hr *helmv2.HelmRelease) bool {
		latest := hr.Status.History.Latest()
		return latest != nil && latest.Version == version && hr.Status.ObservedGeneration == hr.Generation &&
			apimeta.IsStatusConditionTrue(hr.Status.Conditions, meta.ReadyCondition)
	})
}

// failed waits until Ready is False for a reason, and returns its message.
func (l *lab) failed(name, reason string) (*helmv2.HelmRelease, string) {
	l.t.Helper()
	hr := l.until(name, "Ready=False "+reason, func(hr *helmv2.HelmRelease) bool {
		c := condition(hr, meta.ReadyCondition)
		return c != nil && c.Status == metav1.ConditionFalse && c.Reason == reason && c.ObservedGeneration == hr.Generation
	})
	return hr, condition(hr, meta.ReadyCondition).Message
}

// stalled waits until no repetition helps, and returns the message of Stalled.
func (l *lab) stalled(name, reason string) (*helmv2.HelmRelease, string) {
	l.t.Helper()
	hr := l.until(name, "Stalled "+reason, func(hr *helmv2.HelmRelease) bool {
		c := condition(hr, meta.StalledCondition)
		return c != nil && c.Status == metav1.ConditionTrue && c.Reason == reason && c.ObservedGeneration == hr.Generation
	})
	return hr, condition(hr, meta.StalledCondition).Message
}

func condition(hr *helmv2.HelmRelease, kind string) *metav1.Condition {
	return apimeta.FindStatusCondition(hr.Status.Conditions, kind)
}

// configMap returns the data of a ConfigMap, nil when it is not there.
func (l *lab) configMap(name string) map[string]string {
	l.t.Helper()
	cm := &corev1.ConfigMap{}
	err := l.client.Get(l.t.Context(), types.NamespacedName{Namespace: l.namespace, Name: name}, cm)
	if client.IgnoreNotFound(err) != nil {
		l.t.Fatal(err)
	}
	if err != nil {
		return nil
	}
	return cm.Data
}

// gone waits until a HelmRelease is gone.
func (l *lab) gone(name string) {
	l.t.Helper()
	deadline := time.Now().Add(patience)
	for time.Now().Before(deadline) {
		err := l.client.Get(l.t.Context(), types.NamespacedName{Namespace: l.namespace, Name: name}, &helmv2.HelmRelease{})
		if client.IgnoreNotFound(err) == nil && err != nil {
			return
		}
		time.Sleep(50 * time.Millisecond)
	}
	l.t.Fatalf("%s is still there: %+v", name, l.get(name).Status)
}

func (l *lab) delete(name string) {
	l.t.Helper()
	if err := l.client.Delete(l.t.Context(), l.get(name)); err != nil {
		l.t.Fatal(err)
	}
}

// storedRevisions lists the revisions in Helm's storage by version, with their status.
func (l *lab) storedRevisions(release string) map[string]string {
	l.t.Helper()
	return l.revisionsIn(l.namespace, release)
}

func (l *lab) revisionsIn(namespace, release string) map[string]string {
	l.t.Helper()
	list := &corev1.SecretList{}
	if err := l.client.List(l.t.Context(), list, client.InNamespace(namespace), client.MatchingLabels{"owner": "helm", "name": release}); err != nil {
		l.t.Fatal(err)
	}
	out := map[string]string{}
	for _, s := range list.Items {
		out[s.Labels["version"]] = s.Labels["status"]
	}
	return out
}

func values(t testing.TB, v string) *meta.JSON {
	t.Helper()
	out := &meta.JSON{}
	if err := json.Unmarshal([]byte(v), out); err != nil {
		t.Fatal(err)
	}
	return out
}

// collector takes the events that a controller posts.
type collector struct {
	server *httptest.Server
	mu     sync.Mutex
	events []event
}

type event struct {
	InvolvedObject corev1.ObjectReference `json:"involvedObject"`
	Severity       string                 `json:"severity"`
	Reason         string                 `json:"reason"`
	Message        string                 `json:"message"`
	Metadata       map[string]string      `json:"metadata"`
}

func newCollector(t *testing.T) *collector {
	c := &collector{}
	c.server = httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		var e event
		if json.NewDecoder(r.Body).Decode(&e) == nil {
			c.mu.Lock()
			c.events = append(c.events, e)
			c.mu.Unlock()
		}
	}))
	t.Cleanup(c.server.Close)
	return c
}

// event waits for an event of an object with a reason.
func (l *lab) event(name, reason string) event {
	l.t.Helper()
	deadline := time.Now().Add(patience)
	for time.Now().Before(deadline) {
		l.events.mu.Lock()
		for _, e := range l.events.events {
			if e.InvolvedObject.Name == name && e.Reason == reason {
				l.events.mu.Unlock()
				return e
			}
		}
		l.events.mu.Unlock()
		time.Sleep(20 * time.Millisecond)
	}
	l.t.Fatalf("no event %s of %s", reason, name)
	return event{}
}
