package notify

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	notificationv1 "github.com/gitops-toolkit/flux/api/notification/v1"
	notificationv1beta3 "github.com/gitops-toolkit/flux/api/notification/v1beta3"
	"github.com/gitops-toolkit/flux/internal/notify/providers"
)

var examples = regexp.MustCompile("(?s)```yaml\n(.*?)```")

// page is a page of the documentation whose examples run in a lab.
type page struct {
	*lab
	mu       sync.Mutex
	requests map[string]int
	last     map[string]*unstructured.Unstructured // by kind
	named    map[string][]string                   // by kind
}

// Every example of the documentation is applied to an API server, strictly, and does what it is there for: Receivers
// are ready and take a signed call, Providers get an event. Services of the internet are a server of the test.
func TestExamples(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob("../../docs/notifications/*.md")
	if err != nil || len(files) == 0 {
		t.Fatalf("%d pages, %v", len(files), err)
	}
	for _, file := range files {
		t.Run(filepath.Base(file), func(t *testing.T) {
			t.Parallel()
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			p := &page{lab: newLab(t), requests: map[string]int{}, last: map[string]*unstructured.Unstructured{}, named: map[string][]string{}}
			service := httptest.NewServer(http.HandlerFunc(p.serve))
			t.Cleanup(service.Close)
			p.repository("fleet", nil)
			blocks := examples.FindAllStringSubmatch(string(text), -1)
			if len(blocks) == 0 {
				t.Fatal("no example")
			}
			for _, block := range blocks {
				for doc := range strings.SplitSeq(block[1], "\n---\n") {
					p.apply(doc, service.URL)
				}
			}
			p.calls()
			p.sends()
		})
	}
}

// serve stands for every service: it answers what Git hosts and Slack answer.
func (p *page) serve(w http.ResponseWriter, r *http.Request) {
	name, _, _ := strings.Cut(strings.TrimPrefix(r.URL.Path, "/"), "/")
	p.mu.Lock()
	p.requests[name]++
	p.mu.Unlock()
	answer := `{"ok": true}`
	if r.Method == http.MethodGet {
		answer = "[]"
	}
	fmt.Fprint(w, answer)
}

// elsewhere are the addresses of the pages, and what comes before the path at the test's server.
var elsewhere = map[string]string{
	"https://hooks.slack.com/": "/hooks/", "https://slack.com/": "/slack/", "https://github.com/": "/",
}

// apply creates an object, or changes the one that a part of a spec is about.
func (p *page) apply(doc, service string) {
	p.Helper()
	for from, to := range elsewhere {
		doc = strings.ReplaceAll(doc, from, service+to)
	}
	doc = strings.ReplaceAll(doc, "namespace: flux-system", "namespace: "+p.ns)
	obj := &unstructured.Unstructured{}
	if err := yaml.Unmarshal([]byte(doc), &obj.Object); err != nil {
		p.Fatal(err)
	}
	if obj.GetKind() == "" {
		p.change(doc)
		return
	}
	if err := p.c.Create(p.ctx, obj, client.FieldValidation("Strict")); err != nil {
		p.Errorf("%v\n%s", err, doc)
		return
	}
	p.last[obj.GetKind()] = obj
	p.named[obj.GetKind()] = append(p.named[obj.GetKind()], obj.GetName())
}

// change merges a part of a spec into the latest object that has such fields.
func (p *page) change(doc string) {
	p.Helper()
	for kind, into := range map[string]any{
		notificationv1beta3.ProviderKind: &notificationv1beta3.Provider{}, notificationv1beta3.AlertKind: &notificationv1beta3.Alert{}, notificationv1.ReceiverKind: &notificationv1.Receiver{},
	} {
		if yaml.UnmarshalStrict([]byte(doc), into) != nil || p.last[kind] == nil {
			continue
		}
		patch, err := yaml.YAMLToJSON([]byte(doc))
		if err == nil {
			err = p.c.Patch(p.ctx, p.last[kind], client.RawPatch(types.MergePatchType, patch), client.FieldValidation("Strict"))
		}
		if err != nil {
			p.Errorf("%v\n%s", err, doc)
		}
		return
	}
	p.Errorf("this is a part of no object of the page:\n%s", doc)
}

// calls calls each Receiver of the page with a push that is signed as its Secret says.
func (p *page) calls() {
	p.Helper()
	for _, name := range p.named[notificationv1.ReceiverKind] {
		r := p.settled(name, "Succeeded")
		p.known(r.Status.WebhookPath)
		secret := &corev1.Secret{}
		if err := p.c.Get(p.ctx, client.ObjectKey{Namespace: p.ns, Name: r.Spec.SecretRef.Name}, secret); err != nil {
			p.Fatal(err)
		}
		body := `{"ref":"refs/heads/main","after":"` + name + `","repository":{"clone_url":"https://example.com/x"}}`
		if code := p.call("POST", r.Status.WebhookPath, body, map[string]string{
			"Content-Type": "application/json", "X-GitHub-Event": "push", "X-Hub-Signature-256": "sha256=" + hexHMAC(string(secret.Data["token"]), body),
		}); code != http.StatusOK {
			p.Errorf("the Receiver %s answers %d", name, code)
		}
	}
}

// sends lets a commit fail, and counts who hears of it; a stop sends what waits for more.
func (p *page) sends() {
	p.Helper()
	if len(p.named[notificationv1beta3.ProviderKind]) == 0 {
		return
	}
	failing := map[string]string{"own/revision": "main@sha1:" + strings.Repeat("a", 40)}
	for p.post("Kustomization", "apps", "error", "broken", failing) != http.StatusAccepted {
		time.Sleep(10 * time.Millisecond)
	}
	smtp := false
	for _, name := range p.named[notificationv1beta3.ProviderKind] {
		provider := &notificationv1beta3.Provider{}
		if err := p.c.Get(p.ctx, client.ObjectKey{Namespace: p.ns, Name: name}, provider); err != nil {
			p.Fatal(err)
		}
		smtp = smtp || provider.Spec.Type == "smtp"
		p.opens(provider)
	}
	p.stop()
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.requests) == 0 && !smtp {
		p.Error("nobody hears of a failure")
	}
}

// opens makes the sender of a Provider, without a connection.
func (p *page) opens(provider *notificationv1beta3.Provider) {
	p.Helper()
	c, err := providers.Read(provider, func(name string) (map[string][]byte, error) {
		secret := &corev1.Secret{}
		err := p.c.Get(p.ctx, client.ObjectKey{Namespace: p.ns, Name: name}, secret)
		return secret.Data, err
	})
	if err == nil {
		_, err = c.Open()
	}
	if err != nil {
		p.Errorf("the Provider %s: %v", provider.Name, err)
	}
}
