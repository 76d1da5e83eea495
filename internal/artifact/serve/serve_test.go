package serve

import (
	"bufio"
	"context"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gitops-toolkit/flux/internal/artifact"
	"github.com/gitops-toolkit/flux/internal/artifact/store"
)

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// fixture is a store with one artifact of each kind of name, stored at a known time.
func fixture(t *testing.T) (*store.Store, *httptest.Server, artifact.Ref) {
	t.Helper()
	stored := time.Date(2026, 11, 21, 5, 39, 25, 0, time.UTC)
	st, err := store.Open(store.Options{Root: t.TempDir(), Advertised: "x", Now: func() time.Time { return stored }})
	must(t, err)
	t.Cleanup(func() { must(t, st.Close()) })
	ref := put(t, st, store.Name{Kind: "gitrepository", Namespace: "flux-system", Name: "fleet", File: "f86e.tar.gz"}, strings.Repeat("0123456789", 300))
	for _, n := range []store.Name{
		{Kind: "helmchart", Namespace: "flux-system", Name: "c", File: "demo-1.0.0+1.tgz"},
		{Kind: "helmrepository", Namespace: "flux-system", Name: "charts", File: "index-1.yaml"},
		{Kind: "ocirepository", Namespace: "flux-system", Name: "m", File: "sha256:e02e.tar.gz"},
	} {
		put(t, st, n, "content of "+n.Path())
	}
	server := httptest.NewServer(Handler(st))
	t.Cleanup(server.Close)
	return st, server, ref
}

func put(t *testing.T, st *store.Store, n store.Name, text string) artifact.Ref {
	t.Helper()
	ref, err := st.Put(t.Context(), n, "r", nil, func(w io.Writer) error {
		_, err := io.WriteString(w, text)
		return err
	})
	must(t, err)
	return ref
}

func do(t *testing.T, method, url string, headers map[string]string) (*http.Response, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, url, nil)
	must(t, err)
	for k, v := range headers {
		req.Header.Set(k, v)
	}
	client := &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	resp, err := client.Do(req)
	must(t, err)
	defer resp.Body.Close() //nolint:errcheck // read to its end
	body, err := io.ReadAll(resp.Body)
	must(t, err)
	return resp, string(body)
}

func TestServe(t *testing.T) {
	t.Parallel()
	_, server, ref := fixture(t)
	etag := `"` + ref.Digest.String() + `"`
	whole := strings.Repeat("0123456789", 300)
	const file = "/gitrepository/flux-system/fleet/f86e.tar.gz"
	for _, tt := range []struct {
		reason, method, path string
		headers              map[string]string
		status               int
		body                 string
		want                 map[string]string
	}{
		{reason: "whole file", path: file, status: 200, body: whole, want: map[string]string{
			"Content-Type": "application/gzip", "Content-Length": "3000", "Accept-Ranges": "bytes", "ETag": etag, "Last-Modified": "Sat, 21 Nov 2026 05:39:25 GMT",
		}},
		{reason: "HEAD", method: "HEAD", path: file, status: 200, want: map[string]string{"Content-Length": "3000", "ETag": etag}},
		{reason: "POST is taken for GET, as upstream does", method: "POST", path: file, status: 200, body: whole},
		{reason: "range", path: file, headers: map[string]string{"Range": "bytes=0-9"}, status: 206, body: "0123456789", want: map[string]string{"Content-Range": "bytes 0-9/3000"}},
		{reason: "range of other content", path: file, headers: map[string]string{"Range": "bytes=0-9", "If-Range": `"sha256:other"`}, status: 200, body: whole},
		{reason: "range beyond the end", path: file, headers: map[string]string{"Range": "bytes=99999999-"}, status: 416, body: "invalid range: failed to overlap\n", want: map[string]string{"Content-Range": "bytes */3000"}},
		{reason: "unchanged by digest", path: file, headers: map[string]string{"If-None-Match": etag}, status: 304},
		{reason: "changed by digest", path: file, headers: map[string]string{"If-None-Match": `"sha256:other"`}, status: 200, body: whole},
		{reason: "unchanged by time", path: file, headers: map[string]string{"If-Modified-Since": "Sat, 21 Nov 2026 05:39:25 GMT"}, status: 304},
		{reason: "digest in the file name", path: "/ocirepository/flux-system/m/sha256:e02e.tar.gz", status: 200, body: "content of ocirepository/flux-system/m/sha256:e02e.tar.gz"},
		{reason: "plus in the file name", path: "/helmchart/flux-system/c/demo-1.0.0+1.tgz", status: 200, body: "content of helmchart/flux-system/c/demo-1.0.0+1.tgz", want: map[string]string{"Content-Type": "application/x-compressed-tar"}},
		{reason: "index", path: "/helmrepository/flux-system/charts/index-1.yaml", status: 200, body: "content of helmrepository/flux-system/charts/index-1.yaml", want: map[string]string{"Content-Type": "application/x-yaml"}},
		{reason: "absent", path: "/gitrepository/flux-system/fleet/absent.tar.gz", status: 404, body: "404 page not found\n", want: map[string]string{"Content-Type": "text/plain; charset=utf-8"}},
		{reason: "directory", path: "/gitrepository/flux-system/fleet/", status: 200, body: "<!doctype html>\n<meta name=\"viewport\" content=\"width=device-width\">\n<pre>\n<a href=\"f86e.tar.gz\">f86e.tar.gz</a>\n</pre>\n"},
		{reason: "root", path: "/", status: 200, body: "<!doctype html>\n<meta name=\"viewport\" content=\"width=device-width\">\n<pre>\n<a href=\"gitrepository/\">gitrepository/</a>\n<a href=\"helmchart/\">helmchart/</a>\n<a href=\"helmrepository/\">helmrepository/</a>\n<a href=\"ocirepository/\">ocirepository/</a>\n</pre>\n"},
		{reason: "directory without slash", path: "/gitrepository/flux-system/fleet", status: 301, want: map[string]string{"Location": "fleet/"}},
		{reason: "colon in a link must not look like a scheme", path: "/ocirepository/flux-system/m/", status: 200, body: "<!doctype html>\n<meta name=\"viewport\" content=\"width=device-width\">\n<pre>\n<a href=\"./sha256:e02e.tar.gz\">sha256:e02e.tar.gz</a>\n</pre>\n"},
		{reason: "store's own directory", path: "/.store/", status: 404, body: "404 page not found\n"},
		{reason: "lock file", path: file + ".lock", status: 404, body: "404 page not found\n"},
	} {
		t.Run(tt.reason, func(t *testing.T) {
			t.Parallel()
			method := tt.method
			if method == "" {
				method = "GET"
			}
			resp, body := do(t, method, server.URL+tt.path, tt.headers)
			if resp.StatusCode != tt.status || body != tt.body {
				t.Errorf("got %d %q, want %d %q", resp.StatusCode, body, tt.status, tt.body)
			}
			for k, v := range tt.want {
				if got := resp.Header.Get(k); got != v {
					t.Errorf("%s is %q, want %q", k, got, v)
				}
			}
		})
	}
}

// TestTraversal asks for files outside, next to and inside the store by raw paths.
func TestTraversal(t *testing.T) {
	t.Parallel()
	st, server, ref := fixture(t)
	must(t, os.Symlink("/etc/passwd", filepath.Join(filepath.Dir(filePath(t, st, ref)), "link.tar.gz")))
	for _, path := range []string{
		"/../../etc/passwd", "/..%2f..%2fetc/passwd", "/gitrepository/../../x", "/gitrepository/%2e%2e/%2e%2e/etc/passwd", "//etc/passwd",
		"/gitrepository/flux-system/fleet/..%5c..%5cx", "/gitrepository/flux-system/fleet/link.tar.gz", "/gitrepository/flux-system/fleet/%00",
		"/.store/lock", "/gitrepository/flux-system/fleet/../../../.store/lock",
	} {
		status := raw(t, server.Listener.Addr().String(), path)
		if !slices.Contains([]string{"301", "307", "400", "404"}, status) {
			t.Errorf("%s: got %s", path, status)
		}
	}
}

func filePath(t *testing.T, st *store.Store, ref artifact.Ref) string {
	t.Helper()
	f, err := st.OpenFile(ref.Path)
	must(t, err)
	defer f.Close() //nolint:errcheck // read only
	return f.Name()
}

// raw sends a path as it is and returns the status code.
func raw(t *testing.T, addr, path string) string {
	t.Helper()
	conn, err := net.Dial("tcp", addr)
	must(t, err)
	defer conn.Close() //nolint:errcheck // the answer is all that matters
	_, err = io.WriteString(conn, "GET "+path+" HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
	must(t, err)
	line, err := bufio.NewReader(conn).ReadString('\n')
	must(t, err)
	return strings.Fields(line)[1]
}

// TestServeStops ends the server while a download runs: the download finishes.
func TestServeStops(t *testing.T) {
	t.Parallel()
	st, _, _ := fixture(t)
	big := put(t, st, store.Name{Kind: "gitrepository", Namespace: "a", Name: "big", File: "1.tar.gz"}, strings.Repeat("x", 8<<20))
	l, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- Serve(ctx, l, Handler(st)) }()
	resp, err := http.Get("http://" + l.Addr().String() + "/" + big.Path)
	must(t, err)
	defer resp.Body.Close() //nolint:errcheck // read to its end
	cancel()
	n, err := io.Copy(io.Discard, resp.Body)
	if n != 8<<20 || err != nil {
		t.Errorf("%d bytes, %v", n, err)
	}
	if err := <-done; err != nil {
		t.Error(err)
	}
	if _, err := net.Dial("tcp", l.Addr().String()); err == nil {
		t.Error("the listener is still open")
	}
}
