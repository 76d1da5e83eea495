package kernel

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/metadata"
	"k8s.io/client-go/rest"
)

// setBack is the part of an API server that lists and watches, and cuts each watch at once.
type setBack struct {
	mu             sync.Mutex
	version        int
	down           bool // watches are refused
	lists, watches int
}

func (s *setBack) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	w.Header().Set("Content-Type", "application/json")
	if r.URL.Query().Get("watch") == "" {
		s.lists++
		_ = json.NewEncoder(w).Encode(metav1.PartialObjectMetadataList{
			TypeMeta: metav1.TypeMeta{Kind: "PartialObjectMetadataList", APIVersion: "meta.k8s.io/v1"},
			ListMeta: metav1.ListMeta{ResourceVersion: fmt.Sprint(s.version)},
		})
		return
	}
	if s.down {
		w.WriteHeader(http.StatusServiceUnavailable)
		return
	}
	s.watches++
}

func TestWatchFromTheFutureExpires(t *testing.T) {
	t.Parallel()
	tests := []struct {
		reason        string
		version       int  // of the server at the second watch, which asks for what follows 100
		ended         bool // the first watch came to its own end
		initial       bool // the first watch began with the present state instead of a list
		down          bool // a watch in between could not be had
		selector      string
		expired       bool
		lists, passed int
	}{
		{"after a cut the server is asked, and is further", 120, false, false, false, "", false, 1, 2},
		{"a server that stands where it stood", 100, false, false, false, "", false, 1, 2},
		{"a server that was set back", 80, false, false, false, "", true, 1, 1},
		{"a server that was set back, after a watch that stood for a list", 80, false, true, false, "", true, 1, 1},
		{"a watch that ended by itself is followed without a question", 80, true, false, false, "", false, 0, 2},
		{"a server that was down and set back, and has grown past the version since", 120, false, false, true, "", true, 1, 1},
		{"another watch of the same kind is not that watch", 80, false, false, false, "a=b", false, 0, 2},
	}
	for _, tt := range tests {
		s := &setBack{version: 100}
		srv := httptest.NewServer(s)
		config := &rest.Config{Host: srv.URL}
		watchHorizon(config)
		client, err := metadata.NewForConfig(config)
		if err != nil {
			t.Fatal(err)
		}
		pods := client.Resource(schema.GroupVersionResource{Version: "v1", Resource: "pods"})
		timeout := int64(300)
		if tt.ended {
			timeout = 0
		}
		watch := func(selector string, initial bool) error {
			o := metav1.ListOptions{ResourceVersion: "100", TimeoutSeconds: &timeout, LabelSelector: selector}
			if initial {
				o.SendInitialEvents, o.ResourceVersionMatch = &initial, metav1.ResourceVersionMatchNotOlderThan
			}
			w, err := pods.Watch(t.Context(), o)
			if err == nil {
				for range w.ResultChan() {
				}
			}
			return err
		}
		if err := watch("", tt.initial); err != nil {
			t.Fatal(err)
		}
		s.mu.Lock()
		s.down = tt.down
		s.mu.Unlock()
		if tt.down {
			if err := watch("", false); err == nil {
				t.Errorf("%s: watched a server that was down", tt.reason)
			}
		}
		s.mu.Lock()
		s.version, s.down = tt.version, false
		s.mu.Unlock()
		err = watch(tt.selector, false)
		if apierrors.IsResourceExpired(err) != tt.expired || err != nil && !tt.expired {
			t.Errorf("%s: %v", tt.reason, err)
		}
		if s.lists != tt.lists || s.watches != tt.passed {
			t.Errorf("%s: %d lists and %d watches, want %d and %d", tt.reason, s.lists, s.watches, tt.lists, tt.passed)
		}
		srv.Close()
	}
}

func TestNothingIsRememberedOfAnotherTime(t *testing.T) {
	t.Parallel()
	var all states
	name := types.NamespacedName{Namespace: "ns", Name: "a"}
	st := all.get(name)
	cancelled := false
	job := &run{cancel: func(error) { cancelled = true }}
	st.uid, st.memory, st.result, st.job, st.trigger = "u", "future", &JobResult{}, job, 0
	all.rewind(name)
	if !st.rewound {
		t.Fatal("the next pass does not learn that the API server was set back")
	}
	st.reset("u")
	if st.memory != nil || st.result != nil || st.rewound || !st.trigger.Has(TriggerNew) {
		t.Errorf("after a reset: %+v", st)
	}
	if !cancelled || !job.void {
		t.Errorf("the job of another time: cancelled %v, void %v", cancelled, job.void)
	}
}
