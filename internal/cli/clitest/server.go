// Package clitest is an API server in memory for tests of the command line: enough of the
// protocol to list, watch, read and write objects of any kind, with whatever status a test
// gives them. A real API server cannot be given the status, uid and times of recorded objects.
package clitest

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/labels"
)

// Object is an object of any kind.
type Object = unstructured.Unstructured

// Controller plays the part of a controller: it is called after every write with a copy of the
// object, and returns what to store instead, or nil.
type Controller func(old, now *Object) *Object

// Server serves the objects that were added to it.
type Server struct {
	URL        string
	Controller Controller

	mu       sync.Mutex
	version  int64
	objects  map[string]*Object // by path
	deleted  map[string]*Object // by path, for watches that begin before
	watchers map[chan event]string
	requests []string
	kinds    map[string]Served // by group/version/plural
}

// Served tells discovery about a kind.
type Served struct {
	Group, Version, Plural, Kind string
	Clusters                     bool
	Short                        []string
}

type event struct {
	Type   string  `json:"type"`
	Object *Object `json:"object"`
}

// New starts a server that ends with the test.
func New(t testing.TB) *Server {
	t.Helper()
	s := &Server{objects: map[string]*Object{}, deleted: map[string]*Object{}, watchers: map[chan event]string{}, kinds: map[string]Served{}, version: 1000}
	server := httptest.NewServer(http.HandlerFunc(s.serve))
	s.URL = server.URL
	t.Cleanup(func() {
		server.CloseClientConnections()
		server.Close()
	})
	return s
}

// Kubeconfig writes a kubeconfig for the server and returns its path.
func (s *Server) Kubeconfig(t testing.TB) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "kubeconfig")
	text := fmt.Sprintf(`apiVersion: v1
kind: Config
clusters: [{name: test, cluster: {server: %q}}]
contexts: [{name: test, context: {cluster: test, user: test}}]
users: [{name: test, user: {}}]
current-context: test
`, s.URL)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// Serve makes a kind known; objects of other kinds are answered with 404.
func (s *Server) Serve(list ...Served) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, k := range list {
		s.kinds[strings.Trim(k.Group+"/"+k.Version+"/"+k.Plural, "/")] = k
	}
}

// Add stores an object as it is. Its kind must be served.
func (s *Server) Add(t testing.TB, obj *Object) {
	t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	k, ok := s.byKind(obj)
	if !ok {
		t.Fatalf("%s %s is not served", obj.GetAPIVersion(), obj.GetKind())
	}
	s.store(k, obj.DeepCopy(), "ADDED")
}

// Expire adds objects that no watch hears of, and ends every watch as a server does that has forgotten where it began.
func (s *Server) Expire(t testing.TB, missed ...*Object) {
	t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	watchers := s.watchers
	s.watchers = map[chan event]string{}
	for _, obj := range missed {
		k, ok := s.byKind(obj)
		if !ok {
			t.Fatalf("%s %s is not served", obj.GetAPIVersion(), obj.GetKind())
		}
		s.store(k, obj.DeepCopy(), "ADDED")
	}
	for ch := range watchers {
		ch <- event{"ERROR", &Object{Object: map[string]any{"apiVersion": "v1", "kind": "Status", "status": "Failure", "reason": "Expired", "code": int64(http.StatusGone)}}}
	}
}

// Requests returns what was asked so far, as method and path.
func (s *Server) Requests() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.requests)
}

// Get returns an object, nil if there is none.
func (s *Server) Get(kind, namespace, name string) *Object {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, obj := range s.objects {
		if obj.GetKind() == kind && obj.GetNamespace() == namespace && obj.GetName() == name {
			return obj.DeepCopy()
		}
	}
	return nil
}

func (s *Server) byKind(obj *Object) (Served, bool) {
	gv := obj.GroupVersionKind()
	for _, k := range s.kinds {
		if k.Kind == gv.Kind && k.Group == gv.Group && k.Version == gv.Version {
			return k, true
		}
	}
	return Served{}, false
}

func key(k Served, namespace, name string) string {
	return strings.Join([]string{k.Group, k.Version, k.Plural, namespace, name}, "|")
}

// store needs the lock.
func (s *Server) store(k Served, obj *Object, change string) {
	s.version++
	obj.SetResourceVersion(strconv.FormatInt(s.version, 10))
	path := key(k, obj.GetNamespace(), obj.GetName())
	if change == "DELETED" {
		delete(s.objects, path)
		s.deleted[path] = obj
	} else {
		s.objects[path] = obj
	}
	for ch, prefix := range s.watchers {
		if strings.HasPrefix(path, prefix) {
			ch <- event{change, obj.DeepCopy()}
		}
	}
}

// write stores what a client wrote and lets the controller act upon it.
func (s *Server) write(k Served, old, now *Object) *Object {
	change := "MODIFIED"
	if old == nil {
		change = "ADDED"
	}
	if generationMoves(old, now) {
		now.SetGeneration(now.GetGeneration() + 1)
	}
	s.store(k, now, change)
	if s.Controller != nil {
		if next := s.Controller(old, now.DeepCopy()); next != nil {
			s.store(k, next, "MODIFIED")
		}
	}
	return now
}

func generationMoves(old, now *Object) bool {
	if old == nil {
		return true
	}
	before, _ := json.Marshal(old.Object["spec"])
	after, _ := json.Marshal(now.Object["spec"])
	return string(before) != string(after)
}

// target is what a path addresses.
type target struct {
	kind            Served
	namespace, name string
	rest            []string // sub-resource
}

func (s *Server) parse(path string) (target, bool) {
	parts := strings.Split(strings.Trim(path, "/"), "/")
	var t target
	group, n := "", 2
	if len(parts) > 0 && parts[0] == "apis" && len(parts) > 3 {
		group, n = parts[1]+"/", 3
	}
	if len(parts) <= n {
		return t, false
	}
	version, rest := parts[n-1], parts[n:]
	if rest[0] == "namespaces" && len(rest) > 2 {
		t.namespace, rest = rest[1], rest[2:]
	}
	s.mu.Lock()
	k, ok := s.kinds[group+version+"/"+rest[0]]
	s.mu.Unlock()
	t.kind = k
	if len(rest) > 1 {
		t.name, t.rest = rest[1], rest[2:]
	}
	return t, ok
}

func (s *Server) serve(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	s.requests = append(s.requests, r.Method+" "+r.URL.Path)
	s.mu.Unlock()
	t, ok := s.parse(r.URL.Path)
	switch {
	case !ok:
		s.discovery(w, r)
	case r.Method == http.MethodGet && t.name == "" && r.URL.Query().Get("watch") == "true":
		s.watch(w, r, t)
	case r.Method == http.MethodGet && t.name == "":
		s.list(w, r, t)
	default:
		s.one(w, r, t)
	}
}

func selects(query map[string][]string, obj *Object) bool {
	get := func(name string) string {
		if len(query[name]) == 0 {
			return ""
		}
		return query[name][0]
	}
	if selector, err := labels.Parse(get("labelSelector")); err != nil || !selector.Matches(labels.Set(obj.GetLabels())) {
		return false
	}
	selector, err := fields.ParseSelector(get("fieldSelector"))
	if err != nil {
		return false
	}
	set := fields.Set{"metadata.name": obj.GetName(), "metadata.namespace": obj.GetNamespace()}
	set["type"], _, _ = unstructured.NestedString(obj.Object, "type")
	for _, field := range []string{"kind", "name"} {
		set["involvedObject."+field], _, _ = unstructured.NestedString(obj.Object, "involvedObject", field)
	}
	return selector.Matches(set)
}

func (s *Server) list(w http.ResponseWriter, r *http.Request, t target) {
	s.mu.Lock()
	defer s.mu.Unlock()
	query := r.URL.Query()
	var paths []string
	prefix := key(t.kind, t.namespace, "")
	if t.namespace == "" {
		prefix = strings.TrimSuffix(prefix, "|")
	}
	for path, obj := range s.objects {
		if strings.HasPrefix(path, prefix) && selects(query, obj) {
			paths = append(paths, path)
		}
	}
	slices.Sort(paths)
	start, _ := strconv.Atoi(query.Get("continue"))
	limit, _ := strconv.Atoi(query.Get("limit"))
	next := ""
	paths = paths[min(start, len(paths)):]
	if limit > 0 && len(paths) > limit {
		paths, next = paths[:limit], strconv.Itoa(start+limit)
	}
	items := make([]any, 0, len(paths))
	for _, path := range paths {
		items = append(items, s.objects[path].Object)
	}
	reply(w, http.StatusOK, map[string]any{
		"apiVersion": strings.Trim(t.kind.Group+"/"+t.kind.Version, "/"), "kind": t.kind.Kind + "List",
		"metadata": map[string]any{"resourceVersion": strconv.FormatInt(s.version, 10), "continue": next},
		"items":    items,
	})
}

func (s *Server) watch(w http.ResponseWriter, r *http.Request, t target) {
	since, _ := strconv.ParseInt(r.URL.Query().Get("resourceVersion"), 10, 64)
	prefix := strings.TrimSuffix(key(t.kind, t.namespace, ""), "|")
	ch := make(chan event, 1000)
	s.mu.Lock()
	for change, objects := range map[string]map[string]*Object{"MODIFIED": s.objects, "DELETED": s.deleted} {
		for path, obj := range objects {
			version, _ := strconv.ParseInt(obj.GetResourceVersion(), 10, 64)
			if strings.HasPrefix(path, prefix) && version > since && (change == "MODIFIED" || s.objects[path] == nil) {
				ch <- event{change, obj.DeepCopy()}
			}
		}
	}
	s.watchers[ch] = prefix
	s.mu.Unlock()
	defer func() {
		s.mu.Lock()
		delete(s.watchers, ch)
		s.mu.Unlock()
	}()
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(http.StatusOK)
	w.(http.Flusher).Flush()
	encoder := json.NewEncoder(w)
	for {
		select {
		case e := <-ch:
			if e.Type != "ERROR" && !selects(r.URL.Query(), e.Object) {
				continue
			}
			if encoder.Encode(e) != nil {
				return
			}
			w.(http.Flusher).Flush()
			if e.Type == "ERROR" {
				return
			}
		case <-r.Context().Done():
			return
		}
	}
}

func reply(w http.ResponseWriter, code int, body any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(code)
	_ = json.NewEncoder(w).Encode(body)
}

func fail(w http.ResponseWriter, code int, reason metav1.StatusReason, t target, message string) {
	reply(w, code, metav1.Status{
		TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "Status"}, Status: metav1.StatusFailure, Code: int32(code), Reason: reason, Message: message,
		Details: &metav1.StatusDetails{Name: t.name, Group: t.kind.Group, Kind: t.kind.Plural},
	})
}
