// Package process runs pods of known images as processes of this machine.
//
// A container is a process with the pod's arguments, variables and downward
// API. It has no file system and no network of its own: volumes are
// directories, and paths in arguments and variables are translated to them; the
// pod's address 10.244.x.y stands for the loopback address 127.N.x.y, which the
// process finds in FLUX_BIND_HOST and others reach through the node's proxy.
// Its identity is a kubeconfig with a token of the pod's service account.
//
// securityContext and resource limits are not enforced, and there is nothing to
// exec into.
package process

import (
	"context"
	"net/netip"
	"path/filepath"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/record"

	"github.com/gitops-toolkit/flux/sandbox/internal/node/logs"
	"github.com/gitops-toolkit/flux/sandbox/internal/node/report"
	"github.com/gitops-toolkit/flux/sandbox/internal/state"
)

// Options are what the runtime needs from its node.
type Options struct {
	Client kubernetes.Interface
	// Directory keeps the pods' volumes and logs.
	Directory string
	// SandboxID marks the processes.
	SandboxID string
	// Server is the address of the API server.
	Server string
	// Proxy is the address of the node's forward proxy.
	Proxy string
	// BindHost returns the loopback address that stands for a pod's address.
	BindHost func(pod netip.Addr) netip.Addr
	// Images returns the mapping of images at this moment.
	Images func() []state.Image
	// Changed is called when the status of a pod has changed.
	Changed func(types.NamespacedName)
	// Capacity is what a pod without limits may use.
	Capacity corev1.ResourceList
	// Events takes what people should know about a pod.
	Events record.EventRecorder
}

// Runtime runs the pods that have at least one container of a mapped image.
type Runtime struct {
	Options

	mu      sync.Mutex
	claims  map[types.UID]bool
	workers map[types.UID]*worker
	group   sync.WaitGroup
}

// New returns a runtime that has no pods yet.
func New(o Options) *Runtime {
	return &Runtime{Options: o, claims: map[types.UID]bool{}, workers: map[types.UID]*worker{}}
}

// Claims reports whether an image of the pod is mapped. It decides once.
func (r *Runtime) Claims(pod *corev1.Pod) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	claimed, ok := r.claims[pod.UID]
	if ok {
		return claimed
	}
	images := r.Images()
	for _, list := range [][]corev1.Container{pod.Spec.InitContainers, pod.Spec.Containers} {
		for _, c := range list {
			claimed = claimed || find(images, c.Image).known
		}
	}
	r.claims[pod.UID] = claimed
	return claimed
}

// Sync starts the pod when it is new, stops it when it is being deleted, and
// says how it stands.
func (r *Runtime) Sync(_ context.Context, pod *corev1.Pod) (report.Verdict, error) {
	r.mu.Lock()
	w, ok := r.workers[pod.UID]
	if !ok && pod.DeletionTimestamp == nil && !ended(pod) {
		w = newWorker(r, pod)
		r.workers[pod.UID] = w
		r.group.Go(w.run)
	}
	r.mu.Unlock()
	if w == nil {
		// It ended, or was being deleted, in an earlier life of this agent.
		return report.Verdict{Status: pod.Status, Gone: pod.DeletionTimestamp != nil}, nil
	}
	w.update(pod)
	if pod.DeletionTimestamp != nil {
		grace := time.Duration(0)
		if pod.DeletionGracePeriodSeconds != nil {
			grace = time.Duration(*pod.DeletionGracePeriodSeconds) * time.Second
		}
		w.terminate(grace)
	}
	return w.verdict(pod, time.Now()), nil
}

// Forget kills what is left of the pod and removes its files.
func (r *Runtime) Forget(pod *corev1.Pod) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.claims, pod.UID)
	if w, ok := r.workers[pod.UID]; ok {
		delete(r.workers, pod.UID)
		w.terminate(0)
		r.group.Go(w.remove)
	}
}

// Close stops all pods, giving each as long as it asks for but at most grace,
// and waits for them.
func (r *Runtime) Close(grace time.Duration) {
	r.mu.Lock()
	for _, w := range r.workers {
		w.terminate(min(grace, w.ownGrace()))
	}
	r.mu.Unlock()
	r.group.Wait()
}

// Log returns the output of a container, or of its run before this one.
func (r *Runtime) Log(pod types.UID, container string, previous bool) (*logs.Log, bool) {
	r.mu.Lock()
	w := r.workers[pod]
	r.mu.Unlock()
	if w == nil {
		return nil, false
	}
	return w.log(container, previous)
}

// directory is where a pod keeps its files.
func (r *Runtime) directory(pod types.UID) string {
	return filepath.Join(r.Directory, "pods", string(pod))
}

func ended(pod *corev1.Pod) bool {
	return pod.Status.Phase == corev1.PodSucceeded || pod.Status.Phase == corev1.PodFailed
}
