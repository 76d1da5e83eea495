package notify

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	notificationv1 "github.com/gitops-toolkit/flux/api/notification/v1beta3"
	"github.com/gitops-toolkit/flux/internal/kernel"
	"github.com/gitops-toolkit/flux/internal/notify/event"
)

// inbox is a service that takes events.
type inbox struct {
	*httptest.Server
	events chan string
}

func newInbox(t *testing.T) *inbox {
	t.Helper()
	in := &inbox{events: make(chan string, 10_000)}
	in.Server = httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		in.events <- string(body)
	}))
	t.Cleanup(in.Close)
	return in
}

func (in *inbox) next(t *testing.T) *event.Event {
	t.Helper()
	select {
	case body := <-in.events:
		e, err := event.Decode([]byte(body))
		if err != nil {
			t.Fatal(err)
		}
		return e
	case <-time.After(30 * time.Second):
		t.Fatal("no event arrives")
		return nil
	}
}

func (l *lab) post(kind, name, severity, message string, metadata map[string]string) int {
	l.Helper()
	group := map[string]string{"Kustomization": "kustomize.toolkit.fluxcd.io"}[kind]
	if group == "" {
		group = "source.toolkit.fluxcd.io"
	}
	own, reason := map[string]string{}, "Test"
	for k, v := range metadata {
		if k == "reason" {
			reason = v
			continue
		}
		own[strings.ReplaceAll(k, "own/", group+"/")] = v
	}
	body, _ := json.Marshal(&event.Event{
		InvolvedObject: corev1.ObjectReference{APIVersion: group + "/v1", Kind: kind, Namespace: l.ns, Name: name, UID: "u"},
		Severity:       severity, Message: message, Reason: reason, Metadata: own, ReportingController: "test",
	})
	resp, err := http.Post(l.events.URL, "application/json", strings.NewReader(string(body)))
	if err != nil {
		l.Fatal(err)
	}
	resp.Body.Close()
	return resp.StatusCode
}

// told waits for a Kubernetes event on an Alert.
func (l *lab) told(name, reason, text string) corev1.Event {
	l.Helper()
	for l.ctx.Err() == nil {
		if e := l.find(name, reason, text); e != nil {
			return *e
		}
		time.Sleep(50 * time.Millisecond)
	}
	l.Fatalf("no event on %s says %s %q", name, reason, text)
	return corev1.Event{}
}

// find returns the event that told waits for, nil if it is not there yet.
func (l *lab) find(name, reason, text string) *corev1.Event {
	l.Helper()
	var list corev1.EventList
	if err := l.c.List(l.ctx, &list, client.InNamespace(l.ns)); err != nil {
		l.Fatal(err)
	}
	for i, e := range list.Items {
		if e.InvolvedObject.Name == name && e.Reason == reason && strings.Contains(e.Message, text) {
			return &list.Items[i]
		}
	}
	return nil
}

func TestEvents(t *testing.T) {
	t.Parallel()
	l := newLab(t, func(s *kernel.Settings) { s.NoCrossNamespaceRefs = true })
	all, labelled, muted := newInbox(t), newInbox(t), newInbox(t)
	for name, in := range map[string]*inbox{"all": all, "labelled": labelled, "muted": muted} {
		l.create(&notificationv1.Provider{}, name, fmt.Sprintf("spec: {type: generic, address: %s, suspend: %v}", in.URL, name == "muted"))
	}
	alert := func(name, spec string) { l.Helper(); l.create(&notificationv1.Alert{}, name, "spec: "+spec) }
	alert("all", `{providerRef: {name: all}, summary: hello, eventMetadata: {env: prod, revision: mine}, exclusionList: ["[", "noise"], eventSources: [{kind: GitRepository, name: "*"}]}`)
	alert("labelled", `{providerRef: {name: labelled}, eventSources: [{kind: GitRepository, name: "*", matchLabels: {team: x}}]}`)
	alert("muted", `{providerRef: {name: muted}, eventSources: [{kind: GitRepository, name: "*"}]}`)
	alert("foreign", `{providerRef: {name: all}, eventSources: [{kind: GitRepository, name: "*", namespace: elsewhere}]}`)
	l.repository("mine", map[string]string{"team": "x"})
	l.repository("theirs", map[string]string{"team": "y"})
	for l.post("GitRepository", "probe", "info", "probe "+time.Now().String(), nil) != http.StatusAccepted || len(all.events) == 0 {
		time.Sleep(50 * time.Millisecond)
	}
	for len(all.events) > 0 {
		<-all.events
	}
	if code := l.post("GitRepository", "mine", "info", "first", map[string]string{"own/revision": "r1", "other.io/x": "y", "event.toolkit.fluxcd.io/team": "x", "own/token": "t"}); code != http.StatusAccepted {
		t.Errorf("%d", code)
	}
	e := all.next(t)
	for e.Message != "first" { // a probe may still be under way
		e = all.next(t)
	}
	if want := (map[string]string{"env": "prod", "revision": "r1", "summary": "hello", "team": "x"}); fmt.Sprint(e.Metadata) != fmt.Sprint(want) {
		t.Errorf("metadata %v, want %v", e.Metadata, want)
	}
	if e := labelled.next(t); e.InvolvedObject.Name != "mine" {
		t.Errorf("labelled got %+v", e)
	}
	if code := l.post("GitRepository", "mine", "info", "first", map[string]string{"own/revision": "r1", "own/token": "t"}); code != http.StatusTooManyRequests {
		t.Errorf("a repetition is answered with %d", code)
	}
	l.post("GitRepository", "theirs", "info", "noise", nil)
	l.post("GitRepository", "theirs", "info", "second", nil)
	if e := all.next(t); e.Message != "second" {
		t.Errorf("an excluded message came: %s", e.Message)
	}
	l.post("GitRepository", "absent", "info", "third", nil)
	l.told("all", "InvalidConfig", "failed to compile exclusion regex: [")
	conflict := l.told("all", "MetadataAppendFailed", "metadata key conflicts detected")
	if !strings.Contains(conflict.Annotations["revision"], event.LayerAlert) {
		t.Errorf("annotations %v", conflict.Annotations)
	}
	l.told("labelled", "SourceFetchFailed", "error getting source object GitRepository/"+l.ns+"/absent")
	if len(labelled.events)+len(muted.events) != 0 {
		t.Errorf("%d labelled and %d muted events too many", len(labelled.events), len(muted.events))
	}
}

// A changed Secret counts with the next event.
func TestSecretsAreReadAgain(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	var header atomic.Value
	header.Store("")
	server := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { header.Store(r.Header.Get("X-Key")) }))
	t.Cleanup(server.Close)
	secret := &corev1.Secret{}
	l.create(secret, "login", `stringData: {address: "`+server.URL+`", headers: "X-Key: one"}`)
	l.create(&notificationv1.Provider{}, "p", "spec: {type: generic, secretRef: {name: login}}")
	l.create(&notificationv1.Alert{}, "a", `spec: {providerRef: {name: p}, eventSources: [{kind: GitRepository, name: "*"}]}`)
	until := func(want string) {
		t.Helper()
		for i := 0; header.Load() != want; i++ {
			if l.ctx.Err() != nil {
				t.Fatalf("X-Key stays %v", header.Load())
			}
			l.post("GitRepository", "x", "info", fmt.Sprint(want, i), nil)
			time.Sleep(50 * time.Millisecond)
		}
	}
	until("one")
	secret.StringData = map[string]string{"headers": "X-Key: two"}
	if err := l.c.Update(l.ctx, secret); err != nil {
		t.Fatal(err)
	}
	until("two")
}

// Ten thousand events at once are taken, delivered as far as the queue goes, and harm nobody else.
func TestFlood(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	hang := make(chan struct{})
	dead := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { <-hang }))
	t.Cleanup(dead.Close)
	t.Cleanup(func() { close(hang) })
	good := newInbox(t)
	for name, address := range map[string]string{"dead": dead.URL, "good": good.URL} {
		l.create(&notificationv1.Provider{}, name, "spec: {type: generic, timeout: 1s, address: "+address+"}")
		l.create(&notificationv1.Alert{}, name, `spec: {providerRef: {name: `+name+`}, eventSources: [{kind: Kustomization, name: "*"}]}`)
	}
	for l.post("Kustomization", "probe", "info", "probe "+time.Now().String(), nil) != http.StatusAccepted || len(good.events) == 0 {
		time.Sleep(50 * time.Millisecond)
	}
	const flood = 10_000
	var next atomic.Int64
	done := make(chan int, 8)
	for range 8 {
		go func() {
			taken := 0
			for {
				i := next.Add(1)
				if i > flood {
					done <- taken
					return
				}
				if l.post("Kustomization", fmt.Sprint("app", i%100), "info", fmt.Sprint("event ", i), nil) == http.StatusAccepted {
					taken++
				}
			}
		}()
	}
	taken := 0
	for range 8 {
		taken += <-done
	}
	if taken != flood {
		t.Errorf("%d of %d events were taken", taken, flood)
	}
	l.post("Kustomization", "last", "info", "the last", nil)
	for e := good.next(t); e.Message != "the last"; e = good.next(t) {
	}
	l.told("dead", "NotificationDispatchFailed", "the queue of the provider is full")
}
