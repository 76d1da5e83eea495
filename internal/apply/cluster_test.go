package apply

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/yaml"

	"github.com/gitops-toolkit/flux/internal/testenv"
)

const manager = "kustomize-controller"

var testOwner = Owner{Group: "kustomize.toolkit.fluxcd.io", Name: "app", Namespace: "flux-system"}

// counter counts requests by what they are for.
type counter struct {
	next http.RoundTripper
	mu   sync.Mutex
	seen map[string]int
	// before, when set, is called with each request's class before it is sent.
	before func(class string)
}

func (c *counter) RoundTrip(req *http.Request) (*http.Response, error) {
	class := classify(req)
	c.mu.Lock()
	c.seen[class]++
	before := c.before
	c.mu.Unlock()
	if before != nil {
		before(class)
	}
	return c.next.RoundTrip(req)
}

func classify(req *http.Request) string {
	switch path := req.URL.Path; {
	case path == "/api" || path == "/apis":
		return "discovery"
	case req.Method == http.MethodPatch && strings.Contains(req.Header.Get("Content-Type"), "apply-patch"):
		if req.URL.Query().Get("dryRun") != "" {
			return "dry-run"
		}
		return "apply"
	}
	return strings.ToLower(req.Method)
}

// take returns the counts since the last call, as text in a fixed order.
func (c *counter) take() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	var parts []string
	for _, class := range []string{"discovery", "dry-run", "apply", "get", "patch", "delete", "post", "put"} {
		if n := c.seen[class]; n > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", n, class))
		}
	}
	c.seen = map[string]int{}
	return strings.Join(parts, ", ")
}

// bench is a namespace of its own and a client that counts.
type bench struct {
	t      *testing.T
	ns     string
	client *Client
	count  *counter
	mem    *Memory
	inv    Inventory
}

func newBench(t *testing.T) *bench {
	t.Helper()
	ns := testenv.Namespace(t)
	c := &counter{seen: map[string]int{}}
	cfg := testenv.Config(t)
	cfg.Wrap(func(rt http.RoundTripper) http.RoundTripper { c.next = rt; return c })
	client, err := NewClient(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return &bench{t: t, ns: ns, client: client, count: c, mem: &Memory{}}
}

// plain returns a client as cluster-admin that is not counted.
func plainClient(t *testing.T, change func(*rest.Config)) *Client {
	t.Helper()
	cfg := testenv.Config(t)
	if change != nil {
		change(cfg)
	}
	c, err := NewClient(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// parse reads YAML documents; $NS stands for the namespace of the test.
func (b *bench) parse(docs string) []Object {
	b.t.Helper()
	var out []Object
	for i, doc := range strings.Split(strings.ReplaceAll(docs, "$NS", b.ns), "\n---\n") {
		u := &unstructured.Unstructured{}
		if err := yaml.Unmarshal([]byte(doc), &u.Object); err != nil {
			b.t.Fatal(err)
		}
		out = append(out, Object{Unstructured: u, Origin: fmt.Sprintf("doc%d.yaml", i)})
	}
	return out
}

func (b *bench) prepare(docs string) *Set {
	b.t.Helper()
	set, err := Prepare(context.Background(), b.client, b.parse(docs), Preparation{Owner: testOwner})
	if err != nil {
		b.t.Fatal(err)
	}
	return set
}

func (b *bench) options() Options {
	return Options{Client: b.client, FieldManager: manager, Tracker: b.mem, Previous: b.inv}
}

// apply applies the documents and keeps the inventory.
func (b *bench) apply(docs string, change func(*Options)) (*Result, error) {
	b.t.Helper()
	o := b.options()
	if change != nil {
		change(&o)
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	res, err := Apply(ctx, b.prepare(docs), o)
	b.inv = res.Inventory()
	return res, err
}

func (b *bench) mustApply(docs string, change func(*Options)) *Result {
	b.t.Helper()
	res, err := b.apply(docs, change)
	if err != nil {
		b.t.Fatal(err)
	}
	return res
}

func full(o *Options) { o.Full = true }

// lines renders a change log without the namespace, which differs each time.
func (b *bench) lines(l ChangeLog) string {
	return strings.ReplaceAll(l.String(), b.ns, "NS")
}

func (b *bench) live(gvk, name string) *unstructured.Unstructured {
	b.t.Helper()
	u, err := b.client.Get(context.Background(), b.ref(gvk, name))
	if err != nil {
		b.t.Fatal(err)
	}
	return u
}

// ref reads "v1/ConfigMap" or "apps/v1/Deployment".
func (b *bench) ref(gvk, name string) Ref {
	parts := strings.Split(gvk, "/")
	r := Ref{Namespace: b.ns, Name: name}
	r.Kind, r.Version = parts[len(parts)-1], parts[len(parts)-2]
	if len(parts) == 3 {
		r.Group = parts[0]
	}
	return r
}

func want(t *testing.T, what, got, want string) {
	t.Helper()
	if got != want {
		t.Errorf("%s:\n got: %s\nwant: %s", what, got, want)
	}
}

func recorded(t *testing.T, path string) []byte {
	t.Helper()
	data, err := os.ReadFile("/work/shared/recorded/" + path)
	if err != nil {
		t.Skipf("the recorded run is not here: %v", err)
	}
	return data
}
