package tracker

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/yaml"

	"github.com/gitops-toolkit/flux/internal/apply"
	"github.com/gitops-toolkit/flux/internal/testenv"
)

const manager = "kustomize-controller"

// bench is a tracker with one owner, whose notifications arrive on a channel. The owner group is
// the test's own, so that tests do not see each other's objects.
type bench struct {
	t        *testing.T
	ns       string
	group    string
	admin    *apply.Client
	client   *apply.Client
	tracker  *Tracker
	owner    *Owner
	key      Key
	notified chan Key
	fights   chan Drift
	inv      apply.Inventory
	kinds    []string // of target, or of what else the test installs

	mu   sync.Mutex
	seen map[string]int
}

func newBench(t *testing.T, change func(*Options)) *bench {
	t.Helper()
	ns := testenv.Namespace(t)
	b := &bench{
		t: t, ns: ns, group: ns + ".example.com", key: Key{Namespace: ns, Name: "app"},
		notified: make(chan Key, 100), fights: make(chan Drift, 100), seen: map[string]int{},
		kinds: []string{"cm", "secret", "deploy", "svc"},
	}
	b.admin = connect(t, nil)
	b.client = connect(t, func(c *rest.Config) {
		c.Wrap(func(rt http.RoundTripper) http.RoundTripper {
			return testenv.RoundTrip(func(r *http.Request) (*http.Response, error) {
				b.count(r)
				return rt.RoundTrip(r)
			})
		})
	})
	b.restart(change)
	return b
}

// restart replaces the tracker by a new one that knows nothing.
func (b *bench) restart(change func(*Options)) {
	b.t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	b.t.Cleanup(cancel)
	o := Options{
		Client: connect(b.t, nil), FieldManager: manager, OwnerGroup: b.group, Debounce: 10 * time.Millisecond,
		Notify: func(k Key) { b.notified <- k }, Fight: func(_ Key, d Drift) { b.fights <- d },
	}
	if change != nil {
		change(&o)
	}
	b.tracker = New(ctx, o)
	b.owner = b.tracker.Owner(b.key)
	b.owner.Configure(time.Hour, true)
}

func connect(t *testing.T, change func(*rest.Config)) *apply.Client {
	t.Helper()
	cfg := testenv.Config(t)
	if change != nil {
		change(cfg)
	}
	c, err := apply.NewClient(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func (b *bench) count(r *http.Request) {
	class := strings.ToLower(r.Method)
	switch {
	case r.URL.Path == "/api" || r.URL.Path == "/apis":
		class = "discovery"
	case r.URL.Query().Get("dryRun") != "":
		class = "dry-run"
	case strings.Contains(r.Header.Get("Content-Type"), "apply-patch"):
		class = "apply"
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.seen[class]++
}

func (b *bench) requests() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	var parts []string
	for _, class := range []string{"dry-run", "apply", "get", "patch", "delete"} {
		if n := b.seen[class]; n > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", n, class))
		}
	}
	b.seen = map[string]int{}
	return strings.Join(parts, ", ")
}

func (b *bench) set(docs string) *apply.Set {
	b.t.Helper()
	var objects []apply.Object
	for _, doc := range strings.Split(strings.ReplaceAll(docs, "$NS", b.ns), "\n---\n") {
		data, err := yaml.YAMLToJSON([]byte(doc))
		if err != nil {
			b.t.Fatal(err)
		}
		u := &unstructured.Unstructured{}
		if err := u.UnmarshalJSON(data); err != nil {
			b.t.Fatal(err)
		}
		objects = append(objects, apply.Object{Unstructured: u})
	}
	owner := apply.Owner{Group: b.group, Name: b.key.Name, Namespace: b.key.Namespace}
	set, err := apply.Prepare(context.Background(), b.client, objects, apply.Preparation{Owner: owner})
	if err != nil {
		b.t.Fatal(err)
	}
	return set
}

// pass runs one pass of the owner and returns its changes, with what was put back, and the requests.
func (b *bench) pass(docs string, view *View) (changes, requests string) {
	b.t.Helper()
	changes, requests, err := b.run(docs, view)
	if err != nil {
		b.t.Fatal(err)
	}
	return changes, requests
}

// tryPass is pass, with the error for changes when there is one.
func (b *bench) tryPass(docs string, view *View) (changes, requests string) {
	b.t.Helper()
	changes, requests, err := b.run(docs, view)
	if err != nil {
		changes = err.Error()
	}
	return changes, requests
}

func (b *bench) run(docs string, view *View) (changes, requests string, err error) {
	b.t.Helper()
	end := b.owner.Begin()
	defer end()
	set := b.set(docs)
	b.requests()
	res, err := apply.Apply(context.Background(), set, apply.Options{
		Client: b.client, FieldManager: manager, Previous: b.inv, Tracker: view,
	})
	b.inv = res.Inventory()
	b.owner.Follow(b.inv)
	var lines []string
	for _, c := range res.Changes.Changed() {
		line := string(c.Action)
		if c.Reclaimed != "" {
			line += ": " + c.Reclaimed
		}
		lines = append(lines, line)
	}
	return strings.Join(lines, "\n"), b.requests(), err
}

// install applies the documents and waits until the watch has shown them.
func (b *bench) install(docs string) {
	b.t.Helper()
	b.pass(docs, b.owner.AtRevision())
	b.await("the first lists", b.owner.Synced)
	b.drain()
	b.await("the watch shows what was applied", func() bool {
		b.tracker.mu.Lock()
		defer b.tracker.mu.Unlock()
		for id, obj := range b.owner.objects {
			if b.tracker.kinds[obj.kind].live[id] == nil {
				return false
			}
		}
		return true
	})
	b.drain()
}

func (b *bench) drain() {
	for {
		select {
		case <-b.notified:
		case <-time.After(30 * time.Millisecond):
			return
		}
	}
}

func (b *bench) await(what string, cond func() bool) {
	b.t.Helper()
	for range 500 {
		if cond() {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	b.t.Fatalf("never: %s; drifts %v", what, b.owner.Drifts())
}

func (b *bench) awaitNotify() {
	b.t.Helper()
	select {
	case <-b.notified:
	case <-time.After(10 * time.Second):
		b.t.Fatalf("no notification; drifts %v", b.owner.Drifts())
	}
}

// nextSecond waits until the server's clock, as it stamps our entries, is past the second of the
// last write.
func nextSecond() {
	time.Sleep(time.Until(time.Now().Truncate(time.Second).Add(1050 * time.Millisecond)))
}

var resources = map[string]schema.GroupVersionResource{
	"cm":     {Version: "v1", Resource: "configmaps"},
	"secret": {Version: "v1", Resource: "secrets"},
	"deploy": {Group: "apps", Version: "v1", Resource: "deployments"},
	"svc":    {Version: "v1", Resource: "services"},
}

func (b *bench) of(kind string) dynamic.ResourceInterface {
	gvr, ok := resources[kind]
	if !ok {
		gvr = schema.GroupVersionResource{Group: b.group, Version: "v1", Resource: kind + "s"}
	}
	return b.admin.Dynamic().Resource(gvr).Namespace(b.ns)
}

func (b *bench) patch(kind, as, patch string, sub ...string) {
	b.t.Helper()
	patch = strings.ReplaceAll(patch, "GROUP", b.group)
	_, err := b.of(kind).Patch(context.Background(), "app", types.MergePatchType, []byte(patch), metav1.PatchOptions{FieldManager: as}, sub...)
	if err != nil {
		b.t.Fatal(err)
	}
}

func (b *bench) jsonPatch(kind, as, patch string) {
	b.t.Helper()
	_, err := b.of(kind).Patch(context.Background(), "app", types.JSONPatchType, []byte(patch), metav1.PatchOptions{FieldManager: as})
	if err != nil {
		b.t.Fatal(err)
	}
}

func (b *bench) applyAs(kind, as, doc string) {
	b.t.Helper()
	data, err := yaml.YAMLToJSON([]byte(strings.NewReplacer("$NS", b.ns, "GROUP", b.group).Replace(doc)))
	if err != nil {
		b.t.Fatal(err)
	}
	force := true
	_, err = b.of(kind).Patch(context.Background(), "app", types.ApplyPatchType, data, metav1.PatchOptions{FieldManager: as, Force: &force})
	if err != nil {
		b.t.Fatal(err)
	}
}

func (b *bench) del(kind string) {
	b.t.Helper()
	if err := b.of(kind).Delete(context.Background(), "app", metav1.DeleteOptions{}); err != nil {
		b.t.Fatal(err)
	}
}
