package clitest

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"

	jsonpatch "gopkg.in/evanphx/json-patch.v4"
	discoveryv2 "k8s.io/api/apidiscovery/v2"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	utiljson "k8s.io/apimachinery/pkg/util/json"
	"k8s.io/apimachinery/pkg/util/uuid"
)

// one answers requests that address a single object, creations included.
func (s *Server) one(w http.ResponseWriter, r *http.Request, t target) {
	body, err := io.ReadAll(io.LimitReader(r.Body, 10<<20))
	if err != nil {
		fail(w, http.StatusBadRequest, metav1.StatusReasonBadRequest, t, err.Error())
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if r.Method == http.MethodPost {
		s.create(w, t, body)
		return
	}
	old := s.objects[key(t.kind, t.namespace, t.name)]
	if old == nil {
		resource := t.kind.Plural
		if t.kind.Group != "" {
			resource += "." + t.kind.Group
		}
		fail(w, http.StatusNotFound, metav1.StatusReasonNotFound, t, fmt.Sprintf("%s %q not found", resource, t.name))
		return
	}
	switch r.Method {
	case http.MethodGet:
		if slices.Equal(t.rest, []string{"log"}) { // what a pod has written is its annotation log
			_, _ = io.WriteString(w, old.GetAnnotations()["log"])
			return
		}
		reply(w, http.StatusOK, old.Object)
	case http.MethodDelete:
		s.delete(w, t, old, body)
	case http.MethodPut:
		s.put(w, t, old, body)
	case http.MethodPatch:
		s.patch(w, r, t, old, body)
	default:
		fail(w, http.StatusMethodNotAllowed, metav1.StatusReasonMethodNotAllowed, t, r.Method)
	}
}

// decode keeps whole numbers whole, as the accessors of Object need them.
func decode(body []byte) (*Object, error) {
	obj := &Object{}
	return obj, utiljson.Unmarshal(body, &obj.Object)
}

func (s *Server) create(w http.ResponseWriter, t target, body []byte) {
	obj, err := decode(body)
	if err != nil {
		fail(w, http.StatusBadRequest, metav1.StatusReasonBadRequest, t, err.Error())
		return
	}
	t.name = obj.GetName()
	if s.objects[key(t.kind, t.namespace, t.name)] != nil {
		fail(w, http.StatusConflict, metav1.StatusReasonAlreadyExists, t, fmt.Sprintf("%s %q already exists", t.kind.Plural, t.name))
		return
	}
	obj.SetNamespace(t.namespace)
	obj.SetUID(uuid.NewUUID())
	obj.SetCreationTimestamp(metav1.Now())
	reply(w, http.StatusCreated, s.write(t.kind, nil, obj).Object)
}

func (s *Server) put(w http.ResponseWriter, t target, old *Object, body []byte) {
	obj, err := decode(body)
	if err != nil {
		fail(w, http.StatusBadRequest, metav1.StatusReasonBadRequest, t, err.Error())
		return
	}
	if v := obj.GetResourceVersion(); v != "" && v != old.GetResourceVersion() {
		fail(w, http.StatusConflict, metav1.StatusReasonConflict, t, "the object has been modified")
		return
	}
	obj.Object["status"] = old.Object["status"]
	reply(w, http.StatusOK, s.write(t.kind, old, obj).Object)
}

func (s *Server) patch(w http.ResponseWriter, r *http.Request, t target, old *Object, body []byte) {
	if kind := r.Header.Get("Content-Type"); kind != string(types.MergePatchType) {
		fail(w, http.StatusUnsupportedMediaType, metav1.StatusReasonUnsupportedMediaType, t, kind)
		return
	}
	before, err := json.Marshal(old.Object)
	if err == nil {
		before, err = jsonpatch.MergePatch(before, body)
	}
	if err != nil {
		fail(w, http.StatusBadRequest, metav1.StatusReasonBadRequest, t, err.Error())
		return
	}
	obj, err := decode(before)
	if err != nil {
		fail(w, http.StatusBadRequest, metav1.StatusReasonBadRequest, t, err.Error())
		return
	}
	reply(w, http.StatusOK, s.write(t.kind, old, obj).Object)
}

func (s *Server) delete(w http.ResponseWriter, t target, old *Object, body []byte) {
	var opts metav1.DeleteOptions
	if len(body) > 0 {
		if err := json.Unmarshal(body, &opts); err != nil {
			fail(w, http.StatusBadRequest, metav1.StatusReasonBadRequest, t, err.Error())
			return
		}
	}
	if !slices.Contains(opts.DryRun, metav1.DryRunAll) {
		s.store(t.kind, old.DeepCopy(), "DELETED")
	}
	reply(w, http.StatusOK, metav1.Status{TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "Status"}, Status: metav1.StatusSuccess})
}

// discovery answers what is asked about the server itself.
func (s *Server) discovery(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	path := strings.Trim(r.URL.Path, "/")
	switch {
	case path == "version":
		reply(w, http.StatusOK, map[string]any{"major": "1", "minor": "37", "gitVersion": "v1.37.0"})
	case path == "api" || path == "apis":
		reply(w, http.StatusOK, s.groups(path == "api"))
	default:
		reply(w, http.StatusNotFound, metav1.Status{
			TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "Status"}, Status: metav1.StatusFailure, Code: 404,
			Reason: metav1.StatusReasonNotFound, Message: "the server could not find the requested resource", Details: &metav1.StatusDetails{},
		})
	}
}

// groups is what aggregated discovery answers.
func (s *Server) groups(core bool) discoveryv2.APIGroupDiscoveryList {
	list := discoveryv2.APIGroupDiscoveryList{TypeMeta: metav1.TypeMeta{Kind: "APIGroupDiscoveryList", APIVersion: "apidiscovery.k8s.io/v2"}}
	var paths []string
	for path := range s.kinds {
		paths = append(paths, path)
	}
	slices.Sort(paths)
	for _, path := range paths {
		k := s.kinds[path]
		if (k.Group == "") != core {
			continue
		}
		scope := discoveryv2.ScopeNamespace
		if k.Clusters {
			scope = discoveryv2.ScopeCluster
		}
		list.Items = append(list.Items, discoveryv2.APIGroupDiscovery{
			ObjectMeta: metav1.ObjectMeta{Name: k.Group},
			Versions: []discoveryv2.APIVersionDiscovery{{Version: k.Version, Resources: []discoveryv2.APIResourceDiscovery{{
				Resource: k.Plural, SingularResource: strings.ToLower(k.Kind), ShortNames: k.Short, Scope: scope,
				ResponseKind: &metav1.GroupVersionKind{Group: k.Group, Version: k.Version, Kind: k.Kind},
			}}}},
		})
	}
	return list
}
