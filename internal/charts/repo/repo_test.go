package repo

import (
	"bytes"
	"compress/gzip"
	"context"
	"crypto/tls"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gitops-toolkit/flux/internal/auth"
	"github.com/gitops-toolkit/flux/internal/netcause"
)

// server is a web server that notes who came.
type server struct {
	*httptest.Server
	mu   sync.Mutex
	seen []string // path and user of each request
}

func start(t *testing.T, secure bool, handler http.HandlerFunc) *server {
	t.Helper()
	s := &server{}
	h := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		user, password, _ := r.BasicAuth()
		s.mu.Lock()
		s.seen = append(s.seen, r.URL.Path+" "+user+":"+password)
		s.mu.Unlock()
		handler(w, r)
	})
	s.Server = httptest.NewUnstartedServer(h)
	if secure {
		s.StartTLS()
	} else {
		s.Start()
	}
	t.Cleanup(s.Close)
	return s
}

func (s *server) requests() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]string(nil), s.seen...)
}

func open(t *testing.T, r Remote) *Repository {
	t.Helper()
	pool := &Pool{}
	t.Cleanup(pool.Close)
	repo, err := pool.Open(r)
	if err != nil {
		t.Fatal(err)
	}
	return repo
}

func serve(text string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, text) }
}

func TestConditionalIndex(t *testing.T) {
	t.Parallel()
	content := "apiVersion: v1\n"
	s := start(t, false, func(w http.ResponseWriter, r *http.Request) {
		etag := fmt.Sprintf("%q", fmt.Sprint(len(content)))
		w.Header().Set("ETag", etag)
		if r.Header.Get("If-None-Match") == etag {
			w.WriteHeader(http.StatusNotModified)
			return
		}
		w.Header().Set("Content-Encoding", "gzip")
		zw := gzip.NewWriter(w)
		_, _ = io.WriteString(zw, content)
		_ = zw.Close()
	})
	repo := open(t, Remote{URL: s.URL + "/charts/"})
	var out bytes.Buffer
	v, err := repo.Index(t.Context(), Validators{}, 100, &out)
	if err != nil || v.ETag != `"15"` || out.String() != content {
		t.Fatalf("%+v, %q, %v", v, out.String(), err)
	}
	if _, err := repo.Index(t.Context(), v, 100, io.Discard); !errors.Is(err, ErrNotModified) {
		t.Errorf("error %v", err)
	}
	content += "entries: {}\n"
	if now, err := repo.Index(t.Context(), v, 100, io.Discard); err != nil || now == v {
		t.Errorf("%+v, %v", now, err)
	}
	if seen := s.requests(); len(seen) != 3 || seen[0] != "/charts/index.yaml :" {
		t.Errorf("requests %q", seen)
	}
}

func TestErrors(t *testing.T) {
	t.Parallel()
	release := make(chan struct{})
	s := start(t, false, func(w http.ResponseWriter, r *http.Request) {
		switch {
		case strings.HasPrefix(r.URL.Path, "/busy"):
			w.Header().Set("Retry-After", "7")
			w.WriteHeader(http.StatusTooManyRequests)
		case strings.HasPrefix(r.URL.Path, "/large"):
			_, _ = io.WriteString(w, strings.Repeat("x", 2000))
		case strings.HasPrefix(r.URL.Path, "/cut"):
			w.Header().Set("Content-Length", "100")
			_, _ = io.WriteString(w, "apiVersion")
		case strings.HasPrefix(r.URL.Path, "/bomb"):
			w.Header().Set("Content-Encoding", "gzip")
			zw := gzip.NewWriter(w)
			_, _ = zw.Write(make([]byte, 10<<20))
			_ = zw.Close()
		case strings.HasPrefix(r.URL.Path, "/hangs"):
			select {
			case <-r.Context().Done():
			case <-release:
			}
		case strings.HasPrefix(r.URL.Path, "/circle"):
			http.Redirect(w, r, r.URL.Path, http.StatusFound)
		default:
			http.NotFound(w, r)
		}
	})
	defer close(release)
	for _, tc := range []struct{ path, says string }{
		{"absent", "failed to fetch " + s.URL + "/absent/index.yaml : 404 Not Found"},
		{"busy", " : 429 Too Many Requests"},
		{"large", "index exceeds the maximum index file size of 1000 bytes"},
		{"bomb", "index exceeds the maximum index file size of 1000 bytes"},
		{"cut", "unexpected EOF"},
		{"circle", "stopped after 10 redirects"},
		{"hangs", "context deadline exceeded"},
	} {
		ctx, cancel := t.Context(), context.CancelFunc(func() {})
		if tc.path == "hangs" {
			ctx, cancel = context.WithTimeout(ctx, 50*time.Millisecond)
		}
		_, err := open(t, Remote{URL: s.URL + "/" + tc.path}).Index(ctx, Validators{}, 1000, io.Discard)
		cancel()
		if err == nil || !strings.HasSuffix(err.Error(), tc.says) {
			t.Errorf("%s: %v", tc.path, err)
		}
		var status *StatusError
		if tc.path == "busy" && (!errors.As(err, &status) || status.After != 7*time.Second) {
			t.Errorf("busy: %+v", status)
		}
	}
}

// TestWhereCredentialsGo: an index is written by others, and names any host.
func TestWhereCredentialsGo(t *testing.T) {
	t.Parallel()
	const mine = "user:hunter2"
	elsewhere := start(t, false, serve("chart"))
	//lint:ignore S1021 the handler uses it
	var home *server
	home = start(t, false, func(w http.ResponseWriter, r *http.Request) {
		if to := r.URL.Query().Get("to"); to != "" {
			http.Redirect(w, r, to, http.StatusFound)
			return
		}
		_, _ = io.WriteString(w, "chart")
	})
	back := start(t, false, func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, home.URL+"/back.tgz", http.StatusFound)
	})
	for _, tc := range []struct {
		reason, ref string
		pass        bool
		home, there string // who came last
	}{
		{"the host of the repository", "a.tgz", false, "/charts/a.tgz " + mine, ""},
		{"the same by its full name", home.URL + "/b.tgz", false, "/b.tgz " + mine, ""},
		{"another host", elsewhere.URL + "/c.tgz", false, "", "/c.tgz :"},
		{"another host that may have them", elsewhere.URL + "/d.tgz", true, "", "/d.tgz " + mine},
		{"a redirect to another host", "e.tgz?to=" + url.QueryEscape(elsewhere.URL+"/e.tgz"), false, "/charts/e.tgz " + mine, "/e.tgz :"},
		{"a redirect to another host, though charts may be there", "f.tgz?to=" + url.QueryEscape(elsewhere.URL+"/f.tgz"), true, "/charts/f.tgz " + mine, "/f.tgz :"},
		{"a redirect with a login of its own", "g.tgz?to=" + url.QueryEscape(strings.Replace(elsewhere.URL, "//", "//a:b@", 1)+"/g.tgz"), false, "/charts/g.tgz " + mine, "/g.tgz :"},
		{"from another host back home", back.URL + "/x", false, "/back.tgz " + mine, ""},
	} {
		repo := open(t, Remote{URL: home.URL + "/charts", Username: "user", Password: "hunter2", PassCredentials: tc.pass})
		var out bytes.Buffer
		if err := repo.Chart(t.Context(), tc.ref, 100, &out); err != nil || out.String() != "chart" {
			t.Errorf("%s: %q, %v", tc.reason, out.String(), err)
		}
		for _, c := range []struct {
			s    *server
			want string
		}{{home, tc.home}, {elsewhere, tc.there}} {
			if seen := c.s.requests(); c.want != "" && (len(seen) == 0 || seen[len(seen)-1] != c.want) {
				t.Errorf("%s: requests %q, want %q at the end", tc.reason, seen, c.want)
			}
		}
	}
}

// TestCredentialsStayProtected: what goes out over TLS never goes out without.
func TestCredentialsStayProtected(t *testing.T) {
	t.Parallel()
	open1 := start(t, false, serve("chart"))
	home := start(t, true, func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, open1.URL+r.URL.Path, http.StatusFound)
	})
	ca := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: home.Certificate().Raw})
	repo := open(t, Remote{URL: home.URL, Username: "user", Password: "hunter2", PassCredentials: true, TLS: auth.TLS{CA: ca}})
	for _, ref := range []string{"a.tgz", open1.URL + "/b.tgz"} {
		if err := repo.Chart(t.Context(), ref, 100, io.Discard); err != nil {
			t.Fatal(err)
		}
	}
	if seen := open1.requests(); len(seen) != 2 || seen[0] != "/a.tgz :" || seen[1] != "/b.tgz :" {
		t.Errorf("requests without TLS: %q", seen)
	}
}

func TestTLS(t *testing.T) {
	t.Parallel()
	s := start(t, true, serve("apiVersion: v1"))
	s.TLS.MinVersion = tls.VersionTLS12
	_, err := open(t, Remote{URL: s.URL}).Index(t.Context(), Validators{}, 100, io.Discard)
	if err == nil || !strings.Contains(netcause.Of(err).Explain("server"), "not trusted") {
		t.Errorf("an unknown authority: %v", err)
	}
	ca := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.Certificate().Raw})
	if _, err := open(t, Remote{URL: s.URL, TLS: auth.TLS{CA: ca}}).Index(t.Context(), Validators{}, 100, io.Discard); err != nil {
		t.Error(err)
	}
	if _, err := (&Pool{}).Open(Remote{URL: s.URL, TLS: auth.TLS{CA: []byte("none")}}); err == nil {
		t.Error("a bad certificate was accepted")
	}
}

func TestURLs(t *testing.T) {
	t.Parallel()
	for _, bad := range []string{"", "oci://x/y", "ftp://x", "https://", "https://user:hunter2@x y/"} {
		if err := CheckURL(bad); !errors.Is(err, ErrURL) || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%q: %v", bad, err)
		}
	}
	r := open(t, Remote{URL: "https://a.example/x/y?token=t"})
	for ref, want := range map[string]string{
		"c.tgz": "https://a.example/x/y/c.tgz?token=t", "/c.tgz": "https://a.example/c.tgz?token=t", "https://b.example/c.tgz": "https://b.example/c.tgz",
		"file:///etc/passwd": "", "oci://b.example/c": "", "http://[": "",
	} {
		u, err := r.resolve(ref)
		if err != nil && want != "" || err == nil && u.String() != want {
			t.Errorf("%s: %v, %v, want %s", ref, u, err, want)
		}
	}
	for in, want := range map[string]string{"https://a/": "https://a/", "https://a": "https://a/", "https://a//": "https://a/", "oci://a/b/": "oci://a/b", "": ""} {
		if got := Normalize(in); got != want {
			t.Errorf("%s: %s", in, got)
		}
	}
}

func TestSecrets(t *testing.T) {
	t.Parallel()
	data := func(pairs ...string) map[string][]byte {
		m := map[string][]byte{}
		for i := 0; i < len(pairs); i += 2 {
			m[pairs[i]] = []byte(pairs[i+1])
		}
		return m
	}
	if s, err := ReadSecret("ns/s", data("username", "u", "password", "p", "caFile", "x")); err != nil || s.Login.Password != "p" || string(s.TLS.CA) != "x" {
		t.Errorf("%+v, %v", s, err)
	}
	for _, half := range []map[string][]byte{data("username", "u"), data("password", "hunter2")} {
		if _, err := ReadSecret("ns/s", half); err == nil || err.Error() != "invalid 'ns/s' secret data: required fields 'username' and 'password'" {
			t.Errorf("error %v", err)
		}
	}
	docker := data(".dockerconfigjson", `{"auths":{"registry.example":{"username":"u","password":"p"}}}`)
	if s, err := ReadRegistrySecret("ns/s", docker, "registry.example", "charts"); err != nil || s.Login.Password != "p" {
		t.Errorf("%+v, %v", s, err)
	}
	if _, err := ReadRegistrySecret("ns/s", docker, "other.example", "charts"); err == nil || err.Error() != "no auth config for 'other.example' in the docker-registry Secret 'ns/s'" {
		t.Errorf("error %v", err)
	}
	if s, err := ReadRegistrySecret("ns/s", data("username", "u", "password", "p"), "other.example", "charts"); err != nil || s.Login.Username != "u" {
		t.Errorf("%+v, %v", s, err)
	}
}
