package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/gitops-toolkit/flux/test/harness"
)

const imageAPI = "image.toolkit.fluxcd.io"

var (
	imageRepositories = schema.GroupVersionResource{Group: imageAPI, Version: "v1", Resource: "imagerepositories"}
	imagePolicies     = schema.GroupVersionResource{Group: imageAPI, Version: "v1", Resource: "imagepolicies"}
	imageUpdates      = schema.GroupVersionResource{Group: imageAPI, Version: "v1", Resource: "imageupdateautomations"}
)

func init() {
	rows = append(rows,
		row{"-n ImageRepositories and as many ImagePolicies, 1,000 tags each", "not measured", "2 requests to the registry for each; ≤ 8 API writes a pair; a restart: none", imageScans},
		row{"ImageUpdateAutomation, 10,000 files with 50 markers", "a clone for each run", "a no-op is 1 ref listing, 0 API writes; one change moves kilobytes", imageAutomation},
		row{"ten ImageUpdateAutomations and a person push to one branch for a minute", "not measured", "no lost update, no duplicate commit, linear history", imagePushers},
	)
}

// tagServer answers listings as a registry does: every image has the tags 1.0.0 to 1.0.<n-1>.
type tagServer struct {
	addr     string
	requests atomic.Int64
	tags     atomic.Int64
	server   *http.Server
}

func newTagServer(tags int) (*tagServer, error) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	s := &tagServer{addr: ln.Addr().String()}
	s.tags.Store(int64(tags))
	s.server = &http.Server{Handler: s, ReadHeaderTimeout: time.Minute}
	go s.server.Serve(ln) //nolint:errcheck // ends with Close
	return s, nil
}

func (s *tagServer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.requests.Add(1)
	if !strings.HasSuffix(r.URL.Path, "/tags/list") {
		w.WriteHeader(http.StatusOK)
		return
	}
	list := make([]string, s.tags.Load())
	for i := range list {
		list[i] = fmt.Sprintf("1.0.%d", i)
	}
	_ = json.NewEncoder(w).Encode(map[string]any{"name": "x", "tags": list})
}

// addImage starts a controller of image automation.
func (w *world) addImage(ctx context.Context, name string, flags ...string) (*harness.Process, error) {
	return w.stack.Add(ctx, name, append(flags, "--events-addr=")...)
}

// quiet waits until a user has made no request for a while.
func (w *world) quiet(ctx context.Context, user string) error {
	mark := *w.audit
	for calm := 0; calm < 3; calm++ {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(time.Second):
		}
		reqs, err := mark.Since(user)
		if err != nil {
			return err
		}
		if len(reqs) > 0 {
			calm = -1
		}
	}
	return nil
}

func (w *world) add(ctx context.Context, gvr schema.GroupVersionResource, kind, name string, spec map[string]any) error {
	_, err := w.dyn.Resource(gvr).Namespace(namespace).Create(ctx, object(gvr.Group+"/v1", kind, name, spec), metav1.CreateOptions{})
	return err
}

// awaitTag waits until n policies have chosen a tag.
func (w *world) awaitTag(ctx context.Context, n int, tag string) error {
	done := map[string]bool{}
	return w.watch(ctx, imagePolicies, func(o *unstructured.Unstructured) bool {
		if got, _, _ := unstructured.NestedString(o.Object, "status", "latestRef", "tag"); got == tag {
			done[o.GetName()] = true
		}
		return len(done) >= n
	})
}

func imageScans(ctx context.Context, w *world) ([]figure, error) {
	registry, err := newTagServer(1000)
	if err != nil {
		return nil, err
	}
	defer registry.server.Close()
	p, err := w.addImage(ctx, "image-reflector-controller", "--storage-path="+w.dir+"/tags")
	if err != nil {
		return nil, err
	}
	if err := w.quiet(ctx, p.User); err != nil {
		return nil, err
	}
	mark, start := *w.audit, time.Now()
	if _, err := mark.Since(); err != nil {
		return nil, err
	}
	before, err := p.CPU()
	if err != nil {
		return nil, err
	}
	for i := range w.many {
		name := fmt.Sprintf("app%d", i)
		if err := w.add(ctx, imageRepositories, "ImageRepository", name, map[string]any{"image": registry.addr + "/" + name, "interval": "1h"}); err != nil {
			return nil, err
		}
		if err := w.add(ctx, imagePolicies, "ImagePolicy", name, map[string]any{
			"imageRepositoryRef": map[string]any{"name": name}, "policy": map[string]any{"semver": map[string]any{"range": "*"}},
		}); err != nil {
			return nil, err
		}
	}
	if err := w.awaitTag(ctx, w.many, "1.0.999"); err != nil {
		return nil, err
	}
	took := time.Since(start)
	if err := w.quiet(ctx, p.User); err != nil {
		return nil, err
	}
	after, _ := p.CPU()
	reqs, err := mark.Since(p.User)
	if err != nil {
		return nil, err
	}
	memory, _ := p.AnonBytes()
	n := float64(w.many)
	figures := []figure{
		{"requests to the registry, for each", float64(registry.requests.Load()) / n, 2, "requests", ""},
		{"requests to the API server, a pair", float64(len(reqs)) / n, 8, "requests", harness.Summary(reqs)},
		{"CPU, a pair", (after - before).Seconds() * 1000 / n, -1, "ms", ""},
		{"created to chosen, all", took.Seconds(), -1, "s", ""},
		{"memory", float64(memory) / (1 << 20), 120, "MiB", ""},
	}
	registry.requests.Store(0)
	p.Stop()
	if _, err := mark.Since(); err != nil {
		return nil, err
	}
	if err := p.Start(ctx); err != nil {
		return nil, err
	}
	if err := w.quiet(ctx, p.User); err != nil {
		return nil, err
	}
	writes := 0
	if reqs, err = mark.Since(p.User); err != nil {
		return nil, err
	}
	for _, r := range reqs {
		if r.Verb == "patch" || r.Verb == "update" || r.Verb == "create" {
			writes++
		}
	}
	return append(figures,
		figure{"requests to the registry after a restart", float64(registry.requests.Load()), 0, "requests", ""},
		figure{"API writes after a restart", float64(writes), 0, "requests", harness.Summary(reqs)},
	), nil
}
