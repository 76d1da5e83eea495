package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/gitops-toolkit/flux/internal/charts/index"
	"github.com/gitops-toolkit/flux/internal/charts/index/indextest"
	"github.com/gitops-toolkit/flux/test/harness"
)

// Rows about Helm repositories and charts.
func init() {
	rows = append(rows,
		row{"HelmRepository with a 20 MB index, 50 charts of it", "parsed whole for each chart", "unchanged: 1 conditional request; changed: peak heap ≤ 3× index, then dropped", largeIndex},
		row{"parsing an index of 20 MB", "20 to 30 times the index on the heap", "peak heap ≤ 3× index", parseIndex},
	)
}

var (
	indexSources = schema.GroupVersionResource{Group: fluxURL, Version: "v1", Resource: "helmrepositories"}
	chartSources = schema.GroupVersionResource{Group: fluxURL, Version: "v1", Resource: "helmcharts"}
)

const (
	indexSize   = 20 << 20
	indexCharts = 200
	chartsOfIt  = 50
)

// parseIndex measures the library alone, in this process.
func parseIndex(_ context.Context, w *world) ([]figure, error) {
	path := w.dir + "/index.yaml"
	if err := os.WriteFile(path, []byte(indextest.Generate(indexSize, indexCharts)), 0o600); err != nil {
		return nil, err
	}
	var size int64
	var summary index.Summary
	var failed error
	began := time.Now()
	peak := indextest.Peak(func() {
		in, err := os.Open(path)
		if err != nil {
			failed = err
			return
		}
		defer in.Close() //nolint:errcheck // read only
		out, err := os.Create(path + ".json")
		if err != nil {
			failed = err
			return
		}
		defer out.Close() //nolint:errcheck // nobody reads it
		if _, summary, failed = index.Convert(in, out, w.dir); failed == nil {
			size, failed = in.Seek(0, 1)
		}
	})
	if failed != nil {
		return nil, failed
	}
	const mib = 1 << 20
	return []figure{
		{"peak heap", float64(peak) / mib, 3 * float64(size) / mib, "MiB", fmt.Sprintf("%.1f MiB of index, %d versions", float64(size)/mib, summary.Versions)},
		{"time", time.Since(began).Seconds(), -1, "s", ""},
	}, nil
}

// chartServer serves an index with validators, and the same small archive for every chart.
type chartServer struct {
	*httptest.Server
	mu           sync.Mutex
	index, chart []byte
	etag         string
	asked, whole int // requests for the index, and answers with all of it
}

func newChartServer(chart []byte) *chartServer {
	s := &chartServer{chart: chart}
	s.Server = httptest.NewServer(http.HandlerFunc(s.serve))
	return s
}

func (s *chartServer) set(index string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.index, s.etag = []byte(index), fmt.Sprintf(`"%d"`, len(index))
}

func (s *chartServer) serve(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !strings.HasSuffix(r.URL.Path, "/index.yaml") {
		http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(s.chart))
		return
	}
	s.asked++
	if r.Header.Get("If-None-Match") != s.etag {
		s.whole++
	}
	w.Header().Set("ETag", s.etag)
	http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(s.index))
}

// counts returns and forgets what was asked for.
func (s *chartServer) counts() (asked, whole int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	asked, whole = s.asked, s.whole
	s.asked, s.whole = 0, 0
	return asked, whole
}

func largeIndex(ctx context.Context, w *world) ([]figure, error) {
	packed, err := packedChart()
	if err != nil {
		return nil, err
	}
	server := newChartServer(packed)
	defer server.Close()
	text := strings.NewReplacer("https://charts.example.com", server.URL, indextest.Digest, fmt.Sprintf("%x", sha256.Sum256(packed))).
		Replace(indextest.Generate(indexSize, indexCharts))
	server.set(text)
	idle, err := w.idle(ctx)
	if err != nil {
		return nil, err
	}
	first, err := w.watched(ctx, func() error { return w.offerIndex(ctx, server.URL) })
	if err != nil {
		return nil, err
	}
	charts, err := w.watched(ctx, func() error { return w.createCharts(ctx) })
	if err != nil {
		return nil, err
	}
	server.counts()
	before, err := w.source.Passes("HelmRepository", "bench")
	if err != nil {
		return nil, err
	}
	quiet, err := w.watched(ctx, func() error { return rest(ctx, 20*time.Second) })
	if err != nil {
		return nil, err
	}
	after, err := w.source.Passes("HelmRepository", "bench")
	if err != nil {
		return nil, err
	}
	asked, whole := server.counts()
	known, err := w.indexRevision(ctx)
	if err != nil {
		return nil, err
	}
	server.set(text + "# another\n")
	changed, err := w.watched(ctx, func() error { return w.awaitIndex(ctx, known) })
	if err != nil {
		return nil, err
	}
	end, err := w.source.AnonBytes()
	if err != nil {
		return nil, err
	}
	polls := after - before
	const mib = 1 << 20
	size := float64(len(text)) / mib
	above := func(bytes int64) float64 { return float64(bytes-idle) / mib }
	return []figure{
		{"first index, memory above idle", above(first.peak), 3 * size, "MiB", fmt.Sprintf("index of %.1f MiB", size)},
		{"first index, CPU", first.cpu.Seconds(), -1, "s", ""},
		{"charts, memory above idle", above(charts.peak), 3 * size, "MiB", fmt.Sprintf("%d charts", chartsOfIt)},
		{"charts, CPU each", charts.cpu.Seconds() * 1000 / chartsOfIt, 60, "ms", ""},
		{"unchanged, requests per poll", float64(asked) / polls, 1, "requests", fmt.Sprintf("%.0f polls, %d whole", polls, whole)},
		{"unchanged, API requests", float64(len(quiet.source)), 0, "requests", harness.Summary(quiet.source)},
		{"unchanged, CPU per poll", quiet.cpu.Seconds() * 1000 / polls, -1, "ms", ""},
		{"changed, memory above idle", above(changed.peak), 3 * size, "MiB", "the charts look at it too"},
		{"changed, CPU", changed.cpu.Seconds(), -1, "s", ""},
		{"at the end, memory above idle", above(end), -1, "MiB", ""},
	}, nil
}

// effort is what source-controller spent on some work, and the most memory it had meanwhile.
type effort struct {
	source []harness.Request
	cpu    time.Duration
	peak   int64
}

func (w *world) watched(ctx context.Context, work func() error) (effort, error) {
	peak, stop := make(chan int64, 1), make(chan struct{})
	go func() { peak <- w.peak(stop) }()
	u, err := w.spend(ctx, work)
	close(stop)
	return effort{u.source, u.sourceCPU, <-peak}, err
}

func (w *world) offerIndex(ctx context.Context, url string) error {
	o := object(fluxURL+"/v1", "HelmRepository", "bench", map[string]any{"interval": "2s", "url": url})
	if _, err := w.dyn.Resource(indexSources).Namespace(namespace).Create(ctx, o, metav1.CreateOptions{}); err != nil {
		return err
	}
	return w.awaitIndex(ctx, "")
}

func (w *world) indexRevision(ctx context.Context) (string, error) {
	got, err := w.dyn.Resource(indexSources).Namespace(namespace).Get(ctx, "bench", metav1.GetOptions{})
	if err != nil {
		return "", err
	}
	revision, _, err := unstructured.NestedString(got.Object, "status", "artifact", "revision")
	return revision, err
}

// awaitIndex waits for a revision of the index other than the known one.
func (w *world) awaitIndex(ctx context.Context, known string) error {
	return w.watch(ctx, indexSources, func(o *unstructured.Unstructured) bool {
		revision, _, _ := unstructured.NestedString(o.Object, "status", "artifact", "revision")
		return revision != "" && revision != known
	})
}

func (w *world) createCharts(ctx context.Context) error {
	for i := range chartsOfIt {
		o := object(fluxURL+"/v1", "HelmChart", fmt.Sprintf("chart-%d", i), map[string]any{
			"interval": "1h", "chart": fmt.Sprintf("chart-%03d", i), "sourceRef": map[string]any{"kind": "HelmRepository", "name": "bench"},
		})
		if _, err := w.dyn.Resource(chartSources).Namespace(namespace).Create(ctx, o, metav1.CreateOptions{}); err != nil {
			return err
		}
	}
	ready := map[string]bool{}
	return w.watch(ctx, chartSources, func(o *unstructured.Unstructured) bool {
		if conditionStatus(o, "Ready") == "True" {
			ready[o.GetName()] = true
		}
		return len(ready) == chartsOfIt
	})
}
