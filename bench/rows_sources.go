package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync"
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

	"github.com/gitops-toolkit/flux/internal/artifact"
	"github.com/gitops-toolkit/flux/internal/artifact/archive"
	"github.com/gitops-toolkit/flux/internal/artifact/cache"
	"github.com/gitops-toolkit/flux/internal/charts/index/indextest"
	"github.com/gitops-toolkit/flux/test/harness"
	"github.com/gitops-toolkit/flux/test/servers/git"
)

// Rows about the other sources, and the cache of artifacts.
func init() {
	rows = append(rows,
		row{"100 GitRepositories on one repository of 10,000 files, 100 MB", "a clone for each", "one mirror; a push is fetched once, and costs kilobytes, ≤ 5 s CPU for all, ≤ 64 MiB above idle", hundredOfOne},
		row{"1,000 sources at a host that never answers, 10 healthy ones", "the dead take all workers in turn", "the healthy keep their intervals", deadHost},
		row{"OCIRepository poll, unchanged tag", "1 HEAD and status patches", "1 HEAD, 0 API writes", ociPoll},
		row{"Bucket of 2,000 objects at an S3 server", "listed twice, and all fetched again after a change", "unchanged: one listing, 0 objects, 0 API writes; one changed: 1 object", bucketPoll},
		row{"artifact cache: 100 consumers of one artifact of 100 MB", "100 downloads, 100 unpacks", "1 download, 1 unpack", artifactCache},
	)
}

var (
	ociRepositories = schema.GroupVersionResource{Group: fluxURL, Version: "v1", Resource: "ocirepositories"}
	buckets         = schema.GroupVersionResource{Group: fluxURL, Version: "v1", Resource: "buckets"}
)

// followers is how many GitRepositories share the repository.
const followers = 100

func followerName(i int) string { return fmt.Sprintf("follower-%d", i) }

// awaitFollowers waits until all have an artifact of the revision.
func (w *world) awaitFollowers(ctx context.Context, revision string) error {
	ready := map[string]bool{}
	return w.watch(ctx, gitRepositories, func(o *unstructured.Unstructured) bool {
		got, _, _ := unstructured.NestedString(o.Object, "status", "artifact", "revision")
		if got == revision && conditionStatus(o, "Ready") == "True" {
			ready[o.GetName()] = true
		}
		return len(ready) == followers
	})
}

// fetches counts the requests that moved more than a listing of refs does.
func fetches(requests []git.Request) (n int) {
	for _, r := range requests {
		if !r.Advertise && r.Sent > 1024 {
			n++
		}
	}
	return n
}

func hundredOfOne(ctx context.Context, w *world) ([]figure, error) {
	files := map[string]string{}
	for i := range 10_000 {
		files[fmt.Sprintf("data/d%d/f%d.txt", i/100, i)] = noise(i, 10<<10)
	}
	first, err := w.commit(files)
	if err != nil {
		return nil, err
	}
	if err := w.settle(ctx); err != nil {
		return nil, err
	}
	idle, err := w.source.AnonBytes()
	if err != nil {
		return nil, err
	}
	w.git.ResetRequests()
	began := time.Now()
	install, err := w.watched(ctx, func() error {
		for i := range followers {
			o := object(fluxURL+"/v1", "GitRepository", followerName(i), map[string]any{
				"interval": "1h", "url": w.git.HTTPURL("bench"), "ref": map[string]any{"branch": "main"},
			})
			if err := w.create(ctx, o); err != nil {
				return err
			}
		}
		return w.awaitFollowers(ctx, first)
	})
	if err != nil {
		return nil, err
	}
	installed, cloned := time.Since(began), w.git.Requests()
	w.git.ResetRequests()
	began = time.Now()
	push, err := w.watched(ctx, func() error {
		second, err := w.commit(map[string]string{"data/d7/f700.txt": noise(-1, 10<<10)})
		if err != nil {
			return err
		}
		for i := range followers {
			if err := w.annotate(ctx, gitRepositories, followerName(i)); err != nil {
				return err
			}
		}
		return w.awaitFollowers(ctx, second)
	})
	if err != nil {
		return nil, err
	}
	pushed := time.Since(began)
	requests := w.git.Requests()
	const mib = 1 << 20
	above := func(bytes int64) float64 { return float64(bytes-idle) / mib }
	return []figure{
		{"first: fetches", float64(fetches(cloned)), 1, "fetches", fmt.Sprintf("%d requests", len(cloned))},
		{"first: moved", float64(git.Sent(cloned)) / mib, -1, "MiB", ""},
		{"first: CPU", install.cpu.Seconds(), -1, "s", fmt.Sprintf("%.0f s until all are ready", installed.Seconds())},
		{"first: memory above idle", above(install.peak), 180, "MiB", "what upstream needs for one"},
		{"push: fetches", float64(fetches(requests)), 1, "fetches", fmt.Sprintf("%d requests", len(requests))},
		{"push: moved", float64(git.Sent(requests)) / 1024, 256, "KiB", "listings of refs included"},
		{"push: CPU", push.cpu.Seconds(), 5, "s", fmt.Sprintf("%.1f s until all are ready", pushed.Seconds())},
		{"push: memory above idle", above(push.peak), 64, "MiB", ""},
		{"push: API requests for each", float64(len(push.source)) / followers, 3, "requests", harness.Summary(push.source)},
	}, nil
}

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

// pack makes an archive of files.
func pack(ctx context.Context, files map[string]string) ([]byte, error) {
	tree := archive.NewListTree()
	for path, data := range files {
		err := tree.Add(path, archive.ListFile{Size: int64(len(data)), ID: path, Open: func() (io.ReadCloser, error) { return io.NopCloser(strings.NewReader(data)), nil }})
		if err != nil {
			return nil, err
		}
	}
	var b bytes.Buffer
	_, err := archive.NewBuilder(archive.Options{}).Write(ctx, &b, tree, archive.Ignore{Nothing: true})
	return b.Bytes(), err
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
	if err := w.settle(ctx); err != nil {
		return nil, err
	}
	idle, err := w.source.AnonBytes()
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

// blobs is a fetcher of one artifact that counts.
type blobs struct {
	data      []byte
	downloads atomic.Int64
}

// Fetch writes the artifact.
func (b *blobs) Fetch(_ context.Context, _ artifact.Ref, f *os.File) error {
	b.downloads.Add(1)
	_, err := f.Write(b.data)
	return err
}

func artifactCache(ctx context.Context, w *world) ([]figure, error) {
	files := map[string]string{}
	for i := range 10_000 {
		files[fmt.Sprintf("data/d%d/f%d.txt", i/100, i)] = noise(i, 10<<10)
	}
	data, err := pack(ctx, files)
	if err != nil {
		return nil, err
	}
	files = nil
	source := &blobs{data: data}
	trees, err := cache.Open(cache.Options{Dir: w.dir + "/cache", Fetcher: source})
	if err != nil {
		return nil, err
	}
	defer trees.Close() //nolint:errcheck // thrown away
	ref := artifact.Ref{Path: "x", URL: "http://x/x", Revision: "x", Digest: artifact.DigestOf(artifact.SHA256, data), Size: int64(len(data))}
	var failed error
	var once sync.Once
	began := time.Now()
	peak := indextest.Peak(func() {
		var group sync.WaitGroup
		for range 100 {
			group.Go(func() {
				tree, err := trees.Acquire(ctx, ref)
				if err != nil {
					once.Do(func() { failed = err })
					return
				}
				_ = tree.Digest("data/d7")
				tree.Release()
			})
		}
		group.Wait()
	})
	return []figure{
		{"downloads", float64(source.downloads.Load()), 1, "downloads", fmt.Sprintf("%.0f MiB packed, 10,000 files", float64(len(data))/(1<<20))},
		{"until all 100 have it", time.Since(began).Seconds(), -1, "s", ""},
		{"peak heap", float64(peak) / (1 << 20), 64, "MiB", ""},
	}, failed
}

// deadHost has a thousand sources at a host that takes connections and says nothing.
func deadHost(ctx context.Context, w *world) ([]figure, error) {
	const dead, healthy, interval = 1000, 10, 5
	if _, err := w.commit(app("warm", "")); err != nil {
		return nil, err
	}
	silent, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	defer silent.Close() //nolint:errcheck // ends the row
	for i := range healthy {
		o := object(fluxURL+"/v1", "GitRepository", fmt.Sprintf("healthy-%d", i), map[string]any{
			"interval": fmt.Sprintf("%ds", interval), "url": w.git.HTTPURL("bench"), "ref": map[string]any{"branch": "main"},
		})
		if err := w.createAndAwaitReady(ctx, o); err != nil {
			return nil, err
		}
	}
	for i := range dead {
		o := object(fluxURL+"/v1", "GitRepository", fmt.Sprintf("dead-%d", i), map[string]any{
			"interval": "1m", "timeout": "60s", "url": fmt.Sprintf("http://%s/repo-%d", silent.Addr(), i), "ref": map[string]any{"branch": "main"},
		})
		if err := w.create(ctx, o); err != nil {
			return nil, err
		}
	}
	passes := func() (list []float64, err error) {
		for i := range healthy {
			n, err := w.source.Passes("GitRepository", fmt.Sprintf("healthy-%d", i))
			if err != nil {
				return nil, err
			}
			list = append(list, n)
		}
		return list, nil
	}
	before, err := passes()
	if err != nil {
		return nil, err
	}
	began := time.Now()
	if err := rest(ctx, 40*time.Second); err != nil {
		return nil, err
	}
	after, err := passes()
	if err != nil {
		return nil, err
	}
	took, worst := time.Since(began).Seconds(), 0.0
	for i := range healthy {
		worst = max(worst, took/max(after[i]-before[i], 0.1))
	}
	memory, err := w.source.AnonBytes()
	return []figure{
		{"longest mean interval of a healthy one", worst, interval * 1.3, "s", fmt.Sprintf("spec.interval is %d s", interval)},
		{"memory with a thousand hanging", float64(memory) / (1 << 20), -1, "MiB", ""},
	}, err
}
