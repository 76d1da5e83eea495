package process

import (
	"context"
	"net"
	"net/http"
	"net/http/httptest"
	"strconv"
	"sync/atomic"
	"testing"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
)

// target is a server whose health the test sets.
func target(t *testing.T, healthy *atomic.Bool) (prober, intstr.IntOrString) {
	t.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !healthy.Load() || r.URL.Path != "/healthz" {
			w.WriteHeader(http.StatusServiceUnavailable)
		}
	}))
	t.Cleanup(server.Close)
	host, port, err := net.SplitHostPort(server.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	number, err := strconv.Atoi(port)
	if err != nil {
		t.Fatal(err)
	}
	container := &corev1.Container{Name: "c", Ports: []corev1.ContainerPort{{Name: "http", ContainerPort: int32(number)}}}
	return prober{host: host, container: container}, intstr.FromInt(number)
}

func TestProbeOnce(t *testing.T) {
	t.Parallel()
	var healthy atomic.Bool
	healthy.Store(true)
	p, port := target(t, &healthy)
	get := func(path string, port intstr.IntOrString) *corev1.Probe {
		return &corev1.Probe{ProbeHandler: corev1.ProbeHandler{HTTPGet: &corev1.HTTPGetAction{Path: path, Port: port}}}
	}
	dial := func(port intstr.IntOrString) *corev1.Probe {
		return &corev1.Probe{ProbeHandler: corev1.ProbeHandler{TCPSocket: &corev1.TCPSocketAction{Port: port}}}
	}
	tests := []struct {
		reason string
		probe  *corev1.Probe
		good   bool
	}{
		{"a good answer", get("/healthz", port), true},
		{"a port by name", get("healthz", intstr.FromString("http")), true},
		{"a bad answer", get("/other", port), false},
		{"a port that is not named", get("/healthz", intstr.FromString("nobody")), false},
		{"a port that is open", dial(port), true},
		{"a port that is closed", dial(intstr.FromInt32(1)), false},
	}
	for _, test := range tests {
		t.Run(test.reason, func(t *testing.T) {
			t.Parallel()
			if err := p.once(t.Context(), test.probe); (err == nil) != test.good {
				t.Errorf("got %v", err)
			}
		})
	}
}

// TestProbeWatch follows a container from unready over ready to unready.
func TestProbeWatch(t *testing.T) {
	t.Parallel()
	var healthy atomic.Bool
	p, port := target(t, &healthy)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	probe := &corev1.Probe{
		PeriodSeconds:    1,
		FailureThreshold: 1,
		ProbeHandler:     corev1.ProbeHandler{HTTPGet: &corev1.HTTPGetAction{Path: "/healthz", Port: port}},
	}
	changes := make(chan bool)
	go p.watch(ctx, probe, false, func(good bool, _ error) { changes <- good })
	healthy.Store(true)
	if !<-changes {
		t.Fatal("the first change should be to ready")
	}
	healthy.Store(false)
	if <-changes {
		t.Fatal("the second change should be to unready")
	}
}
