// Package lfstest serves large files for tests, as the published batch API of Git LFS says: media types, operations,
// transfers, actions with headers that expire, errors per object, and authentication. It goes around another handler, so
// that it has the address of a Git server.
package lfstest

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
)

const mediaType = "application/vnd.git-lfs+json"

// Server holds objects.
type Server struct {
	// User and Password that the batch API asks for; nobody is asked when empty.
	User, Password string
	// Storage is the address below which objects are read, when that is another server; see Elsewhere.
	Storage string
	// Corrupt sends other content than was stored; Broken answers 500 to downloads; Redirect sends downloads there.
	Corrupt, Broken bool
	Redirect        string

	mu       sync.Mutex
	objects  map[string]string
	requests []Request
	problems []string
}

// Request is one that the server has seen.
type Request struct{ Host, Method, Path, Authorization, Token string }

// token is what the batch API hands out for downloads.
const token = "download-token-7f"

// Put stores an object and returns its pointer.
func (s *Server) Put(content string) (pointer string) {
	sum := sha256.Sum256([]byte(content))
	oid := hex.EncodeToString(sum[:])
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.objects == nil {
		s.objects = map[string]string{}
	}
	s.objects[oid] = content
	return Pointer(oid, len(content))
}

// Pointer is the text that stands for an object.
func Pointer(oid string, size int) string {
	return fmt.Sprintf("version https://git-lfs.github.com/spec/v1\noid sha256:%s\nsize %d\n", oid, size)
}

// Wrap serves what is for us, and leaves the rest to the handler.
func (s *Server) Wrap(inner http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case strings.HasSuffix(r.URL.Path, "/objects/batch"):
			s.note(r)
			s.batch(w, r)
		case strings.HasPrefix(r.URL.Path, "/lfs-objects/"):
			s.note(r)
			s.download(w, r)
		default:
			inner.ServeHTTP(w, r)
		}
	})
}

// Elsewhere starts a second server with the same objects, and lets downloads go there.
func (s *Server) Elsewhere(t testing.TB) {
	t.Helper()
	srv := httptest.NewServer(s.Wrap(http.NotFoundHandler()))
	t.Cleanup(srv.Close)
	s.Storage = srv.URL
}

// Requests returns what was asked; Problems what was against the contract.
func (s *Server) Requests() []Request {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]Request(nil), s.requests...)
}

// Problems returns what was against the contract.
func (s *Server) Problems() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]string(nil), s.problems...)
}

func (s *Server) note(r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.requests = append(s.requests, Request{r.Host, r.Method, r.URL.Path, r.Header.Get("Authorization"), r.Header.Get("X-Download-Token")})
}

func (s *Server) problem(w http.ResponseWriter, status int, text string) {
	s.mu.Lock()
	s.problems = append(s.problems, text)
	s.mu.Unlock()
	answer(w, status, map[string]any{"message": text})
}

func answer(w http.ResponseWriter, status int, body any) {
	w.Header().Set("Content-Type", mediaType)
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(body)
}

func (s *Server) batch(w http.ResponseWriter, r *http.Request) {
	if user, password, _ := r.BasicAuth(); s.User != "" && (user != s.User || password != s.Password) {
		w.Header().Set("LFS-Authenticate", `Basic realm="Git LFS"`)
		answer(w, http.StatusUnauthorized, map[string]any{"message": "Credentials needed"})
		return
	}
	var q struct {
		Operation string   `json:"operation"`
		Transfers []string `json:"transfers"`
		HashAlgo  string   `json:"hash_algo"`
		Objects   []struct {
			OID  string `json:"oid"`
			Size *int64 `json:"size"`
		} `json:"objects"`
	}
	switch {
	case r.Method != http.MethodPost:
		s.problem(w, http.StatusMethodNotAllowed, "the method is "+r.Method)
		return
	case r.Header.Get("Accept") != mediaType:
		s.problem(w, http.StatusNotAcceptable, "Accept is "+r.Header.Get("Accept"))
		return
	case r.Header.Get("Content-Type") != mediaType:
		s.problem(w, http.StatusUnsupportedMediaType, "Content-Type is "+r.Header.Get("Content-Type"))
		return
	case json.NewDecoder(r.Body).Decode(&q) != nil, q.Operation != "download", len(q.Objects) == 0, len(q.Objects) > 100,
		q.HashAlgo != "" && q.HashAlgo != "sha256":
		s.problem(w, http.StatusUnprocessableEntity, "the question is not valid")
		return
	}
	base := s.Storage
	if base == "" {
		base = "http://" + r.Host
	}
	var objects []map[string]any
	for _, o := range q.Objects {
		if len(o.OID) != 64 || o.Size == nil || *o.Size < 0 {
			s.problem(w, http.StatusUnprocessableEntity, "an object is not valid")
			return
		}
		out := map[string]any{"oid": o.OID, "size": *o.Size}
		if s.has(o.OID) {
			out["authenticated"] = true
			out["actions"] = map[string]any{"download": map[string]any{
				"href": base + "/lfs-objects/" + o.OID, "header": map[string]string{"X-Download-Token": token}, "expires_in": 3600,
			}}
		} else {
			out["error"] = map[string]any{"code": 404, "message": "Object does not exist"}
		}
		objects = append(objects, out)
	}
	answer(w, http.StatusOK, map[string]any{"transfer": "basic", "objects": objects})
}

func (s *Server) has(oid string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	_, ok := s.objects[oid]
	return ok
}

func (s *Server) download(w http.ResponseWriter, r *http.Request) {
	oid := strings.TrimPrefix(r.URL.Path, "/lfs-objects/")
	s.mu.Lock()
	content, ok := s.objects[oid]
	s.mu.Unlock()
	switch {
	case s.Redirect != "" && !strings.Contains(s.Redirect, r.Host):
		http.Redirect(w, r, s.Redirect+r.URL.Path, http.StatusFound)
	case s.Redirect == "" && r.Header.Get("X-Download-Token") != token:
		w.WriteHeader(http.StatusForbidden)
	case s.Broken:
		w.WriteHeader(http.StatusInternalServerError)
	case !ok:
		w.WriteHeader(http.StatusNotFound)
	case s.Corrupt:
		_, _ = io.WriteString(w, strings.ToUpper(content))
	default:
		_, _ = io.WriteString(w, content)
	}
}
