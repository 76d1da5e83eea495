package notify

import (
	"fmt"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/yaml"

	notificationv1 "github.com/gitops-toolkit/flux/api/notification/v1beta3"
	"github.com/gitops-toolkit/flux/internal/notify/alert"
	"github.com/gitops-toolkit/flux/internal/notify/dispatch"
	"github.com/gitops-toolkit/flux/internal/notify/event"
	"github.com/gitops-toolkit/flux/internal/notify/providers"
)

// ready posts until an inbox hears, and empties it.
func (l *lab) ready(t *testing.T, in *inbox) {
	t.Helper()
	for l.ctx.Err() == nil && len(in.events) == 0 {
		l.post("GitRepository", "probe", "error", "probe "+time.Now().String(), nil)
		time.Sleep(50 * time.Millisecond)
	}
	time.Sleep(100 * time.Millisecond)
	for len(in.events) > 0 {
		<-in.events
	}
}

// An Alert with transitions hears once that an object fails and once that it works again.
func TestTransitions(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	in := newInbox(t)
	l.create(&notificationv1.Provider{}, "chat", "spec: {type: generic, address: "+in.URL+"}")
	l.create(&notificationv1.Alert{}, "alert", `spec: {providerRef: {name: chat}, eventSeverity: error, transitions: {}, exclusionList: ["works again"], eventSources: [{kind: GitRepository, name: "*"}]}`)
	l.ready(t, in)
	l.post("GitRepository", "fleet", "info", "changed", map[string]string{"reason": "NewArtifact"})
	l.post("GitRepository", "fleet", "error", "broken", nil)
	l.post("GitRepository", "fleet", "error", "broken in another way", nil)
	l.post("GitRepository", "fleet", "info", "still trying", map[string]string{"reason": "Progressing"})
	l.post("GitRepository", "fleet", "info", "works again", map[string]string{"reason": "NewArtifact"})
	l.post("GitRepository", "fleet", "info", "and changed", map[string]string{"reason": "NewArtifact", "own/token": "x"})
	l.post("GitRepository", "fleet", "error", "the last", nil) // events about one object keep their order
	for _, want := range []struct{ message, transition string }{{"broken", alert.Fired}, {"works again", alert.Resolved}, {"the last", alert.Fired}} {
		e := in.next(t)
		for e.InvolvedObject.Name == "probe" {
			e = in.next(t)
		}
		if e.Message != want.message || e.Metadata[alert.KeyTransition] != want.transition {
			t.Errorf("got %q %v, want %+v", e.Message, e.Metadata, want)
		}
	}
}

// A Kustomization that works again says so only in the event for commit statuses; chats hear of it all the same.
func TestTransitionsOfKustomizations(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	in := newInbox(t)
	l.create(&notificationv1.Provider{}, "chat", "spec: {type: slack, address: "+in.URL+"}")
	l.create(&notificationv1.Alert{}, "alert", `spec: {providerRef: {name: chat}, transitions: {}, eventSources: [{kind: Kustomization, name: app}, {kind: GitRepository, name: probe}]}`)
	l.ready(t, in)
	l.post("Kustomization", "app", "error", "health check failed", map[string]string{"reason": "HealthCheckFailed"})
	l.post("Kustomization", "app", "info", "Deployment/apps/web configured", map[string]string{"reason": "Progressing"})
	l.post("Kustomization", "app", "info", "Reconciliation finished", map[string]string{"reason": "ReconciliationSucceeded", "own/commit_status": "update"})
	for _, want := range []string{"health check failed", "Reconciliation finished"} {
		select {
		case body := <-in.events:
			if !strings.Contains(body, want) || strings.Contains(body, event.KeyCommitStatus) {
				t.Errorf("got %s, want %q", body, want)
			}
		case <-time.After(30 * time.Second):
			t.Fatalf("nobody hears %q", want)
		}
	}
}

// A failure that does not last for the threshold is not mentioned.
func TestTransitionsWithThreshold(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	in := newInbox(t)
	l.create(&notificationv1.Provider{}, "chat", "spec: {type: generic, address: "+in.URL+"}")
	l.create(&notificationv1.Alert{}, "alert", `spec: {providerRef: {name: chat}, transitions: {threshold: 1s}, eventSources: [{kind: GitRepository, name: "*"}]}`)
	l.ready(t, in)
	l.post("GitRepository", "short", "error", "broken", nil)
	l.post("GitRepository", "short", "info", "works", map[string]string{"reason": "NewArtifact"})
	l.post("GitRepository", "long", "error", "first", nil)
	l.post("GitRepository", "long", "error", "latest", nil)
	e := in.next(t)
	for e.InvolvedObject.Name == "probe" {
		e = in.next(t)
	}
	if e.InvolvedObject.Name != "long" || e.Message != "latest" {
		t.Errorf("got %s of %s", e.Message, e.InvolvedObject.Name)
	}
}

// An Alert with a digest gets one message for a revision.
func TestDigest(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	in := newInbox(t)
	l.create(&notificationv1.Provider{}, "chat", "spec: {type: generic, address: "+in.URL+"}")
	l.create(&notificationv1.Alert{}, "alert", `spec: {providerRef: {name: chat}, digest: {window: 2s}, summary: prod, eventSources: [{kind: GitRepository, name: "*"}]}`)
	l.ready(t, in)
	revision := map[string]string{"own/revision": "main@sha1:abc"}
	for i := range 60 {
		l.post("GitRepository", fmt.Sprintf("app-%d", i), "info", "step", revision)
		l.post("GitRepository", fmt.Sprintf("app-%d", i), "info", "applied", revision)
	}
	l.post("GitRepository", "broken", "error", "does not start", revision)
	e := in.next(t)
	for e.InvolvedObject.Name == "probe" || !strings.Contains(e.Message, "broken") {
		e = in.next(t)
	}
	lines := strings.Split(e.Message, "\n")
	if e.Severity != "error" || e.InvolvedObject.Kind != "Alert" || e.Metadata["revision"] != "main@sha1:abc" || e.Metadata["summary"] != "prod" {
		t.Errorf("got %+v", e)
	}
	if lines[0] != "61 objects, of which 1 fail" || !strings.HasPrefix(lines[1], "✗ GitRepository/"+l.ns+"/broken: does not start") || lines[51] != "and 11 more" {
		t.Errorf("got %q", lines)
	}
}

// A stop waits for no window: what a digest has gathered is sent.
func TestStopSendsDigests(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	in := newInbox(t)
	l.create(&notificationv1.Provider{}, "chat", "spec: {type: generic, address: "+in.URL+"}")
	l.create(&notificationv1.Alert{}, "digest", `spec: {providerRef: {name: chat}, digest: {window: 1h}, eventSources: [{kind: GitRepository, name: app}]}`)
	l.create(&notificationv1.Alert{}, "probe", `spec: {providerRef: {name: chat}, eventSources: [{kind: GitRepository, name: probe}]}`)
	l.ready(t, in)
	l.post("GitRepository", "app", "info", "applied", map[string]string{"own/revision": "main@sha1:abc"})
	l.stop()
	if e := in.next(t); e.Message != "applied" {
		t.Errorf("got %+v", e)
	}
}

// A digest is news when its window ends, however long that was.
func TestDigestIsNews(t *testing.T) {
	t.Parallel()
	d := &digests{open: map[string]*digest{}, wake: make(chan struct{}, 1)}
	a := &notificationv1.Alert{}
	if err := yaml.Unmarshal([]byte("spec: {digest: {window: 2h}}"), a); err != nil {
		t.Fatal(err)
	}
	d.add(a, dispatch.Item{Event: &event.Event{}, Received: time.Now().Add(-3 * time.Hour)})
	if out, _ := d.takeDue(time.Now()); len(out) != 1 || time.Since(out[0].Received) > time.Minute {
		t.Errorf("got %+v", out)
	}
}

// What people were told outlives the process.
func TestMemory(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "deep", "memory.json")
	open := func() *memory {
		m := &memory{path: path, Transitions: &alert.Transitions{}, Mails: providers.NewMails()}
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
		t.Fatal("a first failure is not told")
	}
	if err := m.write(); err != nil {
		t.Fatal(err)
	}
	m = open()
	if m.Transitions.Observe(a, e, time.Now()) != nil {
		t.Error("a failure is told again after a restart")
	}
	e.Severity, e.Reason = "info", "ReconciliationSucceeded"
	if m.Transitions.Observe(a, e, time.Now()) == nil {
		t.Error("its end is not told")
	}
	m.Transitions.Observe(a, &event.Event{Severity: "error"}, time.Now())
	m.Transitions.Forget(func(types.UID) bool { return false })
	if m.Transitions.Observe(a, &event.Event{Severity: "error"}, time.Now()) == nil {
		t.Error("the failures of an Alert that is gone are remembered")
	}
}

// One Receiver serves a whole organisation, and two that hear of one push ask once.
func TestMatchRepository(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	l.create(&corev1.Secret{}, "hook", "stringData: {token: sample-token}")
	l.source("main", "https://git.example/org/fleet", ", ref: {branch: main}")
	l.source("ssh", "ssh://git@git.example:2222/org/fleet.git", ", ref: {branch: main}")
	l.source("dev", "https://git.example/org/fleet", ", ref: {branch: dev}")
	l.source("other", "https://git.example/org/other", "")
	l.source("infra", "https://git.example/org/fleet", ", ref: {branch: main}, sparseCheckout: [infra]")
	spec := `{type: github, secretRef: {name: hook}, matchRepository: true, resources: [{kind: GitRepository, name: "*"}, {kind: OCIRepository, name: "*"}]}`
	first, second := l.receiver("org", "Succeeded", spec), l.receiver("again", "Succeeded", spec)
	l.known(first)
	l.known(second)
	push := func(path, before, after string) {
		t.Helper()
		body := `{"ref":"refs/heads/main","before":"` + before + `","after":"` + after + `","repository":{"clone_url":"https://git.example/org/fleet.git"},"commits":[{"modified":["apps/a.yaml"]}]}`
		if code := l.call("POST", path, body, map[string]string{"Content-Type": "application/json", "X-GitHub-Event": "push", "X-Hub-Signature-256": "sha256=" + hexHMAC("sample-token", body)}); code != http.StatusOK {
			t.Errorf("answered %d", code)
		}
	}
	asked := func() (out []string) {
		for _, name := range []string{"main", "ssh", "dev", "other", "infra"} {
			if l.requested(name) {
				out = append(out, name)
			}
		}
		return out
	}
	push(first, "zero", "one")
	if got := fmt.Sprint(asked()); got != "[main ssh]" {
		t.Errorf("a push asks %s", got)
	}
	push(second, "zero", "one")
	if got := asked(); got != nil {
		t.Errorf("the same push through another Receiver asks %v again", got)
	}
	push(second, "one", "two")
	if got := fmt.Sprint(asked()); got != "[main ssh]" {
		t.Errorf("the next push asks %s", got)
	}
	push(first, "two", "one")
	if got := fmt.Sprint(asked()); got != "[main ssh]" {
		t.Errorf("a push that leads back asks %s", got)
	}
	if r := l.receiver("blind", "ValidationFailed", `{type: nexus, secretRef: {name: hook}, matchRepository: true, resources: [{kind: GitRepository, name: "*"}]}`); r != "" {
		t.Error("a Receiver whose calls name no repository has a path")
	}
}
