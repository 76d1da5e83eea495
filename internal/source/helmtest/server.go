package helmtest

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"errors"
	"fmt"
	"github.com/gitops-toolkit/flux/internal/source/sourcetest"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// Server is a web server with a Helm repository below /charts.
type Server struct {
	*httptest.Server

	mu       sync.Mutex
	files    map[string][]byte
	requests []Seen
	login    string
	respond  http.HandlerFunc
}

// Seen is a request that came.
type Seen struct {
	Path, User string
	// Conditional says that it asked for what has changed only, Status what it was answered.
	Conditional bool
	Status      int
}

// Serve starts a server; tls decides whether with a certificate of its own.
func Serve(t testing.TB, tls bool) *Server {
	t.Helper()
	s := &Server{files: map[string][]byte{}}
	s.Server = httptest.NewUnstartedServer(http.HandlerFunc(s.serve))
	if tls {
		s.StartTLS()
	} else {
		s.Start()
	}
	t.Cleanup(s.Close)
	return s
}

// RepositoryURL is that of the Helm repository.
func (s *Server) RepositoryURL() string { return s.URL + "/charts" }

// Put offers a file.
func (s *Server) Put(path string, data []byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.files[path] = data
}

// Login asks for username:password from now on.
func (s *Server) Login(login string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.login = login
}

// Respond lets a function answer all requests, until it is nil.
func (s *Server) Respond(f http.HandlerFunc) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.respond = f
}

// Requests returns what was asked for since the last Reset.
func (s *Server) Requests() []Seen {
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

// Until waits for a state of the requests.
func (s *Server) Until(t testing.TB, what string, ok func([]Seen) bool) {
	t.Helper()
	for deadline := time.Now().Add(sourcetest.Limit); !ok(s.Requests()); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("never %s: %+v", what, s.Requests())
		}
	}
}

func (s *Server) serve(w http.ResponseWriter, r *http.Request) {
	user, password, _ := r.BasicAuth()
	s.mu.Lock()
	data, there := s.files[r.URL.Path]
	respond, login := s.respond, s.login
	s.mu.Unlock()
	record := &recorder{ResponseWriter: w, status: http.StatusOK}
	switch {
	case respond != nil:
		respond(record, r)
	case login != "" && user+":"+password != login:
		http.Error(record, "no", http.StatusUnauthorized)
	case !there:
		http.Error(record, "File not found", http.StatusNotFound)
	default:
		w.Header().Set("ETag", fmt.Sprintf(`"%x"`, sha256.Sum256(data)))
		http.ServeContent(record, r, "", time.Time{}, bytes.NewReader(data))
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.requests = append(s.requests, Seen{r.URL.Path, user, r.Header.Get("If-None-Match") != "", record.status})
}

type recorder struct {
	http.ResponseWriter
	status int
}

func (r *recorder) WriteHeader(status int) {
	r.status = status
	r.ResponseWriter.WriteHeader(status)
}

// Chart packs a chart with a Chart.yaml of the second API and these files.
func Chart(t testing.TB, name, version string, files map[string]string) []byte {
	t.Helper()
	all := map[string]string{"Chart.yaml": fmt.Sprintf("apiVersion: v2\nname: %s\nversion: %s\n", name, version), "values.yaml": "replicas: 1\n"}
	maps.Copy(all, files)
	var b bytes.Buffer
	zw := gzip.NewWriter(&b)
	tw := tar.NewWriter(zw)
	for _, file := range slices.Sorted(maps.Keys(all)) {
		if err := tw.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: name + "/" + file, Mode: 0o644, Size: int64(len(all[file]))}); err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(tw, all[file]); err != nil {
			t.Fatal(err)
		}
	}
	if err := errors.Join(tw.Close(), zw.Close()); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// Offer puts charts, name-version in each key, into the repository, and makes them its index.
func (s *Server) Offer(charts map[string][]byte) {
	versions := map[string][]string{}
	for key, data := range charts {
		s.Put("/charts/"+key+".tgz", data)
		name, version, _ := strings.Cut(key, "-")
		versions[name] = append(versions[name], version)
	}
	var b strings.Builder
	b.WriteString("apiVersion: v1\nentries:\n")
	for _, name := range slices.Sorted(maps.Keys(versions)) {
		fmt.Fprintf(&b, "  %s:\n", name)
		for _, v := range slices.Sorted(slices.Values(versions[name])) {
			fmt.Fprintf(&b, "  - {apiVersion: v2, name: %s, version: %s, created: \"2026-01-02T03:04:05Z\", urls: [%s-%s.tgz]}\n", name, v, name, v)
		}
	}
	s.Put("/charts/index.yaml", []byte(b.String()))
}
