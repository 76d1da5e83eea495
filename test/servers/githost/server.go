// Package githost imitates the APIs of Git hosts, as far as a bootstrap uses them, in front of real
// repositories: what an API creates can be cloned and pushed to over HTTPS with the token, and over SSH
// with the deploy keys that were registered.
//
// It is a contract: every request is held against what the host's published API document says of that
// operation (method, path, headers, fields of the body and their types). What does not fit is answered
// as the host would and remembered in Violations, so that a test can demand that there are none.
package githost

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"

	"golang.org/x/crypto/ssh"

	"github.com/gitops-toolkit/flux/test/servers/git"
)

// Options say what host to imitate.
type Options struct {
	// Kind is github, gitlab, gitea or bitbucket-server.
	Kind string
	// Root is the directory of the repositories.
	Root string
	// Token is the one that is accepted; User owns it, Orgs are what else it may see.
	Token, User string
	Orgs        []string
	// Scopes that the token lacks are answered 403, by a part of the path.
	Forbidden string
}

// Server imitates a host until Close.
type Server struct {
	*git.Server
	opts Options

	mu         sync.Mutex
	repos      map[string]*repository // by owner/name
	calls      []string
	violations []string
	lastID     int64
}

type repository struct {
	owner, name string
	id          int64
	private     bool
	visibility  string
	keys        []key
	tokens      []deployToken
	grants      map[string]string
}

type key struct {
	id          int64
	title, text string
	write       bool
}

type deployToken struct {
	id          int64
	name, value string
}

// Start begins to serve.
func Start(o Options) (*Server, error) {
	s := &Server{opts: o, repos: map[string]*repository{}}
	var err error
	s.Server, err = git.Start(git.Options{
		Root: o.Root, HTTPS: git.AnyPort, SSH: git.AnyPort, AuthorizeKey: s.authorize,
		Wrap: func(next http.Handler) http.Handler { return s.front(next) },
	})
	return s, err
}

// Hostname is what --hostname is given, SSHHostname what --ssh-hostname is.
func (s *Server) Hostname() string { return strings.Split(s.HTTPSURL("x"), "/")[2] }
func (s *Server) SSHHostname() string {
	return strings.TrimPrefix(strings.Split(s.SSHURL("x"), "/")[2], "git@")
}

// Calls are the requests of the API that changed something, such as "POST /user/repos".
func (s *Server) Calls() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.calls)
}

// Violations tell which requests did not keep the contract.
func (s *Server) Violations() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.violations)
}

// Keys are the titles of the deploy keys of a repository.
func (s *Server) Keys(owner, name string) (titles []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if r := s.repos[owner+"/"+name]; r != nil {
		for _, k := range r.keys {
			titles = append(titles, k.title)
		}
	}
	return titles
}

// Grants are who has which permission on a repository.
func (s *Server) Grants(owner, name string) map[string]string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.repos[owner+"/"+name].grants
}

// Private tells whether a repository is.
func (s *Server) Private(owner, name string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.repos[owner+"/"+name].private
}

func (s *Server) violate(format string, args ...any) {
	s.violations = append(s.violations, fmt.Sprintf(format, args...))
}

// authorize lets the registered deploy keys in.
func (s *Server) authorize(offered ssh.PublicKey) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, r := range s.repos {
		for _, k := range r.keys {
			known, _, _, _, err := ssh.ParseAuthorizedKey([]byte(k.text))
			if err == nil && bytes.Equal(known.Marshal(), offered.Marshal()) {
				return true
			}
		}
	}
	return false
}

// front tells the API from Git.
func (s *Server) front(next http.Handler) http.Handler {
	api, prefix := s.api()
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasPrefix(r.URL.Path, prefix) {
			api.ServeHTTP(w, r)
			return
		}
		if !s.mayGit(r) {
			w.Header().Set("WWW-Authenticate", `Basic realm="git"`)
			http.Error(w, "authentication required", http.StatusUnauthorized)
			return
		}
		r.URL.Path = strings.TrimPrefix(r.URL.Path, "/scm")
		next.ServeHTTP(w, r)
	})
}

func (s *Server) mayGit(r *http.Request) bool {
	user, password, ok := r.BasicAuth()
	s.mu.Lock()
	defer s.mu.Unlock()
	if !ok || user == "" {
		return false
	}
	for _, repo := range s.repos {
		for _, t := range repo.tokens {
			if password == t.value && strings.Contains(r.URL.String(), "upload-pack") {
				return true
			}
		}
	}
	return password == s.opts.Token
}

// operation is one that the API document describes.
type operation struct {
	// fields of the body: name to kind (string, bool, number, list, object), with ! if required. nil: no body.
	fields map[string]string
	do     func(c *call)
}

// call is one request of the API.
type call struct {
	*Server
	w    http.ResponseWriter
	r    *http.Request
	body map[string]any
}

func (c *call) answer(status int, value any) {
	c.w.Header().Set("Content-Type", "application/json")
	c.w.WriteHeader(status)
	if value != nil {
		_ = json.NewEncoder(c.w).Encode(value)
	}
}

func (c *call) missing() { c.answer(http.StatusNotFound, map[string]any{"message": "Not Found"}) }

func (c *call) text(field string) string { v, _ := c.body[field].(string); return v }
func (c *call) flag(field string) bool   { v, _ := c.body[field].(bool); return v }

// mux serves the operations behind the checks of the contract.
func (s *Server) mux(prefix string, checkHeader func(http.Header) string, operations map[string]operation) http.Handler {
	mux := http.NewServeMux()
	for pattern, op := range operations {
		method, path, _ := strings.Cut(pattern, " ")
		mux.HandleFunc(method+" "+prefix+path, func(w http.ResponseWriter, r *http.Request) {
			s.mu.Lock()
			defer s.mu.Unlock()
			c := &call{Server: s, w: w, r: r}
			if problem := checkHeader(r.Header); problem != "" {
				c.answer(http.StatusUnauthorized, map[string]any{"message": problem})
				return
			}
			if f := s.opts.Forbidden; f != "" && strings.Contains(r.Method+" "+r.URL.Path, f) {
				c.answer(http.StatusForbidden, map[string]any{"message": "Resource not accessible by personal access token"})
				return
			}
			if !c.read(op.fields, pattern) {
				return
			}
			if r.Method != http.MethodGet {
				s.calls = append(s.calls, r.Method+" "+strings.TrimPrefix(r.URL.Path, prefix))
			}
			op.do(c)
		})
	}
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.violate("%s %s is no operation of the API", r.Method, r.URL.Path)
		http.NotFound(w, r)
	})
	return mux
}

// read decodes the body and holds it against the document.
func (c *call) read(fields map[string]string, pattern string) bool {
	data, err := io.ReadAll(c.r.Body)
	if err != nil {
		return false
	}
	if fields == nil {
		if len(bytes.TrimSpace(data)) > 0 {
			c.violate("%s has a body", pattern)
		}
		return true
	}
	if !strings.HasPrefix(c.r.Header.Get("Content-Type"), "application/json") {
		c.violate("%s: content type %q", pattern, c.r.Header.Get("Content-Type"))
	}
	if err := json.Unmarshal(data, &c.body); err != nil {
		c.violate("%s: the body is no object: %v", pattern, err)
		c.answer(http.StatusBadRequest, map[string]any{"message": "Problems parsing JSON"})
		return false
	}
	for name, value := range c.body {
		want, known := fields[name]
		if !known || strings.TrimSuffix(want, "!") != kindOf(value) {
			c.violate("%s: field %q = %v, the document has %q", pattern, name, value, want)
		}
	}
	for name, want := range fields {
		if _, ok := c.body[name]; !ok && strings.HasSuffix(want, "!") {
			c.violate("%s: field %q is required", pattern, name)
			c.answer(http.StatusUnprocessableEntity, map[string]any{"message": "Validation Failed"})
			return false
		}
	}
	return true
}

func kindOf(value any) string {
	switch value.(type) {
	case string:
		return "string"
	case bool:
		return "bool"
	case float64:
		return "number"
	case []any:
		return "list"
	}
	return "object"
}

// create makes the repository behind the API's.
func (s *Server) create(owner, name string, private bool) (*repository, error) {
	if _, err := s.Create(owner+"/"+name, "main"); err != nil {
		return nil, err
	}
	s.lastID++
	r := &repository{owner: owner, name: name, id: s.lastID, private: private, grants: map[string]string{}}
	s.repos[owner+"/"+name] = r
	return r, nil
}

func (s *Server) addKey(r *repository, title, text string, write bool) (key, bool) {
	if _, _, _, _, err := ssh.ParseAuthorizedKey([]byte(text)); err != nil {
		return key{}, false
	}
	s.lastID++
	k := key{id: s.lastID, title: title, text: text, write: write}
	r.keys = append(r.keys, k)
	return k, true
}

func (r *repository) dropKey(id string) bool {
	before := len(r.keys)
	r.keys = slices.DeleteFunc(r.keys, func(k key) bool { return fmt.Sprint(k.id) == id })
	return len(r.keys) < before
}

// api returns the imitation and the prefix of its paths.
func (s *Server) api() (http.Handler, string) {
	switch s.opts.Kind {
	case "gitlab":
		return s.gitLab(), "/api/v4"
	case "gitea":
		return s.gitHubLike("/api/v1", s.giteaHeader), "/api/v1"
	case "bitbucket-server":
		return s.bitbucket(), "/rest"
	}
	return s.gitHubLike("/api/v3", s.gitHubHeader), "/api/v3"
}
