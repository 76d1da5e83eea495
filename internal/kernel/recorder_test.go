package kernel

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"time"

	"github.com/go-logr/logr"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/rest"
)

// eventServer is the part of an API server that takes Events. It refuses the first requests with
// the given codes.
type eventServer struct {
	mu      sync.Mutex
	refuse  []metav1.Status
	created []corev1.Event
	patches int
}

func (s *eventServer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	w.Header().Set("Content-Type", "application/json")
	if len(s.refuse) > 0 {
		status := s.refuse[0]
		s.refuse = s.refuse[1:]
		status.Kind, status.APIVersion = "Status", "v1"
		w.WriteHeader(int(status.Code))
		_ = json.NewEncoder(w).Encode(status)
		return
	}
	var e corev1.Event
	if err := json.NewDecoder(r.Body).Decode(&e); err != nil {
		w.WriteHeader(http.StatusBadRequest)
		return
	}
	if r.Method == http.MethodPatch {
		s.patches++
	} else {
		s.created = append(s.created, e)
	}
	e.Kind, e.APIVersion, e.ResourceVersion = "Event", "v1", "7"
	_ = json.NewEncoder(w).Encode(e)
}

// recorded runs f with a recorder and returns what the server got once all was delivered.
func recorded(t *testing.T, refuse []metav1.Status, f func(*recorder)) *eventServer {
	t.Helper()
	s := &eventServer{refuse: refuse}
	srv := httptest.NewServer(s)
	defer srv.Close()
	client, err := eventsClient(&rest.Config{Host: srv.URL, QPS: 1, Burst: 1})
	if err != nil {
		t.Fatal(err)
	}
	r := newRecorder(client, "probe-controller", logr.Discard())
	r.pause, r.lines.drain = time.Millisecond, time.Minute
	ctx, cancel := context.WithCancel(t.Context())
	cancel() // run delivers what is queued, then ends
	f(r)
	r.lines.run(ctx)
	return s
}

func about(name string) corev1.ObjectReference {
	return corev1.ObjectReference{Kind: "Probe", Namespace: "ns", Name: name, UID: types.UID(name), APIVersion: "g/v1"}
}

func TestManyEventsAtOnceAreAllRecorded(t *testing.T) {
	t.Parallel()
	const objects = 1000
	s := recorded(t, nil, func(r *recorder) {
		for i := range objects {
			for _, reason := range []string{"NewArtifact", "Succeeded"} {
				r.record(about(fmt.Sprintf("o%d", i)), nil, corev1.EventTypeNormal, reason, "at once")
			}
		}
	})
	if len(s.created) != 2*objects || s.patches != 0 {
		t.Errorf("%d created and %d patched, want %d created", len(s.created), s.patches, 2*objects)
	}
}

func TestEventsOfABusyObject(t *testing.T) {
	t.Parallel()
	tests := []struct {
		reason           string
		messages         int
		created, patched int
	}{
		{"repeating one counts it up", 1, 1, 59},
		{"a few stay apart", 6, 6, 54},
		{"many similar ones are joined, the client-go way", 60, 10, 50},
	}
	for _, tt := range tests {
		s := recorded(t, nil, func(r *recorder) {
			for i := range 60 {
				r.record(about("busy"), map[string]string{"k": "v"}, corev1.EventTypeWarning, "Failed", fmt.Sprint("message ", i%tt.messages))
			}
		})
		if len(s.created) != tt.created || s.patches != tt.patched {
			t.Errorf("%s: %d created and %d patched, want %d and %d", tt.reason, len(s.created), s.patches, tt.created, tt.patched)
		}
		e := s.created[0]
		if e.Source.Component != "probe-controller" || e.ReportingController != "probe-controller" || e.Count != 1 ||
			e.Type != "Warning" || e.InvolvedObject.UID != "busy" || e.Annotations["k"] != "v" || e.Namespace != "ns" {
			t.Errorf("event %+v", e)
		}
	}
}

func TestRefusedEvents(t *testing.T) {
	t.Parallel()
	terminating := metav1.Status{Code: 403, Reason: metav1.StatusReasonForbidden, Details: &metav1.StatusDetails{
		Causes: []metav1.StatusCause{{Type: corev1.NamespaceTerminatingCause}},
	}}
	tests := []struct {
		reason  string
		refuse  []metav1.Status
		created int
		left    int
	}{
		{"an overloaded server is asked again", []metav1.Status{{Code: 500}, {Code: 503}, {Code: 429, Reason: metav1.StatusReasonTooManyRequests}}, 1, 0},
		{"not for ever", make([]metav1.Status, 7), 0, 1},
		{"what is forbidden stays forbidden", []metav1.Status{{Code: 403, Reason: metav1.StatusReasonForbidden}, {Code: 500}}, 0, 1},
		{"a namespace on its way out takes none", []metav1.Status{terminating, {Code: 500}}, 0, 1},
	}
	for _, tt := range tests {
		for i := range tt.refuse {
			if tt.refuse[i].Code == 0 {
				tt.refuse[i].Code = 500
			}
		}
		s := recorded(t, tt.refuse, func(r *recorder) { r.record(about("a"), nil, corev1.EventTypeNormal, "R", "m") })
		if len(s.created) != tt.created || len(s.refuse) != tt.left {
			t.Errorf("%s: %d created, %d refusals left; want %d and %d", tt.reason, len(s.created), len(s.refuse), tt.created, tt.left)
		}
	}
}
