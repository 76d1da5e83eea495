package node

import (
	"context"
	"fmt"
	"net/http"
	"net/netip"
	"strings"

	corev1 "k8s.io/api/core/v1"
	typedcorev1 "k8s.io/client-go/kubernetes/typed/core/v1"
	"k8s.io/client-go/tools/record"

	"github.com/gitops-toolkit/flux/sandbox/internal/node/kubelet"
	"github.com/gitops-toolkit/flux/sandbox/internal/node/logs"
	"github.com/gitops-toolkit/flux/sandbox/internal/node/proxy"
	"github.com/gitops-toolkit/flux/sandbox/internal/pki"
	"github.com/gitops-toolkit/flux/sandbox/internal/plane"
	"github.com/gitops-toolkit/flux/sandbox/internal/state"
)

// serveKubelet serves logs, port-forward and the way to pods to the API server.
func (a *agent) serveKubelet(ctx context.Context, dir state.Dir, current *state.State, tunnel http.Handler) error {
	return kubelet.Serve(ctx, kubelet.Options{
		Address:     loopback(current.Ports.Kubelet),
		Certificate: pki.Pair{Cert: dir.Path("pki", "kubelet.crt"), Key: dir.Path("pki", "kubelet.key")},
		ClientCA:    dir.Path("pki", "ca.crt"),
		Pods:        a,
		Tunnel:      tunnel,
	})
}

// proxy maps the names and addresses of the cluster to processes.
func (a *agent) proxy(current *state.State) http.Handler {
	return proxy.NewHandler(&proxy.Cluster{
		Services:       a.factory.Core().V1().Services().Lister(),
		Slices:         a.factory.Discovery().V1().EndpointSlices().Lister(),
		PodNetwork:     netip.MustParsePrefix(plane.PodCIDR),
		ServiceNetwork: netip.MustParsePrefix(plane.ServiceCIDR),
		Host:           a.network.host,
		APIServer:      strings.TrimPrefix(current.APIServer, "https://"),
	})
}

// startEvents sends what a person should know about a pod to the API server.
func (a *agent) startEvents() record.EventBroadcaster {
	broadcaster := record.NewBroadcaster()
	broadcaster.StartRecordingToSink(&typedcorev1.EventSinkImpl{Interface: a.client.CoreV1().Events("")})
	return broadcaster
}

// Pod returns a pod of this node.
func (a *agent) Pod(namespace, name string) (*corev1.Pod, error) {
	return a.lister.Pods(namespace).Get(name)
}

// Log returns the output of a container of a pod that runs as processes.
func (a *agent) Log(pod *corev1.Pod, container string, previous bool) (log *logs.Log, real, ok bool) {
	if !a.processes.Claims(pod) {
		return nil, false, false
	}
	log, ok = a.processes.Log(pod.UID, container, previous)
	return log, true, ok
}

// Host returns the loopback address that stands for the pod's.
func (a *agent) Host(pod *corev1.Pod) (string, error) {
	if !a.processes.Claims(pod) {
		return "", fmt.Errorf("pod %s/%s is simulated by the sandbox: nothing listens there", pod.Namespace, pod.Name)
	}
	addr, err := netip.ParseAddr(pod.Status.PodIP)
	if err != nil {
		return "", fmt.Errorf("pod %s/%s has no address yet", pod.Namespace, pod.Name)
	}
	return a.network.host(addr).String(), nil
}
