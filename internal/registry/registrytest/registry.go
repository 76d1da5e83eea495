// Package registrytest starts OCI registries on loopback for tests, and finds that of the sandbox.
//
// The registry is the in-memory one of go-containerregistry behind handlers that log requests, check logins, and do
// what a test wants to go wrong.
package registrytest

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/registry"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/static"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

// Options of a registry. The zero value is plain HTTP, open to everybody.
type Options struct {
	// Address to listen on; a free port of loopback when empty.
	Address string
	// Authority issues the certificate of a registry with TLS.
	Authority *Authority
	// Expired gives the registry a certificate of yesterday.
	Expired bool
	// ClientCertificate asks for a certificate of Authority.
	ClientCertificate bool
	// Users who may log in, by name; everybody when nil.
	Users map[string]string
	// Tokens sends users to a token service instead of asking for their password at each request.
	Tokens bool
	// Wrap goes around everything else.
	Wrap func(http.Handler) http.Handler
}

// Request is one that the registry has seen.
type Request struct {
	Method, Path, Authorization string
}

// Server is a running registry.
type Server struct {
	// Host and port.
	Host string
	// TokenService is the address at which tokens are given out.
	TokenService string

	opts  Options
	inner http.Handler

	mu       sync.Mutex
	requests []Request
}

// Start runs a registry until the test ends.
func Start(t testing.TB, o Options) *Server {
	t.Helper()
	s := &Server{opts: o}
	s.inner = registry.New(registry.Logger(log.New(io.Discard, "", 0)), registry.WithReferrersSupport(true))
	handler := s.handler()
	if o.Wrap != nil {
		handler = o.Wrap(handler)
	}
	srv := httptest.NewUnstartedServer(s.logged(handler))
	srv.Config.ErrorLog = log.New(io.Discard, "", 0)
	if o.Address != "" {
		must(t, srv.Listener.Close())
		listener, err := net.Listen("tcp", o.Address)
		must(t, err)
		srv.Listener = listener
	}
	if o.Tokens {
		service := httptest.NewServer(http.HandlerFunc(s.token))
		t.Cleanup(service.Close)
		// The name of another host, as token services have; private addresses are refused there.
		s.TokenService = strings.Replace(service.URL, "127.0.0.1", "localhost", 1)
	}
	if o.Authority == nil {
		srv.Start()
	} else {
		srv.TLS = o.Authority.server(t, o)
		srv.StartTLS()
	}
	t.Cleanup(srv.Close)
	s.Host = srv.Listener.Addr().String()
	return s
}

// Sandbox finds the registry of the sandbox that the tests use; it is the CNCF's distribution.
func Sandbox(t testing.TB) *Server {
	t.Helper()
	path := os.Getenv("FLUX_TEST_KUBECONFIG")
	data, err := os.ReadFile(filepath.Join(filepath.Dir(path), "state.json"))
	if err != nil {
		t.Skipf("no sandbox beside FLUX_TEST_KUBECONFIG: %v", err)
	}
	var state struct{ Registry struct{ Address string } }
	if json.Unmarshal(data, &state) != nil || state.Registry.Address == "" {
		t.Skip("the sandbox has no registry")
	}
	return &Server{Host: state.Registry.Address}
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func (s *Server) logged(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.mu.Lock()
		s.requests = append(s.requests, Request{r.Method, r.URL.Path, r.Header.Get("Authorization")})
		s.mu.Unlock()
		h.ServeHTTP(w, r)
	})
}

// Requests returns what the registry has seen, its token service left out.
func (s *Server) Requests() []Request {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.requests)
}

// Reset forgets the requests.
func (s *Server) Reset() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.requests = nil
}

// token is the only one that the token service gives.
const token = "a-token-of-the-token-service"

func (s *Server) handler() http.Handler {
	if s.opts.Users == nil {
		return s.inner
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case s.opts.Tokens && r.Header.Get("Authorization") == "Bearer "+token:
		case !s.opts.Tokens && s.known(r):
		default:
			challenge := `Basic realm="registry"`
			if s.opts.Tokens {
				challenge = fmt.Sprintf(`Bearer realm="%s/token",service="registry",scope="repository:any:pull"`, s.TokenService)
			}
			w.Header().Set("WWW-Authenticate", challenge)
			refuse(w)
			return
		}
		s.inner.ServeHTTP(w, r)
	})
}

func refuse(w http.ResponseWriter) {
	w.WriteHeader(http.StatusUnauthorized)
	_, _ = io.WriteString(w, `{"errors":[{"code":"UNAUTHORIZED","message":"authentication required"}]}`)
}

func (s *Server) known(r *http.Request) bool {
	user, password, ok := r.BasicAuth()
	return ok && s.opts.Users[user] == password && password != ""
}

func (s *Server) token(w http.ResponseWriter, r *http.Request) {
	if !s.known(r) {
		refuse(w)
		return
	}
	_, _ = io.WriteString(w, `{"token":"`+token+`"}`)
}

// URL of a repository.
func (s *Server) URL(repository string) string { return "oci://" + s.Host + "/" + repository }

// Layer is one to push.
type Layer struct {
	MediaType string
	Data      []byte
}

// Push puts an artifact into a registry that is open to everybody and returns the digest of its manifest.
func (s *Server) Push(t testing.TB, repository, tag string, annotations map[string]string, layers ...Layer) string {
	t.Helper()
	img := image(t, annotations, layers...)
	must(t, remote.Write(s.tag(t, repository, tag), img))
	digest, err := img.Digest()
	must(t, err)
	return digest.String()
}

// PushIndex puts an index with the artifact for each platform, such as linux/amd64 or "" for none, and returns its digest.
func (s *Server) PushIndex(t testing.TB, repository, tag string, platforms map[string]Layer) string {
	t.Helper()
	var index v1.ImageIndex = empty.Index
	for platform, layer := range platforms {
		var p *v1.Platform
		if platform != "" {
			var err error
			p, err = v1.ParsePlatform(platform)
			must(t, err)
		}
		index = mutate.AppendManifests(index, mutate.IndexAddendum{
			Add: image(t, map[string]string{"platform": platform}, layer), Descriptor: v1.Descriptor{Platform: p},
		})
	}
	must(t, remote.WriteIndex(s.tag(t, repository, tag), index))
	digest, err := index.Digest()
	must(t, err)
	return digest.String()
}

func (s *Server) tag(t testing.TB, repository, tag string) name.Tag {
	t.Helper()
	ref, err := name.NewTag(s.Host+"/"+repository+":"+tag, name.Insecure)
	must(t, err)
	return ref
}

func image(t testing.TB, annotations map[string]string, layers ...Layer) v1.Image {
	t.Helper()
	img := mutate.ConfigMediaType(mutate.MediaType(empty.Image, types.OCIManifestSchema1), "application/vnd.cncf.flux.config.v1+json")
	for _, l := range layers {
		var err error
		img, err = mutate.AppendLayers(img, static.NewLayer(l.Data, types.MediaType(l.MediaType)))
		must(t, err)
	}
	return mutate.Annotations(img, annotations).(v1.Image)
}

// ContentMediaType is that of the layers that Archive makes.
const ContentMediaType = "application/vnd.cncf.flux.content.v1.tar+gzip"

// Archive makes a layer of files.
func Archive(t testing.TB, files map[string]string) Layer {
	t.Helper()
	headers := make([]tar.Header, 0, len(files))
	for name := range files {
		headers = append(headers, tar.Header{Typeflag: tar.TypeReg, Name: name, Mode: 0o644, Size: int64(len(files[name]))})
	}
	slices.SortFunc(headers, func(a, b tar.Header) int { return strings.Compare(a.Name, b.Name) })
	return Layer{ContentMediaType, Tar(t, headers, files)}
}

// Tar makes a tar.gz of any entries.
func Tar(t testing.TB, headers []tar.Header, files map[string]string) []byte {
	t.Helper()
	var b bytes.Buffer
	zw := gzip.NewWriter(&b)
	tw := tar.NewWriter(zw)
	for _, h := range headers {
		must(t, tw.WriteHeader(&h))
		_, err := io.WriteString(tw, files[h.Name])
		must(t, err)
	}
	must(t, tw.Close())
	must(t, zw.Close())
	return b.Bytes()
}

// Until waits for a state of the requests.
func (s *Server) Until(t testing.TB, what string, ok func([]Request) bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for !ok(s.Requests()) {
		select {
		case <-tick.C:
		case <-ctx.Done():
			t.Fatalf("never %s: %v", what, s.Requests())
		}
	}
}

func (a *Authority) server(t testing.TB, o Options) *tls.Config {
	t.Helper()
	until := time.Now().Add(time.Hour)
	if o.Expired {
		until = time.Now().Add(-time.Hour)
	}
	c := &tls.Config{Certificates: []tls.Certificate{a.pair(t, until)}}
	if o.ClientCertificate {
		c.ClientAuth, c.ClientCAs = tls.RequireAndVerifyClientCert, x509.NewCertPool()
		c.ClientCAs.AppendCertsFromPEM(a.PEM)
	}
	return c
}
