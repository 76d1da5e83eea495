package cluster_test

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/gitops-toolkit/flux/internal/cli/clitest"
	"github.com/gitops-toolkit/flux/internal/cli/cluster"
)

var things = cluster.Resource{Group: "example.com", Version: "v1", Kind: "Thing", Plural: "things"}

func connect(t *testing.T) (*clitest.Server, *cluster.Client) {
	t.Helper()
	server := clitest.New(t)
	server.Serve(clitest.Served{Group: "example.com", Version: "v1", Kind: "Thing", Plural: "things", Short: []string{"th"}})
	cfg, err := (&cluster.Flags{Kubeconfig: server.Kubeconfig(t), QPS: -1}).RESTConfig()
	if err != nil {
		t.Fatal(err)
	}
	c, err := cluster.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return server, c
}

func thing(name string) *clitest.Object {
	obj := &clitest.Object{Object: map[string]any{"apiVersion": "example.com/v1", "kind": "Thing"}}
	obj.SetName(name)
	obj.SetNamespace("ns")
	return obj
}

func TestListIsPaged(t *testing.T) {
	t.Parallel()
	server, c := connect(t)
	const count = 1234
	for i := range count {
		server.Add(t, thing(fmt.Sprintf("t-%04d", i)))
	}
	var names []string
	_, err := c.List(t.Context(), things, cluster.ListOptions{}, func(raw json.RawMessage) error {
		var obj struct {
			Metadata struct {
				Name string `json:"name"`
			} `json:"metadata"`
		}
		err := json.Unmarshal(raw, &obj)
		names = append(names, obj.Metadata.Name)
		return err
	})
	if err != nil || len(names) != count || !slices.IsSorted(names) {
		t.Fatalf("%d objects, sorted %t, %v", len(names), slices.IsSorted(names), err)
	}
	if requests := server.Requests(); len(requests) != 3 {
		t.Errorf("%d requests for %d objects, want 3: %v", len(requests), count, requests)
	}
}

func TestListEndsWithItsReader(t *testing.T) {
	t.Parallel()
	server, c := connect(t)
	for i := range 2000 {
		server.Add(t, thing(fmt.Sprintf("t-%04d", i)))
	}
	stop := fmt.Errorf("enough")
	_, err := c.List(t.Context(), things, cluster.ListOptions{}, func(json.RawMessage) error { return stop })
	if err != stop {
		t.Errorf("%v, want the reader's own error", err)
	}
}

func TestAbsentKindIsTold(t *testing.T) {
	t.Parallel()
	_, c := connect(t)
	absent := cluster.Resource{Group: "example.com", Version: "v1", Kind: "Other", Plural: "others"}
	if _, err := cluster.All[map[string]any](t.Context(), c, absent, cluster.ListOptions{}); !cluster.IsNoKind(err) {
		t.Errorf("kind: %v", err)
	}
	err := c.Get(t.Context(), things, "ns", "nobody", &map[string]any{})
	if err == nil || cluster.IsNoKind(err) {
		t.Errorf("an absent object of a known kind: %v", err)
	}
}

func TestWaitEndsWithTheObject(t *testing.T) {
	t.Parallel()
	server, c := connect(t)
	server.Add(t, thing("one"))
	looked := make(chan struct{}, 10)
	failed := make(chan error, 1)
	go func() {
		_, err := cluster.WaitFor(t.Context(), c, cluster.Waiter[*clitest.Object]{
			Resource: things, Namespace: "ns", Name: "one", New: func() *clitest.Object { return &clitest.Object{} },
			Done: func(*clitest.Object) (bool, error) { looked <- struct{}{}; return false, nil },
		})
		failed <- err
	}()
	<-looked
	if err := c.Delete(t.Context(), things, "ns", "one", cluster.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	if err := <-failed; err == nil || !strings.Contains(err.Error(), `things.example.com "one" not found`) {
		t.Errorf("%v", err)
	}
}

// TestWaitSeesWhatCameBeforeItsWatch deletes the object between the look at it and the watch.
func TestWaitSeesWhatCameBeforeItsWatch(t *testing.T) {
	t.Parallel()
	server, c := connect(t)
	server.Add(t, thing("one"))
	_, err := cluster.WaitFor(t.Context(), c, cluster.Waiter[*clitest.Object]{
		Resource: things, Namespace: "ns", Name: "one", New: func() *clitest.Object { return &clitest.Object{} },
		Done: func(*clitest.Object) (bool, error) {
			return false, c.Delete(t.Context(), things, "ns", "one", cluster.DeleteOptions{})
		},
	})
	if err == nil || !strings.Contains(err.Error(), `things.example.com "one" not found`) {
		t.Errorf("%v", err)
	}
}

func TestDiscovery(t *testing.T) {
	t.Parallel()
	server, c := connect(t)
	dir := t.TempDir()
	for _, word := range []string{"thing", "things", "th", "Thing", "things.example.com", "things.v1.example.com"} {
		r, err := cluster.NewDiscovery(c, dir).Word(t.Context(), word)
		if err != nil || r.GVK() != (schema.GroupVersionKind{Group: "example.com", Version: "v1", Kind: "Thing"}) {
			t.Errorf("%s: %v, %v", word, r, err)
		}
	}
	if requests := server.Requests(); len(requests) != 2 {
		t.Errorf("the cache was not used: %v", requests)
	}
	if _, err := cluster.NewDiscovery(c, dir).Word(t.Context(), "nothing"); err == nil {
		t.Error("found nothing")
	}
	if requests := server.Requests(); len(requests) != 4 {
		t.Errorf("what the cache lacks was not asked for: %v", requests)
	}
}

func TestDeadline(t *testing.T) {
	t.Parallel()
	_, c := connect(t)
	ctx, cancel := context.WithDeadline(t.Context(), time.Now())
	defer cancel()
	if err := c.Get(ctx, things, "ns", "one", &map[string]any{}); err != context.DeadlineExceeded {
		t.Errorf("%v, want the context's own error", err)
	}
}

// TestUnknownKind shows that a cluster without a controller's definitions is named as such.
func TestUnknownKind(t *testing.T) {
	t.Parallel()
	_, c := connect(t)
	policies := cluster.Resource{Group: "image.toolkit.fluxcd.io", Version: "v1", Kind: "ImagePolicy", Plural: "imagepolicies"}
	const want = "the cluster does not know imagepolicies.image.toolkit.fluxcd.io: run 'flux check', or choose another --context; " +
		"'flux install --components-extra=image-reflector-controller,image-automation-controller' brings them: "
	var into any
	_, list := c.List(t.Context(), policies, cluster.ListOptions{Namespace: "ns"}, nil)
	for verb, err := range map[string]error{"list": list, "get": c.Get(t.Context(), policies, "ns", "app", &into)} {
		if err == nil || !strings.HasPrefix(err.Error(), want) || !cluster.IsNoKind(err) {
			t.Errorf("%s: %v, want %s…", verb, err, want)
		}
	}
	if err := c.Get(t.Context(), things, "ns", "absent", &into); err == nil || strings.Contains(err.Error(), "does not know") {
		t.Errorf("an object that is not there: %v", err)
	}
}
