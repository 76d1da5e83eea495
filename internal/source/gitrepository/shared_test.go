package gitrepository_test

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"sync/atomic"
	"testing"

	"github.com/gitops-toolkit/flux/test/servers/git"
)

// TestHundredShareOneFetch pushes to a repository that a hundred objects follow, and tells all of them at once: each
// lists refs, and the objects come once.
func TestHundredShareOneFetch(t *testing.T) {
	t.Parallel()
	const n = 100
	var fetches atomic.Int32
	l := newLab(t, git.Options{Wrap: func(h http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			body, _ := io.ReadAll(r.Body)
			if bytes.Contains(body, []byte("command=fetch")) {
				fetches.Add(1)
			}
			r.Body = io.NopCloser(bytes.NewReader(body))
			h.ServeHTTP(w, r)
		})
	}})
	l.start()
	first, err := l.repo.Resolve("main")
	l.Must(err)
	name := func(i int) string { return fmt.Sprintf("fleet-%d", i) }
	for i := range n {
		l.create(name(i), nil)
	}
	for i := range n {
		l.ready(name(i), "main@sha1:"+first)
	}
	before := fetches.Load()
	second := l.commit(map[string]string{"app/deploy.yaml": "replicas: 2\n"}, "Pushed")
	for i := range n {
		l.patch(name(i), `{"metadata":{"annotations":{"reconcile.fluxcd.io/requestedAt":"push"}}}`)
	}
	for i := range n {
		l.ready(name(i), "main@sha1:"+second)
	}
	if got := fetches.Load() - before; got != 1 {
		t.Errorf("the push was fetched %d times", got)
	}
}
