package test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/tools/cache"
	watchtools "k8s.io/client-go/tools/watch"

	"github.com/gitops-toolkit/flux/test/harness"
)

// stormEnv says how many edits the storm makes, at the rate of ten thousand a minute.
const stormEnv = "FLUX_TEST_STORM"

// TestDriftStorm edits and deletes owned objects at random, as many clients would: every one is
// put back, at a bounded number of requests. The latencies are printed, never judged.
func TestDriftStorm(t *testing.T) {
	if testing.Short() {
		t.Skip("takes a sandbox of its own")
	}
	edits := 500
	if text := os.Getenv(stormEnv); text != "" {
		var err error
		if edits, err = strconv.Atoi(text); err != nil || edits < 1 {
			t.Fatalf("%s=%q is not a count of edits", stormEnv, text)
		}
	}
	const apps, each = 20, 25
	i := maroon(t, "storm", "--concurrent=4")
	desired, files := fleet{}, map[string]string{}
	for a := range apps {
		app := fmt.Sprintf("app%02d", a)
		desired[app] = map[string]string{}
		for o := range each {
			name := fmt.Sprintf("%s-%d", app, o)
			desired[app][name] = "git"
			files[app+"/"+name+".yaml"] = configMap(name, "git")
		}
	}
	rev := i.commit(files)
	i.createFleet(desired, "1m")
	for app := range desired {
		i.ready("Kustomization", app, rev)
	}
	i.requests()

	eye := i.watchHealing()
	i.rage(desired, edits, eye)
	eye.await(i)
	i.holdsExactly(desired)
	reqs := i.requests()
	eye.mu.Lock()
	defer eye.mu.Unlock()
	slices.Sort(eye.latencies)
	n := len(eye.latencies)
	t.Logf("%d edits, %d corrections: median %s, 99th percentile %s, longest %s", edits, n,
		eye.latencies[n/2], eye.latencies[n*99/100], eye.latencies[n-1])
	t.Logf("%.2f requests a correction: %s", float64(len(reqs))/float64(n), harness.Summary(reqs))
	if most := 4 * n; len(reqs) > most+10*apps {
		t.Errorf("%d requests for %d corrections, want no more than %d", len(reqs), n, most)
	}
}

// rage makes the edits, each by a manager of its own: the same manager again would be a fight,
// which is damped and not what is measured here.
func (i *island) rage(f fleet, edits int, eye *healing) {
	i.Helper()
	var names []string
	for _, objects := range f {
		for name := range objects {
			names = append(names, name)
		}
	}
	// Deletions take turns: an object deleted twice within seconds is the work of a program, and damped.
	rand.Shuffle(len(names), func(a, b int) { names[a], names[b] = names[b], names[a] })
	pace := time.NewTicker(time.Minute / 10_000)
	defer pace.Stop()
	resource := i.dyn.Resource(configMaps).Namespace(i.ns)
	var clients sync.WaitGroup
	slots := make(chan struct{}, 16)
	for n := range edits {
		<-pace.C
		slots <- struct{}{}
		clients.Go(func() {
			defer func() { <-slots }()
			name := names[rand.N(len(names))]
			var err error
			if n%5 == 0 {
				name = names[n/5%len(names)]
				if err = resource.Delete(i.ctx, name, metav1.DeleteOptions{}); err == nil {
					eye.hurt(name, "")
				}
			} else {
				var o *unstructured.Unstructured
				patch := fmt.Sprintf(`{"data":{"key":"edit %d"}}`, n)
				o, err = resource.Patch(i.ctx, name, types.MergePatchType, []byte(patch), metav1.PatchOptions{FieldManager: fmt.Sprint("client-", n)})
				if err == nil {
					eye.hurt(name, o.GetResourceVersion())
				}
			}
			if err != nil && !apierrors.IsNotFound(err) {
				i.Errorf("edit %s: %v", name, err)
			}
		})
	}
	clients.Wait()
}

// healing measures how long each object was not as desired. An object that is hurt again before
// it was put back counts once, from the first time.
type healing struct {
	mu        sync.Mutex
	since     map[string]time.Time // of objects that are hurt
	hurtAt    map[string]int64     // resourceVersion of the last edit
	wholeAt   map[string]int64     // resourceVersion at which the watch saw the object whole
	deletions int                  // accepted, and not yet shown by the watch
	latencies []time.Duration
	changed   chan struct{}
}

func (i *island) watchHealing() *healing {
	i.Helper()
	h := &healing{since: map[string]time.Time{}, hurtAt: map[string]int64{}, wholeAt: map[string]int64{}, changed: make(chan struct{}, 1)}
	resource := i.dyn.Resource(configMaps).Namespace(i.ns)
	list, err := resource.List(i.ctx, metav1.ListOptions{})
	i.must(err, "list ConfigMaps")
	// An API server may end a watch at any time: it goes on where it was.
	w, err := watchtools.NewRetryWatcherWithContext(i.ctx, list.GetResourceVersion(), &cache.ListWatch{
		WatchFuncWithContext: func(ctx context.Context, o metav1.ListOptions) (watch.Interface, error) {
			return resource.Watch(ctx, o)
		},
	})
	i.must(err, "watch ConfigMaps")
	i.Cleanup(w.Stop)
	go func() {
		for e := range w.ResultChan() {
			if o, ok := e.Object.(*unstructured.Unstructured); ok {
				h.see(e.Type, o)
			}
		}
	}()
	return h
}

// see notes what the watch shows. The clock of an edit starts when the watch shows the edit, not
// when its answer arrives, which may be later than the correction.
func (h *healing) see(event watch.EventType, o *unstructured.Unstructured) {
	h.mu.Lock()
	defer h.mu.Unlock()
	name := o.GetName()
	value, _, _ := unstructured.NestedString(o.Object, "data", "key")
	if event == watch.Deleted {
		h.deletions--
	}
	if event == watch.Deleted || value != "git" {
		if _, hurt := h.since[name]; !hurt {
			h.since[name] = time.Now()
		}
		return
	}
	h.wholeAt[name], _ = strconv.ParseInt(o.GetResourceVersion(), 10, 64)
	if since, hurt := h.since[name]; hurt {
		h.latencies = append(h.latencies, time.Since(since))
		delete(h.since, name)
	}
	select {
	case h.changed <- struct{}{}:
	default:
	}
}

// hurt notes an edit that the API server has accepted; a deletion has no resourceVersion.
func (h *healing) hurt(name, version string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if version == "" {
		h.deletions++
		return
	}
	v, _ := strconv.ParseInt(version, 10, 64)
	h.hurtAt[name] = max(h.hurtAt[name], v)
}

// await returns when every object was seen whole after its last edit.
func (h *healing) await(i *island) {
	i.Helper()
	deadline := time.After(3 * time.Minute)
	for {
		h.mu.Lock()
		var left []string
		for name, at := range h.hurtAt {
			if h.wholeAt[name] < at {
				left = append(left, name)
			}
		}
		for name := range h.since {
			left = append(left, name)
		}
		done := len(left) == 0 && h.deletions == 0
		h.mu.Unlock()
		if done {
			return
		}
		select {
		case <-h.changed:
		case <-deadline:
			i.Fatalf("%d objects were not put back: %v", len(left), left[:min(5, len(left))])
		}
	}
}
