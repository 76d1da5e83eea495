package process

import (
	"context"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/gitops-toolkit/flux/sandbox/internal/node/logs"
	"github.com/gitops-toolkit/flux/sandbox/internal/state"
)

// worker is one pod: it prepares the volumes, runs the init containers one
// after the other and then all containers side by side, until each has ended
// for good or the pod is to stop.
type worker struct {
	runtime *Runtime
	name    types.NamespacedName
	dir     string
	host    string // the loopback address that stands for the pod's
	volumes *volumes

	stopping context.Context // ends when the containers are to stop
	stop     context.CancelFunc
	killing  context.Context // ends when they have had time enough
	kill     context.CancelFunc
	finished chan struct{}

	mu          sync.Mutex
	pod         *corev1.Pod
	timer       *time.Timer
	problem     string // why the containers cannot be started yet
	initialised bool
	gone        bool
	containers  []*container
}

func newWorker(r *Runtime, pod *corev1.Pod) *worker {
	w := &worker{
		runtime: r, name: types.NamespacedName{Namespace: pod.Namespace, Name: pod.Name},
		dir: r.directory(pod.UID), pod: pod.DeepCopy(), finished: make(chan struct{}),
	}
	if addr, err := netip.ParseAddr(pod.Status.PodIP); err == nil {
		w.host = r.BindHost(addr).String()
	}
	w.stopping, w.stop = context.WithCancel(context.Background())
	w.killing, w.kill = context.WithCancel(context.Background())
	w.volumes = &volumes{
		objects: objects{client: r.Client, namespace: pod.Namespace},
		pod:     w.object, dir: w.dir, claims: filepath.Join(r.Directory, "claims"), capacity: r.Capacity,
	}
	for i := range w.pod.Spec.InitContainers {
		w.containers = append(w.containers, newContainer(w, w.pod, &w.pod.Spec.InitContainers[i], true))
	}
	for i := range w.pod.Spec.Containers {
		w.containers = append(w.containers, newContainer(w, w.pod, &w.pod.Spec.Containers[i], false))
	}
	return w
}

// run is the pod's life.
func (w *worker) run() {
	defer w.end()
	if !w.prepare() {
		return
	}
	background := sync.WaitGroup{}
	defer background.Wait()
	background.Go(w.renew)
	if !w.initialise(&background) {
		return
	}
	w.set(func() { w.initialised = true })
	var group sync.WaitGroup
	for _, c := range w.containers {
		if !c.init {
			group.Go(func() { c.run(w.policy()) })
		}
	}
	group.Wait()
	w.terminate(w.ownGrace()) // sidecars end with the last container
}

// prepare fills the volumes, again and again until it succeeds: what they name
// may come later than the pod.
func (w *worker) prepare() bool {
	for delay := 100 * time.Millisecond; ; delay = min(2*delay, 10*time.Second) {
		err := w.volumes.fill(w.stopping)
		if err == nil {
			w.set(func() { w.problem = "" })
			return true
		}
		if w.stopping.Err() != nil {
			return false
		}
		w.set(func() { w.problem = err.Error() })
		if delay > time.Second {
			w.event(corev1.EventTypeWarning, "FailedMount", err.Error())
		}
		if !sleep(w.stopping, delay) {
			return false
		}
	}
}

// initialise runs the init containers; sidecars among them go on running.
func (w *worker) initialise(background *sync.WaitGroup) bool {
	for _, c := range w.containers {
		if !c.init {
			continue
		}
		if c.sidecar() {
			background.Go(func() { c.run(corev1.RestartPolicyAlways) })
			if !c.waitStarted() {
				return false
			}
			continue
		}
		policy := w.policy()
		if policy == corev1.RestartPolicyAlways {
			policy = corev1.RestartPolicyOnFailure
		}
		c.run(policy)
		if !c.succeeded() {
			w.terminate(w.ownGrace())
			return false
		}
	}
	return true
}

func (w *worker) policy() corev1.RestartPolicy {
	if policy := w.object().Spec.RestartPolicy; policy != "" {
		return policy
	}
	return corev1.RestartPolicyAlways
}

// terminate asks the containers to stop now and kills them after grace. A later
// call can only shorten the time.
func (w *worker) terminate(grace time.Duration) {
	w.stop()
	w.mu.Lock()
	defer w.mu.Unlock()
	if grace <= 0 {
		w.kill()
		return
	}
	if w.timer == nil {
		w.timer = time.AfterFunc(grace, w.kill)
	}
}

func (w *worker) ownGrace() time.Duration {
	if s := w.object().Spec.TerminationGracePeriodSeconds; s != nil {
		return time.Duration(*s) * time.Second
	}
	return 30 * time.Second
}

// end marks the pod as run out.
func (w *worker) end() {
	w.stop()
	w.mu.Lock()
	if w.timer != nil {
		w.timer.Stop()
	}
	w.mu.Unlock()
	w.set(func() { w.gone = true })
	close(w.finished)
}

// remove waits for the end and deletes the pod's files.
func (w *worker) remove() {
	<-w.finished
	if err := state.Remove(w.dir); err != nil {
		fmt.Fprintf(os.Stderr, "remove the files of pod %s: %v\n", w.name, err)
	}
}

// update takes over a newer version of the pod's object, for its labels and
// annotations; the rest of what concerns us cannot change.
func (w *worker) update(pod *corev1.Pod) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.pod = pod.DeepCopy()
}

// object returns the pod's object, which nobody changes.
func (w *worker) object() *corev1.Pod {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.pod
}

// set changes the state and tells the agent.
func (w *worker) set(change func()) {
	w.mu.Lock()
	change()
	w.mu.Unlock()
	w.runtime.Changed(w.name)
}

func (w *worker) event(kind, reason, message string) {
	w.runtime.Events.Event(w.object(), kind, reason, message)
}

func (w *worker) log(name string, previous bool) (*logs.Log, bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	i := slices.IndexFunc(w.containers, func(c *container) bool { return c.spec.Name == name })
	if i < 0 {
		return nil, false
	}
	c := w.containers[i]
	log := c.current
	// Between two runs the one that has ended is both.
	if previous && (c.state.Waiting == nil || log == nil) {
		log = c.previous
	}
	return log, log != nil
}
