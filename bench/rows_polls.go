package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/registry"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/static"
	"github.com/google/go-containerregistry/pkg/v1/types"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/gitops-toolkit/flux/test/harness"
)

// polled is what polls of one object at a short interval cost.
type polled struct {
	polls float64
	usage effort
}

// polls lets an object be polled for a while.
func (w *world) polls(ctx context.Context, kind, name string) (polled, error) {
	before, err := w.counts(ctx, kind, name)
	if err != nil {
		return polled{}, err
	}
	e, err := w.watched(ctx, func() error { return rest(ctx, 20*time.Second) })
	if err != nil {
		return polled{}, err
	}
	after, err := w.source.Passes(kind, name)
	if err == nil && after == before {
		err = fmt.Errorf("%s/%s was not polled", kind, name)
	}
	return polled{after - before, e}, err
}

// counts waits until the first reconciliation of an object is counted, which is after its status was
// written, and returns how many there were.
func (w *world) counts(ctx context.Context, kind, name string) (n float64, err error) {
	for range 100 {
		if n, err = w.source.Passes(kind, name); err == nil {
			return n, nil
		}
		if err := rest(ctx, 100*time.Millisecond); err != nil {
			return 0, err
		}
	}
	return 0, err
}

func (p polled) figures() []figure {
	return []figure{
		{"API requests of all polls", float64(len(p.usage.source)), 0, "requests", harness.Summary(p.usage.source)},
		{"CPU per poll", p.usage.cpu.Seconds() * 1000 / p.polls, -1, "ms", fmt.Sprintf("%.0f polls", p.polls)},
	}
}

// awaitReady waits until an object of a kind is ready, and other than before.
func (w *world) awaitReady(ctx context.Context, gvr schema.GroupVersionResource, name, before string) (revision string, err error) {
	err = w.watch(ctx, gvr, func(o *unstructured.Unstructured) bool {
		revision, _, _ = unstructured.NestedString(o.Object, "status", "artifact", "revision")
		return o.GetName() == name && revision != "" && revision != before && conditionStatus(o, "Ready") == "True"
	})
	return revision, err
}

// counted counts requests and the bytes of answers.
type counted struct {
	http.Handler
	requests, heads, sent atomic.Int64
}

func (c *counted) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	c.requests.Add(1)
	if r.Method == http.MethodHead {
		c.heads.Add(1)
	}
	c.Handler.ServeHTTP(countedWriter{w, &c.sent}, r)
}

func (c *counted) reset() {
	c.requests.Store(0)
	c.heads.Store(0)
	c.sent.Store(0)
}

type countedWriter struct {
	http.ResponseWriter
	sent *atomic.Int64
}

func (w countedWriter) Write(p []byte) (int, error) {
	w.sent.Add(int64(len(p)))
	return w.ResponseWriter.Write(p)
}

func ociPoll(ctx context.Context, w *world) ([]figure, error) {
	served := &counted{Handler: registry.New(registry.Logger(log.New(io.Discard, "", 0)))}
	server := httptest.NewServer(served)
	defer server.Close()
	push := func(value string) error {
		layer, err := pack(ctx, app("app", value))
		if err != nil {
			return err
		}
		image, err := mutate.AppendLayers(empty.Image, static.NewLayer(layer, types.OCILayer))
		if err != nil {
			return err
		}
		tag, err := name.NewTag(strings.TrimPrefix(server.URL, "http://")+"/bench:latest", name.Insecure)
		if err != nil {
			return err
		}
		return remote.Write(tag, image)
	}
	if err := push("one"); err != nil {
		return nil, err
	}
	err := w.add(ctx, ociRepositories, "OCIRepository", "bench", map[string]any{
		"interval": "2s", "insecure": true, "url": "oci://" + strings.TrimPrefix(server.URL, "http://") + "/bench",
	})
	if err != nil {
		return nil, err
	}
	first, err := w.awaitReady(ctx, ociRepositories, "bench", "")
	if err != nil {
		return nil, err
	}
	if err := w.settle(ctx); err != nil {
		return nil, err
	}
	served.reset()
	p, err := w.polls(ctx, "OCIRepository", "bench")
	if err != nil {
		return nil, err
	}
	requests, heads, sent := served.requests.Load(), served.heads.Load(), served.sent.Load()
	changed, err := w.watched(ctx, func() error {
		if err := push("two"); err != nil {
			return err
		}
		_, err := w.awaitReady(ctx, ociRepositories, "bench", first)
		return err
	})
	if err != nil {
		return nil, err
	}
	return append([]figure{
		{"requests per poll", float64(requests) / p.polls, 1.2, "requests", fmt.Sprintf("%d of %d are HEAD; polls at the ends are counted in part", heads, requests)},
		{"bytes per poll", float64(sent) / p.polls, 0, "B", ""},
		{"new revision, API requests", float64(len(changed.source)), 3, "requests", harness.Summary(changed.source)},
		{"new revision, CPU", changed.cpu.Seconds() * 1000, -1, "ms", "with the polls meanwhile"},
	}, p.figures()...), nil
}

// behind counts what goes to a server, as a proxy that the object names.
func behind() (*counted, *httptest.Server) {
	forward := &http.Transport{DisableCompression: true}
	c := &counted{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		r.RequestURI = ""
		resp, err := forward.RoundTrip(r)
		if err != nil {
			w.WriteHeader(http.StatusBadGateway)
			return
		}
		defer resp.Body.Close() //nolint:errcheck // read only
		for key, values := range resp.Header {
			w.Header()[key] = values
		}
		w.WriteHeader(resp.StatusCode)
		_, _ = io.Copy(w, resp.Body)
	})}
	return c, httptest.NewServer(c)
}

func bucketPoll(ctx context.Context, w *world) ([]figure, error) {
	server, err := harness.StartS3(w.dir, "", "")
	if errors.Is(err, harness.ErrNoS3) {
		return nil, err
	}
	if err != nil {
		return nil, err
	}
	defer server.Close()
	const objects = 2000
	for i := range objects {
		if err := server.Put("bench", fmt.Sprintf("d%d/f%d.yaml", i/100, i), noise(i, 1<<10)); err != nil {
			return nil, err
		}
	}
	counter, proxy := behind()
	defer proxy.Close()
	for name, data := range map[string]map[string]any{
		"s3": {"accesskey": server.AccessKey, "secretkey": server.SecretKey}, "proxy": {"address": proxy.URL},
	} {
		o := object("v1", "Secret", name, nil)
		o.Object["stringData"] = data
		if _, err := w.dyn.Resource(secrets).Namespace(namespace).Create(ctx, o, metav1.CreateOptions{}); err != nil {
			return nil, err
		}
	}
	idle, err := w.idle(ctx)
	if err != nil {
		return nil, err
	}
	var first string
	install, err := w.watched(ctx, func() error {
		err := w.add(ctx, buckets, "Bucket", "bench", map[string]any{
			"interval": "4s", "endpoint": server.Endpoint, "insecure": true, "bucketName": "bench", "region": "us-east-1",
			"secretRef": map[string]any{"name": "s3"}, "proxySecretRef": map[string]any{"name": "proxy"},
		})
		if err != nil {
			return err
		}
		first, err = w.awaitReady(ctx, buckets, "bench", "")
		return err
	})
	if err != nil {
		return nil, err
	}
	installed := counter.requests.Load()
	counter.reset()
	p, err := w.polls(ctx, "Bucket", "bench")
	if err != nil {
		return nil, err
	}
	requests, sent := counter.requests.Load(), counter.sent.Load()
	changed, err := w.watched(ctx, func() error {
		if err := server.Put("bench", "d0/f0.yaml", "changed"); err != nil {
			return err
		}
		_, err := w.awaitReady(ctx, buckets, "bench", first)
		return err
	})
	if err != nil {
		return nil, err
	}
	const mib = 1 << 20
	return append([]figure{
		{"first: requests to the server", float64(installed), objects * 1.1, "requests", fmt.Sprintf("%d objects", objects)},
		{"first: CPU", install.cpu.Seconds(), -1, "s", ""},
		{"first: memory above idle", float64(install.peak-idle) / mib, 64, "MiB", ""},
		{"requests per poll", float64(requests) / p.polls, 3, "requests", "two pages of a listing"},
		{"bytes per poll", float64(sent) / p.polls / 1024, -1, "KiB", ""},
		{"one changed, API requests", float64(len(changed.source)), 3, "requests", harness.Summary(changed.source)},
		{"one changed, CPU", changed.cpu.Seconds() * 1000, -1, "ms", "with the polls meanwhile"},
	}, p.figures()...), nil
}
