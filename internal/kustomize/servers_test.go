package kustomize_test

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"k8s.io/client-go/rest"

	"github.com/gitops-toolkit/flux/api/meta"
	"github.com/gitops-toolkit/flux/internal/artifact"
	"github.com/gitops-toolkit/flux/internal/artifact/fetch"
	"github.com/gitops-toolkit/flux/internal/kustomize"
)

// proxy passes requests on to the API server and remembers those that a controller is judged by.
type proxy struct {
	config *rest.Config

	mu    sync.Mutex
	seen  []string
	calls func(word string)
}

func newProxy(t *testing.T, config *rest.Config) *proxy {
	t.Helper()
	transport, err := rest.TransportFor(config)
	if err != nil {
		t.Fatal(err)
	}
	target, err := url.Parse(config.Host)
	if err != nil {
		t.Fatal(err)
	}
	p := &proxy{}
	reverse := &httputil.ReverseProxy{
		Transport: transport, FlushInterval: -1,
		Rewrite:      func(r *httputil.ProxyRequest) { r.SetURL(target) },
		ErrorHandler: func(w http.ResponseWriter, _ *http.Request, _ error) { w.WriteHeader(http.StatusBadGateway) },
	}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		p.note(r)
		reverse.ServeHTTP(w, r)
	}))
	t.Cleanup(func() {
		server.CloseClientConnections()
		server.Close()
	})
	p.config = &rest.Config{Host: server.URL, QPS: -1}
	return p
}

// note keeps a request in the words of the budgets.
func (p *proxy) note(r *http.Request) {
	path := strings.Trim(r.URL.Path, "/")
	query := r.URL.Query()
	if query.Get("watch") == "true" || strings.Contains(query.Get("labelSelector"), "toolkit.fluxcd.io/name") || strings.Contains(path, "/leases") {
		return // watches and the lists that they begin with
	}
	word := strings.ToLower(r.Method) + " " + path
	switch {
	case r.URL.Query().Get("dryRun") != "":
		word = "dry-run " + path
	case strings.HasSuffix(path, "/events") || strings.Contains(path, "/events/"):
		word = "event"
	case strings.Contains(path, "/kustomizations/") && strings.HasSuffix(path, "/status"):
		word = "status"
	case r.Method == http.MethodPatch:
		word = "apply " + path
	}
	p.mu.Lock()
	p.seen = append(p.seen, word)
	calls := p.calls
	p.mu.Unlock()
	if calls != nil {
		calls(word)
	}
}

// before calls f for each request before it is passed on.
func (p *proxy) before(f func(word string)) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.calls = f
}

// take returns the requests since the last call, and forgets them.
func (p *proxy) take() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	seen := p.seen
	p.seen = nil
	return seen
}

// count tells how many requests begin with a word.
func count(seen []string, word string) int {
	n := 0
	for _, s := range seen {
		if s == word || strings.HasPrefix(s, word+" ") {
			n++
		}
	}
	return n
}

// artifacts serves directories instead of archives.
type artifacts struct {
	t testing.TB

	mu      sync.Mutex
	dirs    map[string]string
	fetched int
	held    int
	block   chan struct{} // when set, acquire waits for it
}

func newArtifacts(t testing.TB) *artifacts { return &artifacts{t: t, dirs: map[string]string{}} }

type tree struct {
	dir string
	a   *artifacts
}

func (t *tree) Dir() string { return t.dir }

func (t *tree) Release() {
	t.a.mu.Lock()
	defer t.a.mu.Unlock()
	t.a.held--
}

func (a *artifacts) acquire(ctx context.Context, ref artifact.Ref) (kustomize.Tree, error) {
	a.mu.Lock()
	dir, block := a.dirs[ref.URL], a.block
	a.fetched++
	a.mu.Unlock()
	if block != nil {
		select {
		case <-block:
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
	}
	if dir == "" {
		return nil, fmt.Errorf("failed to download archive: %w", fetch.ErrNotFound)
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.held++
	return &tree{dir: dir, a: a}, nil
}

// fetches returns how many artifacts were asked for since the last call.
func (a *artifacts) fetches() int {
	a.mu.Lock()
	defer a.mu.Unlock()
	n := a.fetched
	a.fetched = 0
	return n
}

// add makes a directory of files and returns the artifact that stands for it.
func (a *artifacts) add(revision string, files map[string]string) *meta.Artifact {
	a.t.Helper()
	dir := a.t.(*testing.T).TempDir()
	hash := sha256.New()
	for name, content := range files {
		path := filepath.Join(dir, name)
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, []byte(content), 0o644)); err != nil {
			a.t.Fatal(err)
		}
		fmt.Fprint(hash, name, content)
	}
	url := "http://artifacts.invalid/" + filepath.Base(filepath.Dir(dir)) + filepath.Base(dir)
	a.mu.Lock()
	defer a.mu.Unlock()
	a.dirs[url] = dir
	return &meta.Artifact{
		Path: "gitrepository/x", URL: url, Revision: revision, Digest: fmt.Sprintf("sha256:%x", hash.Sum(nil)),
		LastUpdateTime: meta.NewTime(time.Now()),
	}
}
