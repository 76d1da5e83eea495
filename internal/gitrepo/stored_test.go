package gitrepo

import (
	"bytes"
	"context"
	"io"
	"net/http"
	"sync/atomic"
	"testing"

	"github.com/gitops-toolkit/flux/test/servers/git"
)

// TestStoredRevisionWaitsForNobody reads a revision that is in the mirror while a fetch of another
// one, from the same remote, hangs.
func TestStoredRevisionWaitsForNobody(t *testing.T) {
	t.Parallel()
	var hang atomic.Bool
	hanging := make(chan struct{}, 10)
	srv, repo, store := setup(t, git.Options{HTTP: git.AnyPort, Wrap: func(h http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			body, _ := io.ReadAll(r.Body)
			if hang.Load() && bytes.Contains(body, []byte("command=fetch")) {
				hanging <- struct{}{}
				<-r.Context().Done()
				return
			}
			r.Body = io.NopCloser(bytes.NewReader(body))
			h.ServeHTTP(w, r)
		})
	}})
	remote := Remote{URL: srv.HTTPURL("fleet")}
	_, before := get(t, store, remote, Reference{Branch: "main"})
	commit(t, repo, git.Change{Branch: "next", Message: "Next", Files: map[string]string{"n": "n"}})

	hang.Store(true)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	ended := make(chan error, 1)
	go func() {
		_, _, err := tryGet(ctx, store, remote, Reference{Branch: "next"})
		ended <- err
	}()
	<-hanging
	rev, files := get(t, store, remote, Reference{Branch: "main"})
	check(t, repo, rev, files, "main")
	if len(files) != len(before) {
		t.Errorf("%d files, want %d", len(files), len(before))
	}
	cancel()
	if err := <-ended; err == nil {
		t.Error("the fetch that hangs succeeded")
	}
}
