package notify

import (
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	"github.com/gitops-toolkit/flux/api/meta"
	notificationv1 "github.com/gitops-toolkit/flux/api/notification/v1beta3"
	sourcev1 "github.com/gitops-toolkit/flux/api/source/v1"
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

func withDigest(t *testing.T) *notificationv1.Alert {
	t.Helper()
	a := &notificationv1.Alert{}
	if err := yaml.Unmarshal([]byte("spec: {digest: {window: 2h}}"), a); err != nil {
		t.Fatal(err)
	}
	return a
}

// Digests are for messages: a mail gathers by itself, and has to know of which objects it tells.
func TestGathers(t *testing.T) {
	t.Parallel()
	with, without := withDigest(t), &notificationv1.Alert{}
	update := &event.Event{Metadata: map[string]string{"/" + event.KeyCommitStatus: event.CommitStatusUpdate}}
	for _, tt := range []struct {
		alert    *notificationv1.Alert
		provider string
		event    *event.Event
		want     bool
	}{
		{with, "slack", &event.Event{}, true}, {with, "generic", &event.Event{}, true}, {without, "slack", &event.Event{}, false},
		{with, "smtp", &event.Event{}, false}, {with, "github", &event.Event{}, false}, {with, "generic", update, false},
	} {
		kind, err := providers.Find(tt.provider)
		if err != nil {
			t.Fatal(err)
		}
		if got := gathers(tt.alert, kind, tt.event); got != tt.want {
			t.Errorf("%s: %v", tt.provider, got)
		}
	}
}

// Revisions without number do not make memory without bound: the oldest digests go early, and nothing is lost.
func TestDigestsAreBounded(t *testing.T) {
	t.Parallel()
	early := 0
	d := newDigests(make(chan struct{}, 1), func(digest) { early++ })
	a, now, sent := withDigest(t), time.Now(), 0
	add := func(i int, revision string) {
		d.add(a, dispatch.Item{Received: now.Add(time.Duration(i) * time.Millisecond), Event: &event.Event{
			InvolvedObject: corev1.ObjectReference{Name: fmt.Sprint(i)}, Metadata: map[string]string{event.KeyRevision: revision},
		}})
	}
	for i := range 3 * maxDigests {
		add(i, fmt.Sprint(i))
		if i%100 == 0 {
			out, _ := d.takeDue(now.Add(time.Duration(i) * time.Millisecond))
			sent += len(out)
		}
	}
	out, _ := d.takeDue(now.Add(3 * maxDigests * time.Millisecond))
	if sent += len(out); sent != 2*maxDigests || early != sent || len(d.open) != maxDigests {
		t.Errorf("%d sent, %d of them early, %d open", sent, early, len(d.open))
	}
	for i := range maxHeld {
		add(3*maxDigests+i, fmt.Sprint("many", i%50))
	}
	if out, _ = d.takeDue(now.Add(time.Hour)); len(out) == 0 || d.held > maxHeld {
		t.Errorf("%d sent, %d events held", len(out), d.held)
	}
	d.takeDue(now.Add(24 * time.Hour))
	if d.held != 0 || len(d.open) != 0 {
		t.Errorf("%d events and %d digests are left", d.held, len(d.open))
	}
}

// A digest is news when its window ends, however long that was.
func TestDigestIsNews(t *testing.T) {
	t.Parallel()
	d := newDigests(make(chan struct{}, 1), func(digest) {})
	a := withDigest(t)
	d.add(a, dispatch.Item{Event: &event.Event{}, Received: time.Now().Add(-3 * time.Hour)})
	if out, _ := d.takeDue(time.Now()); len(out) != 1 || time.Since(out[0].Received) > time.Minute {
		t.Errorf("got %+v", out)
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
	l.source("tags", "https://git.example/org/fleet", ", ref: {semver: '>=1'}")
	for name, event := range map[string]string{"a ping": "ping", "a star": "star", "an issue": "issues"} {
		body := `{"action":"created","zen":"Keep it logically awesome.","repository":{"clone_url":"https://git.example/org/fleet.git"}}`
		if code := l.call("POST", first, body, map[string]string{"Content-Type": "application/json", "X-GitHub-Event": event, "X-Hub-Signature-256": "sha256=" + hexHMAC("sample-token", body)}); code != http.StatusOK {
			t.Errorf("%s is answered %d", name, code)
		}
		if got := asked(); got != nil || l.requested("tags") {
			t.Errorf("%s asks %v", name, got)
		}
	}
	l.pushTags(first)
	if r := l.receiver("blind", "ValidationFailed", `{type: nexus, secretRef: {name: hook}, matchRepository: true, resources: [{kind: GitRepository, name: "*"}]}`); r != "" {
		t.Error("a Receiver whose calls name no repository has a path")
	}
}

// pushTags pushes several tags at once, for which GitHub makes a call each: one request for the source that follows all.
func (l *lab) pushTags(path string) {
	l.Helper()
	events, err := l.c.Watch(l.ctx, &sourcev1.GitRepositoryList{}, client.InNamespace(l.ns), client.MatchingFields{"metadata.name": "tags"})
	if err != nil {
		l.Fatal(err)
	}
	defer events.Stop()
	var calls sync.WaitGroup
	for _, tag := range []string{"v1.0.0", "v1.1.0", "v2.0.0"} {
		calls.Go(func() {
			body := `{"ref":"refs/tags/` + tag + `","before":"0","after":"` + tag + `","repository":{"clone_url":"https://git.example/org/fleet.git"}}`
			if code := l.call("POST", path, body, map[string]string{"Content-Type": "application/json", "X-GitHub-Event": "push", "X-Hub-Signature-256": "sha256=" + hexHMAC("sample-token", body)}); code != http.StatusOK {
				l.Errorf("answered %d", code)
			}
		})
	}
	calls.Wait()
	marker := &sourcev1.GitRepository{}
	if err := l.c.Get(l.ctx, client.ObjectKey{Namespace: l.ns, Name: "tags"}, marker); err != nil {
		l.Fatal(err)
	}
	old := marker.DeepCopy()
	marker.Labels = map[string]string{"end": "here"}
	if err := l.c.Patch(l.ctx, marker, client.MergeFrom(old)); err != nil {
		l.Fatal(err)
	}
	requests := map[string]bool{}
	for e := range events.ResultChan() {
		r, ok := e.Object.(*sourcev1.GitRepository)
		if !ok {
			l.Fatalf("the watch says %v", e.Object)
		}
		if at := r.Annotations[meta.ReconcileRequestAnnotation]; at != "" {
			requests[at] = true
		}
		if r.Labels["end"] != "" {
			break
		}
	}
	if len(requests) != 1 {
		l.Errorf("three tags of one push are %d requests", len(requests))
	}
}
