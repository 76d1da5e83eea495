package fetch

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gitops-toolkit/flux/internal/artifact"
)

const body = "the artifact"

func ref(url string) artifact.Ref {
	return artifact.Ref{URL: url, Digest: artifact.DigestOf(artifact.SHA256, []byte(body))}
}

// waits records the time between attempts and waits for none.
type waits struct {
	mu   sync.Mutex
	list []time.Duration
}

func (w *waits) after(d time.Duration) <-chan time.Time {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.list = append(w.list, d)
	c := make(chan time.Time, 1)
	c <- time.Time{}
	return c
}

func fetch(t *testing.T, c *Client, r artifact.Ref) (string, error) {
	t.Helper()
	f, err := os.Create(filepath.Join(t.TempDir(), "artifact"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close() //nolint:errcheck // read below by name
	if err := c.Fetch(t.Context(), r, f); err != nil {
		return "", err
	}
	got, err := os.ReadFile(f.Name())
	if err != nil {
		t.Fatal(err)
	}
	return string(got), nil
}

// answers is a server that gives each request its next answer, the last one for ever.
func answers(t *testing.T, list ...http.HandlerFunc) (url string, asked func() int) {
	t.Helper()
	var mu sync.Mutex
	n := 0
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		answer := list[min(n, len(list)-1)]
		n++
		mu.Unlock()
		answer(w, r)
	}))
	t.Cleanup(server.Close)
	return server.URL, func() int {
		mu.Lock()
		defer mu.Unlock()
		return n
	}
}

func status(code int) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(code) }
}

func ok(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, body) }

// cut ends the connection in the middle of the body.
func cut(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Length", fmt.Sprint(len(body)))
	_, _ = io.WriteString(w, body[:3])
	panic(http.ErrAbortHandler)
}

func TestFetch(t *testing.T) {
	t.Parallel()
	longer := func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, body+" and more") }
	for _, tt := range []struct {
		reason  string
		answers []http.HandlerFunc
		change  func(*artifact.Ref)
		asked   int
		check   func(error) bool
		text    string
	}{
		{reason: "at once", answers: []http.HandlerFunc{ok}, asked: 1},
		{reason: "server fails, then recovers", answers: []http.HandlerFunc{status(503), status(500), ok}, asked: 3},
		{reason: "connection breaks, then holds", answers: []http.HandlerFunc{cut, cut, ok}, asked: 3},
		{reason: "server fails for ever", answers: []http.HandlerFunc{status(500)}, asked: 10, text: "failed to download archive: GET http://127.0.0.1"},
		{reason: "gone", answers: []http.HandlerFunc{status(404)}, asked: 1, check: is(ErrNotFound), text: "failed to download archive: "},
		{reason: "forbidden is not retried", answers: []http.HandlerFunc{status(403)}, asked: 1, text: "returned status 403"},
		{reason: "other content", answers: []http.HandlerFunc{longer}, asked: 1, check: func(err error) bool {
			var d *DigestError
			return errors.As(err, &d)
		}, text: "failed to verify archive: computed digest doesn't match provided 'sha256:"},
		{reason: "larger than said", answers: []http.HandlerFunc{longer}, change: func(r *artifact.Ref) { r.Size = int64(len(body)) }, asked: 1, check: is(ErrTooLarge)},
		{reason: "smaller than said but right", answers: []http.HandlerFunc{ok}, change: func(r *artifact.Ref) { r.Size = 1000 }, asked: 1},
		{reason: "no digest", answers: []http.HandlerFunc{ok}, change: func(r *artifact.Ref) { r.Digest = "" }, text: "failed to verify archive: digest ''"},
		{reason: "unknown algorithm", answers: []http.HandlerFunc{ok}, change: func(r *artifact.Ref) { r.Digest = "md5:00" }, check: is(artifact.ErrUnknownAlgorithm)},
		{reason: "file", answers: []http.HandlerFunc{ok}, change: func(r *artifact.Ref) { r.URL = "file:///etc/passwd" }, text: "must be of scheme http or https"},
		{reason: "credentials stay out of errors", answers: []http.HandlerFunc{status(404)}, change: func(r *artifact.Ref) {
			r.URL = strings.Replace(r.URL, "http://", "http://user:canary@", 1)
		}, asked: 1, text: "user:xxxxx@"},
	} {
		t.Run(tt.reason, func(t *testing.T) {
			t.Parallel()
			url, asked := answers(t, tt.answers...)
			r := ref(url)
			if tt.change != nil {
				tt.change(&r)
			}
			var w waits
			got, err := fetch(t, New(Options{after: w.after}), r)
			if tt.check == nil && tt.text == "" {
				if err != nil || got != body {
					t.Errorf("got %q, %v", got, err)
				}
			} else if err == nil || !strings.Contains(err.Error(), tt.text) || tt.check != nil && !tt.check(err) {
				t.Errorf("got %v, want an error with %q", err, tt.text)
			}
			if err != nil && strings.Contains(err.Error(), "canary") {
				t.Errorf("the password is in %v", err)
			}
			if asked() != tt.asked {
				t.Errorf("asked %d times, want %d", asked(), tt.asked)
			}
		})
	}
}

func is(target error) func(error) bool {
	return func(err error) bool { return errors.Is(err, target) }
}

func TestTimeBetweenAttempts(t *testing.T) {
	t.Parallel()
	url, _ := answers(t, status(502))
	var w waits
	if _, err := fetch(t, New(Options{after: w.after}), ref(url)); err == nil {
		t.Error("want an error")
	}
	if got := fmt.Sprint(w.list); got != "[5s 10s 20s 30s 30s 30s 30s 30s 30s]" {
		t.Errorf("waited %s", got)
	}
}

func TestRefusedConnectionIsRetried(t *testing.T) {
	t.Parallel()
	server := httptest.NewServer(nil)
	server.Close()
	var w waits
	if _, err := fetch(t, New(Options{after: w.after, Retries: 2}), ref(server.URL)); err == nil || len(w.list) != 2 {
		t.Errorf("%v after %d retries", err, len(w.list))
	}
}

func TestUntrustedServerIsNot(t *testing.T) {
	t.Parallel()
	server := httptest.NewUnstartedServer(http.HandlerFunc(ok))
	server.Config.ErrorLog = nil
	server.StartTLS()
	t.Cleanup(server.Close)
	var w waits
	if _, err := fetch(t, New(Options{after: w.after}), ref(server.URL)); err == nil || len(w.list) != 0 {
		t.Errorf("%v after %d retries", err, len(w.list))
	}
}

func TestRedirects(t *testing.T) {
	t.Parallel()
	elsewhere, askedElsewhere := answers(t, ok)
	var w waits
	away, _ := answers(t, func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, elsewhere+"/x", http.StatusFound) })
	if _, err := fetch(t, New(Options{after: w.after}), ref(away)); !errors.Is(err, errRedirect) || askedElsewhere() > 0 || len(w.list) > 0 {
		t.Errorf("to another host: %v, asked %d times, %d retries", err, askedElsewhere(), len(w.list))
	}
	within, _ := answers(t, func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/moved", http.StatusFound) }, ok)
	if got, err := fetch(t, New(Options{after: w.after}), ref(within)); err != nil || got != body {
		t.Errorf("to the same host: %v", err)
	}
	loop, _ := answers(t, func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/again", http.StatusFound) })
	if _, err := fetch(t, New(Options{after: w.after, Retries: -1}), ref(loop)); err == nil {
		t.Error("an endless redirect succeeds")
	}
}

func TestHostOverride(t *testing.T) {
	t.Parallel()
	c := New(Options{SourceController: "localhost:1", SourceWatcher: "localhost:2"})
	only := New(Options{SourceWatcher: "localhost:2"})
	for _, tt := range []struct {
		client    *Client
		url, want string
	}{
		{c, "http://source-controller.flux-system.svc.cluster.local./a/b", "http://localhost:1/a/b"},
		{c, "http://source-watcher.flux-system.svc.cluster.local./a/b", "http://localhost:2/a/b"},
		{only, "http://source-controller.flux-system.svc./a", "http://source-controller.flux-system.svc./a"},
		{only, "http://source-watcher:9090/a", "http://localhost:2/a"},
	} {
		if got, err := tt.client.target(tt.url); err != nil || got.String() != tt.want {
			t.Errorf("%s: got %s, %v; want %s", tt.url, got, err, tt.want)
		}
	}
}

func TestCancel(t *testing.T) {
	t.Parallel()
	cause := errors.New("a newer revision is there")
	f, err := os.Create(filepath.Join(t.TempDir(), "x"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close() //nolint:errcheck // not read
	t.Run("while it hangs", func(t *testing.T) {
		ctx, cancel := context.WithCancelCause(t.Context())
		url, _ := answers(t, func(_ http.ResponseWriter, r *http.Request) {
			cancel(cause)
			<-r.Context().Done()
		})
		if err := New(Options{}).Fetch(ctx, ref(url), f); !errors.Is(err, cause) {
			t.Errorf("got %v", err)
		}
	})
	t.Run("between attempts", func(t *testing.T) {
		ctx, cancel := context.WithCancelCause(t.Context())
		url, _ := answers(t, status(500))
		never := func(time.Duration) <-chan time.Time {
			cancel(cause)
			return nil
		}
		if err := New(Options{after: never}).Fetch(ctx, ref(url), f); !errors.Is(err, cause) {
			t.Errorf("got %v", err)
		}
	})
}

func TestServerThatStopsSending(t *testing.T) {
	t.Parallel()
	url, _ := answers(t, func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.WriteString(w, body[:3])
		w.(http.Flusher).Flush()
		<-r.Context().Done()
	}, ok)
	var w waits
	got, err := fetch(t, New(Options{after: w.after, IdleTimeout: 300 * time.Millisecond}), ref(url))
	if err != nil || got != body || len(w.list) == 0 {
		t.Errorf("got %q, %v after %d retries", got, err, len(w.list))
	}
}
