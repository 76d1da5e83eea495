package notify

import (
	"net/http"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"sigs.k8s.io/controller-runtime/pkg/client"

	notificationv1 "github.com/gitops-toolkit/flux/api/notification/v1"
	"github.com/gitops-toolkit/flux/internal/kernel"
	"github.com/gitops-toolkit/flux/internal/notify/inbound"
)

const ref = `{"ref":"refs/heads/main"}`

func TestWebhookPath(t *testing.T) {
	t.Parallel()
	for name, want := range map[string]string{ // the recorded ones
		"generic":  "/hook/045d686843a65eaf42a18b7f881ef3c91f282cf335e21cb29efe9228bd247188",
		"github":   "/hook/ab6b7a172ae89b5a6a5e3158c41ca8463affa1c0543b3529e007b4525b0bab80",
		"filtered": "/hook/e3f0ad8f8eea223d05d6adae1bcd8f76358318056f010bbc6dd752729fff8c93",
	} {
		if got := webhookPath([]byte("sample-token"), "flux-system", name); got != want {
			t.Errorf("%s: %s, want %s", name, got, want)
		}
	}
}

// The server answers as the recorded one did, and asks exactly the resources that are meant.
func TestHooks(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	l.create(&corev1.Secret{}, "hook", "stringData: {token: sample-token}")
	for name, labels := range map[string]map[string]string{"fleet": nil, "a": {"team": "x"}, "b": {"team": "x"}, "c": {"team": "y"}} {
		l.repository(name, labels)
	}
	generic := l.receiver("generic", "Succeeded", `{type: generic, secretRef: {name: hook}, resources: [{kind: GitRepository, name: fleet}]}`)
	github := l.receiver("github", "Succeeded", `{type: github, events: [ping, push], secretRef: {name: hook}, resources: [{kind: GitRepository, name: fleet}]}`)
	filtered := l.receiver("filtered", "Succeeded", `{type: generic-hmac, secretRef: {name: hook}, resourceFilter: 'has(req.ref) && res.metadata.name != "b"', resources: [{kind: GitRepository, name: "*", matchLabels: {team: x}}, {kind: GitRepository, name: fleet, filter: 'req.ref == "refs/heads/dev"'}]}`)
	for _, path := range []string{generic, github, filtered} {
		l.known(path)
	}
	signed := map[string]string{"Content-Type": "application/json", "X-GitHub-Event": "push", "X-Hub-Signature-256": "sha256=" + hexHMAC("sample-token", ref)}
	with := func(k, v string) map[string]string {
		out := map[string]string{k: v}
		for key, value := range signed {
			if key != k {
				out[key] = value
			}
		}
		return out
	}
	hmacSigned := map[string]string{"Content-Type": "application/json", "X-Signature": "sha256=" + hexHMAC("sample-token", ref)}
	for _, tt := range []struct {
		reason, method, path, body string
		header                     map[string]string
		code                       int
		asked                      string
	}{
		{"a generic call", "POST", generic, `{"a":1}`, nil, 200, "fleet"},
		{"any method", "GET", generic, "", nil, 200, "fleet"},
		{"a query is another path", "GET", generic + "?x=1", "", nil, 404, ""},
		{"an unknown path", "POST", "/hook/0000", "", nil, 404, ""},
		{"an unknown path of the right form", "POST", "/hook/" + strings.Repeat("0", 64), "", nil, 404, ""},
		{"outside of all paths", "POST", "/", "", nil, 404, ""},
		{"too large", "POST", generic, strings.Repeat(" ", inbound.MaxBody+1), nil, 413, ""},
		{"a push", "POST", github, ref, signed, 200, "fleet"},
		{"a ping", "POST", github, ref, with("X-GitHub-Event", "PING"), 200, "fleet"},
		{"an event that is not listed", "POST", github, ref, with("X-GitHub-Event", "fork"), 400, ""},
		{"a wrong signature", "POST", github, ref + " ", signed, 400, ""},
		{"no signature", "POST", github, ref, with("X-Hub-Signature-256", ""), 400, ""},
		{"a filter over object and call", "POST", filtered, ref, hmacSigned, 200, "a"},
		{"a filter without a JSON body", "POST", filtered, ref, map[string]string{"X-Signature": hmacSigned["X-Signature"]}, 200, ""},
		{"a filter and a body that is no object", "POST", filtered, "[1]", map[string]string{"Content-Type": "application/json", "X-Signature": "sha256=" + hexHMAC("sample-token", "[1]")}, 500, ""},
		{"a filter and a wrong signature", "POST", filtered, ref, map[string]string{"X-Signature": "sha256=00"}, 400, ""},
	} {
		if code := l.call(tt.method, tt.path, tt.body, tt.header); code != tt.code {
			t.Errorf("%s: %d, want %d", tt.reason, code, tt.code)
		}
		for _, name := range []string{"fleet", "a", "b", "c"} {
			if got := l.requested(name); got != (name == tt.asked) {
				t.Errorf("%s: %s was asked: %v", tt.reason, name, got)
			}
		}
	}
}

// What is wrong with one resource does not keep the others from being asked.
func TestHooksFailures(t *testing.T) {
	t.Parallel()
	l := newLab(t, func(s *kernel.Settings) { s.NoCrossNamespaceRefs = true })
	l.create(&corev1.Secret{}, "hook", "stringData: {token: sample-token}")
	l.repository("fleet", nil)
	for _, tt := range []struct {
		reason, first string
		code          int
	}{
		{"a missing object", "{kind: GitRepository, name: absent}", http.StatusInternalServerError},
		{"another namespace", "{kind: GitRepository, name: fleet, namespace: default}", http.StatusInternalServerError},
		{"a kind without its version", `{kind: Kustomization, name: "*", matchLabels: {x: "1"}}`, http.StatusOK},
		{"a kind that the cluster may not have", `{kind: ImagePolicy, name: absent}`, http.StatusInternalServerError},
		{"a wildcard without labels", `{kind: GitRepository, name: "*"}`, http.StatusInternalServerError},
		{"labels that nothing has", `{kind: GitRepository, name: "*", matchLabels: {x: y}}`, http.StatusOK},
		{"a filter that fails", `{kind: GitRepository, name: fleet, filter: "req.a.b == 1"}`, http.StatusInternalServerError},
	} {
		name := strings.ReplaceAll(tt.reason, " ", "-")
		path := l.receiver(name, "Succeeded", "{type: generic, secretRef: {name: hook}, resources: ["+tt.first+", {kind: GitRepository, name: fleet}]}")
		l.known(path)
		if code := l.call("POST", path, "{}", map[string]string{"Content-Type": "application/json"}); code != tt.code {
			t.Errorf("%s: %d, want %d", tt.reason, code, tt.code)
		}
		if !l.requested("fleet") {
			t.Errorf("%s keeps the next resource from being asked", tt.reason)
		}
	}
}

// A Receiver that is suspended, or lost its token, takes no calls; a new token is a new path.
func TestReceiverLife(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	secret := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Labels: map[string]string{"reconcile.fluxcd.io/watch": "Enabled"}}}
	l.create(secret, "hook", "stringData: {token: one}")
	l.repository("fleet", nil)
	path := l.receiver("r", "Succeeded", `{type: generic, secretRef: {name: hook}, resources: [{kind: GitRepository, name: fleet}]}`)
	if path != webhookPath([]byte("one"), l.ns, "r") {
		t.Errorf("path %s", path)
	}
	l.known(path)
	secret.StringData = map[string]string{"token": "two"}
	if err := l.c.Update(l.ctx, secret); err != nil {
		t.Fatal(err)
	}
	second := webhookPath([]byte("two"), l.ns, "r")
	l.known(second)
	if code := l.call("POST", path, "", nil); code != http.StatusNotFound {
		t.Errorf("the path of the old token answers %d", code)
	}
	l.suspend("r", true)
	for l.ctx.Err() == nil && l.call("POST", second, "", nil) != http.StatusServiceUnavailable {
		time.Sleep(10 * time.Millisecond)
	}
	l.suspend("r", false)
	secret.StringData, secret.Data = map[string]string{"other": "x"}, nil
	if err := l.c.Update(l.ctx, secret); err != nil {
		t.Fatal(err)
	}
	if r := l.settled("r", "TokenNotFound"); !strings.Contains(r.Status.Conditions.Get("Ready").Message, "invalid '"+l.ns+"/hook' secret data: required fields 'token'") {
		t.Errorf("without a token: %+v", r.Status.Conditions)
	}
	if err := l.c.Delete(l.ctx, secret); err != nil {
		t.Fatal(err)
	}
	if r := l.settled("r", "TokenNotFound"); r.Status.WebhookPath != "" {
		t.Errorf("the path of a lost token is still %s", r.Status.WebhookPath)
	}
}

func (l *lab) suspend(name string, on bool) {
	l.Helper()
	r := &notificationv1.Receiver{}
	if err := l.c.Get(l.ctx, client.ObjectKey{Namespace: l.ns, Name: name}, r); err != nil {
		l.Fatal(err)
	}
	old := r.DeepCopy()
	r.Spec.Suspend = on
	if err := l.c.Patch(l.ctx, r, client.MergeFrom(old)); err != nil {
		l.Fatal(err)
	}
}
