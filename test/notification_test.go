package test

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/client-go/dynamic"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	"github.com/gitops-toolkit/flux/internal/testenv"
	"github.com/gitops-toolkit/flux/test/harness"
	"github.com/gitops-toolkit/flux/test/servers/git"
)

func init() {
	for kind, version := range map[string]string{"Alert": "v1beta3", "Provider": "v1beta3", "Receiver": "v1"} {
		apiVersions[kind] = "notification.toolkit.fluxcd.io/" + version
	}
}

// told is an event that arrived at a webhook.
type told struct {
	InvolvedObject struct{ Kind, Name string }
	Reason         string
	Message        string
	Severity       string
	Timestamp      time.Time
	Metadata       map[string]string
	at             time.Time
}

// listener is a service that events are sent to.
type listener struct {
	mu     sync.Mutex
	events []told
	news   chan struct{}
}

func (l *listener) ServeHTTP(_ http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	var e told
	if json.Unmarshal(body, &e) != nil {
		return
	}
	e.at = time.Now()
	l.mu.Lock()
	l.events = append(l.events, e)
	l.mu.Unlock()
	select {
	case l.news <- struct{}{}:
	default:
	}
}

// await waits for an event about an object whose message has the text.
func (l *listener) await(s *scenario, kind, name, text string) told {
	s.Helper()
	timeout := time.After(patience)
	for {
		l.mu.Lock()
		events := append([]told(nil), l.events...)
		l.mu.Unlock()
		for _, e := range events {
			if e.InvolvedObject.Kind == kind && e.InvolvedObject.Name == name && strings.Contains(e.Message, text) {
				return e
			}
		}
		select {
		case <-l.news:
		case <-timeout:
			s.Fatalf("no event about %s/%s says %q; there were %+v", kind, name, text, events)
		}
	}
}

// post is a scenario with notification-controller: its own controllers, which serve its own shard.
type post struct {
	*scenario
	shard        string
	notification *harness.Process
}

func beginPost(t *testing.T, more ...string) *post {
	t.Helper()
	s := begin(t)
	p := &post{scenario: s, shard: "post-" + s.ns}
	dir, remove, err := harness.TempDir()
	s.must(err, "make a directory")
	t.Cleanup(remove)
	stack, err := harness.New(s.ctx, os.Getenv(testenv.KubeconfigEnv), dir)
	s.must(err, "prepare the controllers")
	t.Cleanup(stack.Stop)
	t.Cleanup(s.dismantle)
	t.Cleanup(func() { _ = s.c.DeleteAllOf(context.Background(), s.object("Receiver", ""), client.InNamespace(s.ns)) })
	p.notification, err = stack.Add(s.ctx, "notification-controller")
	s.must(err, "start notification-controller")
	for _, name := range append([]string{"source-controller", "kustomize-controller"}, more...) {
		flags := []string{"--events-addr=" + p.notification.EventsURL, "--watch-label-selector=" + shardLabel + "=" + p.shard}
		if name == "image-reflector-controller" {
			flags = append(flags, "--storage-path="+dir+"/tags")
		}
		_, err := stack.Add(s.ctx, name, flags...)
		s.must(err, "start "+name)
	}
	return p
}

// add is apply for objects of this scenario's own shard.
func (p *post) add(text string) {
	p.Helper()
	text = strings.NewReplacer("$NS", p.ns, "$URL", world.git.HTTPURL(p.ns)).Replace(text)
	for doc := range strings.SplitSeq(text, "\n---\n") {
		o := &unstructured.Unstructured{}
		p.must(yaml.Unmarshal([]byte(doc), &o.Object), "parse the scenario's YAML")
		o.SetNamespace(p.ns)
		o.SetLabels(map[string]string{shardLabel: p.shard})
		p.must(p.c.Apply(p.ctx, client.ApplyConfigurationFromUnstructured(o), client.FieldOwner("scenario"), client.ForceOwnership), "apply "+o.GetKind())
	}
}

// What happens arrives at a webhook, and a webhook makes it happen: the interval is an hour.
func TestNotification(t *testing.T) {
	p := beginPost(t)
	ear := &listener{news: make(chan struct{}, 1)}
	server := httptest.NewServer(ear)
	t.Cleanup(server.Close)
	p.add(`
apiVersion: v1
kind: Secret
metadata: {name: hook}
stringData: {token: s3cret-t0ken, address: ` + server.URL + `}
---
apiVersion: notification.toolkit.fluxcd.io/v1beta3
kind: Provider
metadata: {name: ear}
spec: {type: generic, secretRef: {name: hook}}
---
apiVersion: notification.toolkit.fluxcd.io/v1beta3
kind: Alert
metadata: {name: all}
spec:
  providerRef: {name: ear}
  eventMetadata: {cluster: sandbox}
  eventSources: [{kind: GitRepository, name: "*"}, {kind: Kustomization, name: app}]
---
apiVersion: notification.toolkit.fluxcd.io/v1
kind: Receiver
metadata: {name: push}
spec: {type: github, events: [push], secretRef: {name: hook}, resources: [{kind: GitRepository, name: app}]}
`)
	first := p.commit(map[string]string{"deploy/a.yaml": configMap("a", "one")})
	p.add(`
apiVersion: source.toolkit.fluxcd.io/v1
kind: GitRepository
metadata: {name: app}
spec: {interval: 1h, url: $URL, ref: {branch: master}}
---
apiVersion: kustomize.toolkit.fluxcd.io/v1
kind: Kustomization
metadata: {name: app}
spec: {interval: 1h, path: deploy, prune: true, targetNamespace: $NS, sourceRef: {kind: GitRepository, name: app}}
`)
	p.ready("Kustomization", "app", first)
	fetched := ear.await(p.scenario, "GitRepository", "app", "stored artifact")
	applied := ear.await(p.scenario, "Kustomization", "app", "ConfigMap/"+p.ns+"/a created")
	t.Logf("from the event to the webhook: source %s, apply %s (event times are whole seconds)", fetched.at.Sub(fetched.Timestamp), applied.at.Sub(applied.Timestamp))
	if applied.Metadata["revision"] != first || applied.Metadata["cluster"] != "sandbox" || applied.Severity != "info" {
		t.Errorf("the event came as %+v", applied)
	}

	path, _, _ := unstructured.NestedString(p.ready("Receiver", "push", "/hook/").Object, "status", "webhookPath")
	if code := p.push(path, "wrong"); code != http.StatusBadRequest {
		t.Errorf("a call with a wrong signature is answered with %d", code)
	}
	p.pushedToLive(path)
	ear.await(p.scenario, "Kustomization", "app", "ConfigMap/"+p.ns+"/a configured")

	p.commit(map[string]string{"deploy/a.yaml": "kind: {"})
	p.push(path, "s3cret-t0ken")
	p.failing("Kustomization", "app", "BuildFailed")
	if e := ear.await(p.scenario, "Kustomization", "app", "a.yaml"); e.Severity != "error" || e.Reason != "BuildFailed" {
		t.Errorf("the failure came as %+v", e)
	}
}

// pushedToLive pushes with git to a server that has the webhook, and tells how long each stage took.
func (p *post) pushedToLive(path string) {
	p.Helper()
	p.must(p.repo.AddWebhook(p.notification.HooksURL+path, "s3cret-t0ken"), "enter the webhook")
	work, err := git.Clone(strings.Replace(world.git.HTTPURL(p.ns), "http://", "http://dev:dev-password@", 1), filepath.Join(p.TempDir(), "work"))
	p.must(err, "clone")
	commit, err := work.Commit(map[string]string{"deploy/a.yaml": configMap("a", "two")}, "Change the value")
	p.must(err, "commit")
	dyn, err := dynamic.NewForConfig(world.config)
	p.must(err, "make a client")
	list := harness.PushStages(p.ns, "app", "master@sha1:"+commit, "a", "key", "two")
	stages, err := harness.FollowStages(p.ctx, dyn, list...)
	p.must(err, "watch")
	began := time.Now()
	p.must(work.Push(), "push")
	p.Logf("git push, at an interval of 1h:\n  %6d ms the push has ended", time.Since(began).Milliseconds())
	ctx, cancel := context.WithTimeout(p.ctx, patience)
	defer cancel()
	times, err := stages.Since(ctx, began)
	p.must(err, "see the change")
	for i, stage := range list {
		p.Logf("  %6d ms %s", times[i].Milliseconds(), stage.What)
	}
}

// push calls a webhook as GitHub does.
func (p *post) push(path, token string) int {
	p.Helper()
	body := `{"ref":"refs/heads/master"}`
	mac := hmac.New(sha256.New, []byte(token))
	mac.Write([]byte(body))
	req, err := http.NewRequestWithContext(p.ctx, http.MethodPost, p.notification.HooksURL+path, strings.NewReader(body))
	p.must(err, "make a request")
	for k, v := range map[string]string{
		"Content-Type": "application/json", "X-GitHub-Event": "push", "X-Hub-Signature-256": "sha256=" + hex.EncodeToString(mac.Sum(nil)),
	} {
		req.Header.Set(k, v)
	}
	resp, err := http.DefaultClient.Do(req)
	p.must(err, "call the webhook")
	resp.Body.Close()
	return resp.StatusCode
}

// A Provider that is missing or refuses is told on the Alert, and nothing else stops.
func TestNotificationFailures(t *testing.T) {
	p := beginPost(t)
	refusing := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		http.Error(w, "who is "+r.Header.Get("Authorization"), http.StatusForbidden)
	}))
	t.Cleanup(refusing.Close)
	p.add(`
apiVersion: v1
kind: Secret
metadata: {name: login}
stringData: {token: s3cret-t0ken}
---
apiVersion: notification.toolkit.fluxcd.io/v1beta3
kind: Provider
metadata: {name: refuses, finalizers: [finalizers.fluxcd.io]}
spec: {type: slack, address: "` + refusing.URL + `", secretRef: {name: login}}
---
apiVersion: notification.toolkit.fluxcd.io/v1beta3
kind: Alert
metadata: {name: refused}
spec: {providerRef: {name: refuses}, eventSources: [{kind: GitRepository, name: app}]}
---
apiVersion: notification.toolkit.fluxcd.io/v1beta3
kind: Alert
metadata: {name: lost}
spec: {providerRef: {name: absent}, eventSources: [{kind: GitRepository, name: app}]}
---
apiVersion: notification.toolkit.fluxcd.io/v1
kind: Receiver
metadata: {name: tokenless}
spec: {type: generic, secretRef: {name: absent}, resources: [{kind: GitRepository, name: app}]}
---
apiVersion: notification.toolkit.fluxcd.io/v1
kind: Receiver
metadata: {name: broken}
spec: {type: generic, secretRef: {name: login}, resourceFilter: "res.(", resources: [{kind: GitRepository, name: app}]}
`)
	p.await("Provider", "refuses", "without finalizers", func(o *unstructured.Unstructured) bool { return o != nil && len(o.GetFinalizers()) == 0 })
	p.failing("Receiver", "tokenless", "TokenNotFound", `unable to read token from secret '`+p.ns+`/absent' error: secrets "absent" not found`)
	p.failing("Receiver", "broken", "InvalidCELExpression", "Reconciliation failed terminally due to configuration error: invalid resourceFilter expression")
	p.commit(map[string]string{"deploy/a.yaml": configMap("a", "one")})
	p.add(`
apiVersion: source.toolkit.fluxcd.io/v1
kind: GitRepository
metadata: {name: app}
spec: {interval: 1h, url: $URL, ref: {branch: master}}
`)
	p.event("Alert", "lost", "Warning", `failed to dispatch notification for GitRepository/`+p.ns+`/app: failed to read provider: Provider.notification.toolkit.fluxcd.io "absent" not found`)
	e := p.event("Alert", "refused", "Warning", "failed to send notification for GitRepository/"+p.ns+"/app: request failed with status code 403: who is Bearer *****")
	if e.Reason != "NotificationDispatchFailed" || e.Source.Component != "notification-controller" {
		t.Errorf("the event has reason %s and comes from %s", e.Reason, e.Source.Component)
	}
	if log := p.notification.Tail(10_000); strings.Contains(log, "s3cret-t0ken") {
		t.Error("the log shows a credential")
	}
	p.add("apiVersion: v1\nkind: Secret\nmetadata: {name: absent}\nstringData: {token: late}\n")
	p.ready("Receiver", "tokenless", "/hook/")
}
