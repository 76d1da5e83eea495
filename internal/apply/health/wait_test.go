package health

import (
	"context"
	"errors"
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
	"k8s.io/client-go/rest"

	"github.com/gitops-toolkit/flux/internal/apply"
	"github.com/gitops-toolkit/flux/internal/testenv"
)

// bench is a namespace with a client that counts the reads of single objects.
type bench struct {
	t      *testing.T
	ns     string
	admin  *apply.Client
	client *apply.Client
	hub    *Hub

	mu   sync.Mutex
	gets int
}

func newBench(t *testing.T) *bench {
	t.Helper()
	b := &bench{t: t, ns: testenv.Namespace(t)}
	b.admin = b.connect(nil)
	b.client = b.connect(func(c *rest.Config) {
		c.Wrap(func(rt http.RoundTripper) http.RoundTripper {
			return testenv.RoundTrip(func(r *http.Request) (*http.Response, error) {
				if r.Method == http.MethodGet && strings.Contains(r.URL.Path, "/namespaces/"+b.ns+"/") && r.URL.RawQuery == "" {
					b.mu.Lock()
					b.gets++
					b.mu.Unlock()
				}
				return rt.RoundTrip(r)
			})
		})
	})
	ctx, cancel := context.WithCancel(context.Background())
	t.Cleanup(cancel)
	b.hub = NewHub(ctx, b.admin.Metadata())
	return b
}

func (b *bench) connect(change func(*rest.Config)) *apply.Client {
	b.t.Helper()
	cfg := testenv.Config(b.t)
	if change != nil {
		change(cfg)
	}
	c, err := apply.NewClient(cfg)
	if err != nil {
		b.t.Fatal(err)
	}
	return c
}

func (b *bench) reads() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.gets
}

var widgetKinds = map[string]schema.GroupVersionResource{
	"PersistentVolumeClaim": {Version: "v1", Resource: "persistentvolumeclaims"},
	"ConfigMap":             {Version: "v1", Resource: "configmaps"},
	"Deployment":            {Group: "apps", Version: "v1", Resource: "deployments"},
	"Job":                   {Group: "batch", Version: "v1", Resource: "jobs"},
}

func (b *bench) create(doc string) Object {
	b.t.Helper()
	u := object(b.t, strings.ReplaceAll(doc, "$NS", b.ns))
	r := b.admin.Dynamic().Resource(widgetKinds[u.GetKind()]).Namespace(b.ns)
	if _, err := r.Create(context.Background(), u, metav1.CreateOptions{}); err != nil {
		b.t.Fatal(err)
	}
	return Object{Ref: apply.RefOf(u)}
}

const claim = `{apiVersion: v1, kind: PersistentVolumeClaim, metadata: {name: c, namespace: $NS},
  spec: {storageClassName: absent, accessModes: [ReadWriteOnce], resources: {requests: {storage: 1Mi}}}}`

// bind makes the claim healthy, as a volume controller would.
func (b *bench) bind() {
	b.t.Helper()
	_, err := b.admin.Dynamic().Resource(widgetKinds["PersistentVolumeClaim"]).Namespace(b.ns).
		Patch(context.Background(), "c", types.MergePatchType, []byte(`{"status":{"phase":"Bound"}}`), metav1.PatchOptions{}, "status")
	if err != nil {
		b.t.Fatal(err)
	}
}

func (b *bench) options() Options {
	// The poll is out of the way: only events can end these waits in time.
	return Options{Client: b.client, Watch: b.hub, Timeout: 30 * time.Second, PollInterval: time.Hour}
}

// TestWaitByEvent waits for an object that becomes healthy while we watch.
func TestWaitByEvent(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	objects := []Object{b.create(claim), b.create("{apiVersion: v1, kind: ConfigMap, metadata: {name: c, namespace: $NS}}")}
	done := make(chan *Result)
	go func() { done <- Wait(context.Background(), objects, b.options()) }()
	awaitTrue(t, "the watch is open", func() bool { return b.hub.Watches() == 1 })
	b.bind()
	res := <-done
	if res.Err != nil || res.Cancelled || len(res.NotReady) != 0 {
		t.Fatalf("got %+v", res)
	}
	// One read of each object, and of the claim one for each event that was coalesced.
	if n := b.reads(); n < 3 || n > 5 {
		t.Errorf("%d reads", n)
	}
	awaitTrue(t, "the watch is closed with its last user", func() bool { return b.hub.Watches() == 0 })
}

func awaitTrue(t *testing.T, what string, cond func() bool) {
	t.Helper()
	for range 400 {
		if cond() {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Fatalf("never: %s", what)
}

// TestWaitTexts holds the texts of the tables.
func TestWaitTexts(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	c := b.create(claim)
	job := b.create(`{apiVersion: batch/v1, kind: Job, metadata: {name: j, namespace: $NS},
  spec: {backoffLimit: 0, suspend: true, template: {spec: {restartPolicy: Never, containers: [{name: c, image: "example.com/i:1"}]}}}}`)
	absent := Object{Ref: apply.Ref{GroupVersionKind: schema.GroupVersionKind{Version: "v1", Kind: "ConfigMap"}, Namespace: b.ns, Name: "absent"}}
	vanished := absent
	vanished.VanishesWhenDone = true
	forbidden := b.connect(func(cfg *rest.Config) { cfg.Impersonate.UserName = "system:serviceaccount:" + b.ns + ":nobody" })

	for _, tc := range []struct {
		reason  string
		objects []Object
		change  func(*Options)
		want    string
	}{
		{"all that is not current is listed", []Object{c, absent, job, vanished}, nil,
			"timeout waiting for: [PersistentVolumeClaim/NS/c status: 'InProgress', ConfigMap/NS/absent status: 'NotFound']"},
		{"a read error follows the status", []Object{c}, func(o *Options) { o.Client = forbidden },
			`timeout waiting for: [PersistentVolumeClaim/NS/c status: 'Unknown': persistentvolumeclaims "c" is forbidden: User "system:serviceaccount:NS:nobody" cannot get resource "persistentvolumeclaims" in API group "" in the namespace "NS"]`},
		{"known to be current needs no read", []Object{{Ref: c.Ref, Current: true}}, func(o *Options) { o.Client = forbidden }, ""},
		{"nothing to wait for", nil, nil, ""},
	} {
		t.Run(tc.reason, func(t *testing.T) {
			t.Parallel()
			o := b.options()
			o.Timeout = 300 * time.Millisecond
			if tc.change != nil {
				tc.change(&o)
			}
			res := Wait(context.Background(), tc.objects, o)
			got := ""
			if res.Err != nil {
				got = strings.ReplaceAll(res.Err.Error(), b.ns, "NS")
			}
			if got != tc.want {
				t.Errorf("got  %s\nwant %s", got, tc.want)
			}
		})
	}
}

// TestFailFast ends a wait when an object fails, and says why it did.
func TestFailFast(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	c := b.create(claim)
	exprs, err := CompileExprs([]Expr{{APIVersion: "v1", Kind: "ConfigMap", Current: "data.phase == 'ok'", Failed: "data.phase == 'bad'"}})
	if err != nil {
		t.Fatal(err)
	}
	bad := b.create("{apiVersion: v1, kind: ConfigMap, metadata: {name: bad, namespace: $NS}, data: {phase: bad}}")
	o := b.options()
	o.Exprs = exprs
	res := Wait(context.Background(), []Object{c, bad}, o)
	want := "failed early due to stalled resources: [ConfigMap/" + b.ns + "/bad status: 'Failed']"
	if res.Err == nil || res.Err.Error() != want || len(res.NotReady) != 2 {
		t.Errorf("got %v", res.Err)
	}

	o.DisableFailFast = true
	done := make(chan *Result)
	go func() { done <- Wait(context.Background(), []Object{c, bad}, o) }()
	awaitTrue(t, "the watches are open", func() bool { return b.hub.Watches() == 2 })
	b.bind()
	if res := <-done; res.Err == nil || res.Err.Error() != want || len(res.NotReady) != 1 {
		t.Errorf("only failed and current remain: %v, %v", res.Err, res.NotReady)
	}
}

// TestCancel ends a wait with its context; that is no failure.
func TestCancel(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	superseded := errors.New("superseded")
	ctx, cancel := context.WithCancelCause(context.Background())
	done := make(chan *Result)
	c := b.create(claim)
	go func() { done <- Wait(ctx, []Object{c}, b.options()) }()
	awaitTrue(t, "the wait has begun", func() bool { return b.hub.Watches() == 1 })
	cancel(superseded)
	if res := <-done; !res.Cancelled || !errors.Is(res.Err, superseded) || res.Details != "" {
		t.Errorf("got %+v", res)
	}
}

// TestWatchForbidden polls where the watch is not allowed.
func TestWatchForbidden(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	nobody := b.connect(func(cfg *rest.Config) { cfg.Impersonate.UserName = "system:serviceaccount:" + b.ns + ":nobody" })
	o := b.options()
	o.Watch, o.PollInterval = NewHub(ctx, nobody.Metadata()), 20*time.Millisecond
	c := b.create(claim)
	done := make(chan *Result)
	go func() { done <- Wait(ctx, []Object{c}, o) }()
	awaitTrue(t, "the wait has begun", func() bool { return b.reads() >= 2 })
	b.bind()
	if res := <-done; res.Err != nil {
		t.Errorf("got %v", res.Err)
	}
}

// TestDetails names object, pod, container, image and exit code, whatever way the sandbox's pods fail.
func TestDetails(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	const deployment = `{apiVersion: apps/v1, kind: Deployment, metadata: {name: $NAME, namespace: $NS},
  spec: {selector: {matchLabels: {app: $NAME}}, template: {metadata: {labels: {app: $NAME}, annotations: {gitops-toolkit.dev/sandbox-fail: $FAIL}},
  spec: {containers: [{name: main, image: "example.com/$NAME:1"}]}}}}`
	const job = `{apiVersion: batch/v1, kind: Job, metadata: {name: $NAME, namespace: $NS}, spec: {backoffLimit: 0, selector: {matchLabels: {app: $NAME}}, manualSelector: true,
  template: {metadata: {labels: {app: $NAME}, annotations: {gitops-toolkit.dev/sandbox-fail: $FAIL}}, spec: {restartPolicy: Never, containers: [{name: main, image: "example.com/$NAME:1"}]}}}}`
	for name, c := range map[string]struct {
		doc, fail string
		// pod is what the pod shows before the wait, details what the message says beside pod and container.
		pod     string
		details []string
	}{
		"crash": {deployment, "CrashLoopBackOff", "CrashLoopBackOff", []string{"(image example.com/crash:1)", "CrashLoopBackOff", "exit code 1"}},
		"image": {deployment, "ImagePullBackOff", "ImagePullBackOff", []string{"(image example.com/image:1)", "ImagePullBackOff"}},
		"never": {deployment, "NeverReady", "startedAt", []string{"(image example.com/never:1)", "running but not ready"}},
		"job":   {job, "Error", "exitCode", []string{"(image example.com/job:1)", "exit code 1 Error"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			object := b.create(strings.NewReplacer("$NAME", name, "$FAIL", c.fail).Replace(c.doc))
			pods := b.admin.Dynamic().Resource(schema.GroupVersionResource{Version: "v1", Resource: "pods"}).Namespace(b.ns)
			awaitTrue(t, "the pod fails", func() bool {
				list, err := pods.List(context.Background(), metav1.ListOptions{LabelSelector: "app=" + name})
				return err == nil && len(list.Items) > 0 && strings.Contains(containerStates(list.Items[0]), c.pod)
			})
			o := b.options()
			o.Timeout = 300 * time.Millisecond
			res := Wait(context.Background(), []Object{object}, o)
			for _, want := range append(c.details, object.Kind+"/"+b.ns+"/"+name+": ", "pod "+name+"-", "container main ") {
				if res.Err == nil || !strings.Contains(res.Details, want) {
					t.Errorf("error %v\ndetails %s\nlack %q", res.Err, res.Details, want)
				}
			}
		})
	}
}

func containerStates(pod unstructured.Unstructured) string {
	statuses, _, _ := unstructured.NestedSlice(pod.Object, "status", "containerStatuses")
	return fmt.Sprint(statuses)
}
