package registry_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gitops-toolkit/flux/internal/auth"
	"github.com/gitops-toolkit/flux/internal/netcause"
	"github.com/gitops-toolkit/flux/internal/registry"
	"github.com/gitops-toolkit/flux/internal/registry/registrytest"
)

// password is a canary: it must be in no error.
const password = "canary-password-d41d8cd9"

var users = map[string]string{"robot": password}

func TestLogin(t *testing.T) {
	t.Parallel()
	for _, tokens := range []bool{false, true} {
		server := registrytest.Start(t, registrytest.Options{Users: users, Tokens: tokens})
		pool := quick(t, registry.Limits{})
		for _, tt := range []struct {
			reason string
			login  auth.Login
			want   error
		}{
			{"the right password: the registry knows no such artifact", auth.Login{Username: "robot", Password: password}, registry.ErrNotFound},
			{"a wrong password", auth.Login{Username: "robot", Password: "wrong-" + password}, registry.ErrAuthentication},
			{"nobody", auth.Login{}, registry.ErrAuthentication},
		} {
			repo := open(t, pool, registry.Remote{URL: server.URL("private"), Login: tt.login})
			_, err := repo.Digest(context.Background(), "v1")
			if !errors.Is(err, tt.want) {
				t.Errorf("tokens %t: %s: %v, want %v", tokens, tt.reason, err, tt.want)
			}
			if err != nil && strings.Contains(err.Error(), password) {
				t.Errorf("the password is in the error: %v", err)
			}
		}
	}
}

// TestOneRequest is a budget: a look at a tag after the first is one HEAD, with a login too.
func TestOneRequest(t *testing.T) {
	t.Parallel()
	for _, tokens := range []bool{false, true} {
		server := registrytest.Start(t, registrytest.Options{Users: users, Tokens: tokens, Wrap: func(h http.Handler) http.Handler {
			return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if r.Header.Get("X-Fill") != "" { // The test fills the registry without a login.
					return
				}
				h.ServeHTTP(w, r)
			})
		}})
		repo := open(t, quick(t, registry.Limits{}), registry.Remote{URL: server.URL("private"), Login: auth.Login{Username: "robot", Password: password}})
		layer := registrytest.Archive(t, map[string]string{"a": "b"})
		digest, err := repo.Push(context.Background(), "v1", registry.Artifact{File: write(t, layer.Data)})
		must(t, err)
		if got, err := repo.Digest(context.Background(), "v1"); err != nil || got != digest {
			t.Fatalf("%s, %v", got, err)
		}
		server.Reset()
		for range 3 {
			if got, err := repo.Digest(context.Background(), "v1"); err != nil || got != digest {
				t.Fatalf("%s, %v", got, err)
			}
		}
		for i, r := range server.Requests() {
			if i > 2 || r.Method != http.MethodHead || r.Authorization == "" {
				t.Errorf("tokens %t: request %d: %+v", tokens, i, r)
			}
		}
	}
}

// TestRedirectsCarryNoCredentials sends a blob request elsewhere, to another port of the same host.
func TestRedirectsCarryNoCredentials(t *testing.T) {
	t.Parallel()
	for _, tokens := range []bool{false, true} {
		layer := registrytest.Archive(t, map[string]string{"a": "b"})
		var mu sync.Mutex
		var seen []string
		elsewhere := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			mu.Lock()
			defer mu.Unlock()
			seen = append(seen, r.Header.Get("Authorization"))
			_, _ = w.Write(layer.Data)
		}))
		t.Cleanup(elsewhere.Close)
		server := registrytest.Start(t, registrytest.Options{Users: users, Tokens: tokens, Wrap: func(h http.Handler) http.Handler {
			return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if r.Method == http.MethodGet && strings.Contains(r.URL.Path, "/blobs/") {
					http.Redirect(w, r, elsewhere.URL+"/signed?signature=canary-signature", http.StatusTemporaryRedirect)
					return
				}
				h.ServeHTTP(w, r)
			})
		}})
		repo := open(t, quick(t, registry.Limits{}), registry.Remote{URL: server.URL("private"), Login: auth.Login{Username: "robot", Password: password}})
		digest, err := repo.Push(context.Background(), "v1", registry.Artifact{File: write(t, layer.Data)})
		must(t, err)
		if got := pull(t, repo, digest); string(got) != string(layer.Data) {
			t.Error("the layer came back changed")
		}
		mu.Lock()
		if len(seen) == 0 {
			t.Error("nothing was redirected")
		}
		for _, header := range seen {
			if header != "" {
				t.Errorf("tokens %t: the login went to another host: %s", tokens, header)
			}
		}
		mu.Unlock()
		elsewhere.Close()
		manifest, err := repo.Manifest(context.Background(), digest)
		must(t, err)
		if _, err = repo.Blob(context.Background(), manifest.Layers[0]); err == nil || strings.Contains(err.Error(), "canary-signature") {
			t.Errorf("the signature of a redirect is in the error: %v", err)
		}
	}
}

// pull reads the first layer.
func pull(t *testing.T, repo *registry.Repository, digest string) []byte {
	t.Helper()
	manifest, err := repo.Manifest(context.Background(), digest)
	must(t, err)
	body, err := repo.Blob(context.Background(), manifest.Layers[0])
	must(t, err)
	data, err := io.ReadAll(body)
	must(t, errors.Join(err, body.Close()))
	return data
}

// tunnel is a proxy that leads to one address whatever is asked for.
func tunnel(t *testing.T, to string, saw func(*http.Request)) *url.URL {
	t.Helper()
	proxy := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		saw(r)
		if r.Method != http.MethodConnect {
			r.RequestURI, r.URL.Scheme, r.URL.Host = "", "http", to
			r.Header.Del("Proxy-Authorization")
			resp, err := http.DefaultTransport.RoundTrip(r)
			if err != nil {
				w.WriteHeader(http.StatusBadGateway)
				return
			}
			defer resp.Body.Close()
			for k, v := range resp.Header {
				w.Header()[k] = v
			}
			w.WriteHeader(resp.StatusCode)
			_, _ = io.Copy(w, resp.Body)
			return
		}
		connect(w, to)
	}))
	t.Cleanup(proxy.Close)
	u, err := url.Parse(proxy.URL)
	must(t, err)
	return u
}

func connect(w http.ResponseWriter, to string) {
	there, err := dial(to)
	if err != nil {
		w.WriteHeader(http.StatusBadGateway)
		return
	}
	w.WriteHeader(http.StatusOK)
	here, _, err := http.NewResponseController(w).Hijack()
	if err != nil {
		return
	}
	go func() {
		_, _ = io.Copy(there, here)
		_ = there.Close()
	}()
	_, _ = io.Copy(here, there)
	_ = here.Close()
}

// TestCredentialsNeedTLS reaches a plain registry by a private address: without a login it is read as upstream does,
// with one it is refused unless plain HTTP was asked for.
func TestCredentialsNeedTLS(t *testing.T) {
	t.Parallel()
	server := registrytest.Start(t, registrytest.Options{Users: users})
	open1 := registrytest.Start(t, registrytest.Options{})
	pool := quick(t, registry.Limits{})
	proxy := tunnel(t, server.Host, func(*http.Request) {})
	login := auth.Login{Username: "robot", Password: password}
	_, err := open(t, pool, registry.Remote{URL: "oci://10.1.2.3:5000/app", Login: login, Proxy: proxy}).Digest(context.Background(), "v1")
	if !errors.Is(err, registry.ErrPlain) {
		t.Errorf("a login over plain HTTP: %v", err)
	}
	for _, r := range server.Requests() {
		if r.Authorization != "" {
			t.Errorf("the login was sent: %+v", r)
		}
	}
	_, err = open(t, pool, registry.Remote{URL: "oci://10.1.2.3:5000/app", Login: login, Proxy: proxy, Insecure: true}).Digest(context.Background(), "v1")
	if !errors.Is(err, registry.ErrNotFound) {
		t.Errorf("with insecure: %v", err)
	}
	_, err = open(t, pool, registry.Remote{URL: "oci://10.1.2.3:5000/app", Proxy: tunnel(t, open1.Host, func(*http.Request) {})}).Digest(context.Background(), "v1")
	if !errors.Is(err, registry.ErrNotFound) {
		t.Errorf("without a login: %v", err)
	}
	_, err = open(t, pool, registry.Remote{URL: "oci://registry.example/app", Login: login, Proxy: proxy}).Digest(context.Background(), "v1")
	if err == nil || errors.Is(err, registry.ErrNotFound) || len(server.Requests()) == 0 {
		t.Errorf("a public name is reached without TLS: %v", err)
	}
}

func TestTLS(t *testing.T) {
	t.Parallel()
	ca, strangers := registrytest.NewAuthority(t), registrytest.NewAuthority(t)
	cert, key := ca.Issue(t, time.Now().Add(time.Hour))
	strangeCert, strangeKey := strangers.Issue(t, time.Now().Add(time.Hour))
	mutual := registrytest.Start(t, registrytest.Options{Authority: ca, ClientCertificate: true})
	plain := registrytest.Start(t, registrytest.Options{Authority: ca})
	expired := registrytest.Start(t, registrytest.Options{Authority: ca, Expired: true})
	for _, tt := range []struct {
		reason string
		server *registrytest.Server
		host   string
		remote registry.Remote
		want   string // part of Cause or of the error; "" for one that only lacks the artifact
	}{
		{"our authority, our certificate", mutual, registrytest.ServerName, registry.Remote{TLS: auth.TLS{CA: ca.PEM, Cert: cert, Key: key}}, ""},
		{"no certificate", mutual, registrytest.ServerName, registry.Remote{TLS: auth.TLS{CA: ca.PEM}}, "certificate required"},
		{"a stranger's certificate", mutual, registrytest.ServerName, registry.Remote{TLS: auth.TLS{CA: ca.PEM, Cert: strangeCert, Key: strangeKey}}, "tls"},
		{"our authority", plain, registrytest.ServerName, registry.Remote{TLS: auth.TLS{CA: ca.PEM}}, ""},
		{"a stranger's authority", plain, registrytest.ServerName, registry.Remote{TLS: auth.TLS{CA: strangers.PEM}}, "not trusted"},
		{"the system's authorities", plain, registrytest.ServerName, registry.Remote{}, "not trusted"},
		{"another name", plain, "other.example", registry.Remote{TLS: auth.TLS{CA: ca.PEM}}, "another host"},
		{"an expired certificate", expired, registrytest.ServerName, registry.Remote{TLS: auth.TLS{CA: ca.PEM}}, "expired"},
		{"insecure does not look", plain, "other.example", registry.Remote{Insecure: true}, ""},
		{"insecure with an authority does", plain, "other.example", registry.Remote{Insecure: true, TLS: auth.TLS{CA: ca.PEM}}, "another host"},
	} {
		tt.remote.URL, tt.remote.Proxy = "oci://"+tt.host+"/app", tunnel(t, tt.server.Host, func(*http.Request) {})
		_, err := open(t, quick(t, registry.Limits{}), tt.remote).Digest(context.Background(), "v1")
		switch {
		case tt.want == "" && !errors.Is(err, registry.ErrNotFound):
			t.Errorf("%s: %v", tt.reason, err)
		case tt.want != "" && !strings.Contains(netcause.Of(err).Explain("registry")+" "+fmt.Sprint(err), tt.want):
			t.Errorf("%s: %v (%s), want %s", tt.reason, err, netcause.Of(err).Explain("registry"), tt.want)
		}
	}
}

func TestProxyWithLogin(t *testing.T) {
	t.Parallel()
	server := registrytest.Start(t, registrytest.Options{})
	var asked atomic.Value
	proxy := tunnel(t, server.Host, func(r *http.Request) { asked.Store(r.Header.Get("Proxy-Authorization")) })
	proxy.User = url.UserPassword("robot", password)
	repo := open(t, quick(t, registry.Limits{}), registry.Remote{URL: "oci://10.1.2.3:5000/app", Insecure: true, Proxy: proxy})
	if _, err := repo.Digest(context.Background(), "v1"); !errors.Is(err, registry.ErrNotFound) {
		t.Error(err)
	}
	if got, _ := asked.Load().(string); !strings.HasPrefix(got, "Basic ") {
		t.Errorf("the proxy was asked with %q", got)
	}
	proxy.Host = "127.0.0.1:1"
	if _, err := open(t, quick(t, registry.Limits{}), registry.Remote{URL: "oci://10.1.2.3:5000/app", Insecure: true, Proxy: proxy}).Digest(context.Background(), "v1"); err == nil || strings.Contains(err.Error(), password) {
		t.Errorf("the proxy's password is in the error: %v", err)
	}
}

func TestTooManyRequests(t *testing.T) {
	t.Parallel()
	var refusals atomic.Int32
	var wait atomic.Value
	server := registrytest.Start(t, registrytest.Options{Wrap: func(h http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if strings.Contains(r.URL.Path, "/manifests/") && refusals.Add(-1) >= 0 {
				w.Header().Set("Retry-After", wait.Load().(string))
				w.WriteHeader(http.StatusTooManyRequests)
				return
			}
			h.ServeHTTP(w, r)
		})
	}})
	want := server.Push(t, "app", "v1", nil, registrytest.Archive(t, map[string]string{"a": "b"}))
	repo := open(t, quick(t, registry.Limits{}), registry.Remote{URL: server.URL("app")})
	wait.Store("0")
	refusals.Store(2)
	if got, err := repo.Digest(context.Background(), "v1"); err != nil || got != want {
		t.Errorf("after a short pause: %s, %v", got, err)
	}
	wait.Store("600")
	refusals.Store(1)
	server.Reset()
	_, err := repo.Digest(context.Background(), "v1")
	var throttle *registry.ThrottledError
	if !errors.As(err, &throttle) || throttle.After != 10*time.Minute || !strings.Contains(err.Error(), "wait 10m0s") {
		t.Errorf("a long pause: %v", err)
	}
	if n := len(server.Requests()); n != 1 {
		t.Errorf("the registry was asked %d times although it wants a pause", n)
	}
	wait.Store("9")
	refusals.Store(1)
	short, cancel := context.WithTimeout(context.Background(), 8*time.Second)
	defer cancel()
	patient := registry.NewPool(registry.Options{Retries: []time.Duration{time.Millisecond}, Patience: time.Minute})
	defer patient.Close()
	repo = open(t, patient, registry.Remote{URL: server.URL("app")})
	if _, err = repo.Digest(short, "v1"); !errors.As(err, &throttle) || throttle.After != 9*time.Second || errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("a pause that is longer than the time that is left: %v", err)
	}
}

func TestServerErrorsAreRepeated(t *testing.T) {
	t.Parallel()
	var failures atomic.Int32
	server := registrytest.Start(t, registrytest.Options{Wrap: func(h http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if strings.Contains(r.URL.Path, "/manifests/") && failures.Add(-1) >= 0 {
				w.WriteHeader(http.StatusBadGateway)
				return
			}
			h.ServeHTTP(w, r)
		})
	}})
	want := server.Push(t, "app", "v1", nil, registrytest.Archive(t, map[string]string{"a": "b"}))
	repo := open(t, quick(t, registry.Limits{}), registry.Remote{URL: server.URL("app")})
	failures.Store(2)
	if got, err := repo.Digest(context.Background(), "v1"); err != nil || got != want {
		t.Errorf("%s, %v", got, err)
	}
	failures.Store(1000)
	if _, err := repo.Digest(context.Background(), "v1"); err == nil || !strings.Contains(err.Error(), "502 Bad Gateway") {
		t.Errorf("a registry that is down: %v", err)
	}
}

// TestHeadIsNotEnough covers registries that do not answer HEAD requests for manifests.
func TestHeadIsNotEnough(t *testing.T) {
	t.Parallel()
	var refuse atomic.Bool
	server := registrytest.Start(t, registrytest.Options{Wrap: func(h http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if refuse.Load() && r.Method == http.MethodHead && strings.Contains(r.URL.Path, "/manifests/") {
				w.WriteHeader(http.StatusMethodNotAllowed)
				return
			}
			h.ServeHTTP(w, r)
		})
	}})
	want := server.Push(t, "app", "v1", nil, registrytest.Archive(t, map[string]string{"a": "b"}))
	refuse.Store(true)
	repo := open(t, quick(t, registry.Limits{}), registry.Remote{URL: server.URL("app")})
	if got, err := repo.Digest(context.Background(), "v1"); err != nil || got != want {
		t.Errorf("%s, %v", got, err)
	}
}
