package process

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/gitops-toolkit/flux/sandbox/internal/node/logs"
	"github.com/gitops-toolkit/flux/sandbox/internal/node/report"
)

// A container that keeps ending is started again ever more slowly, and at once
// again after it has run for a while. The times are a kubelet's.
const (
	firstBackOff = 10 * time.Second
	lastBackOff  = 5 * time.Minute
	forgiveAfter = 10 * time.Minute
)

// container is one container of a pod, over all its runs.
type container struct {
	worker *worker
	uid    string // the pod's
	spec   *corev1.Container
	init   bool

	started chan struct{} // closed at the first start that counts as one

	// Guarded by worker.mu.
	state, last corev1.ContainerState
	restarts    int32
	up, ready   bool // up: the startup probe has passed
	current     *logs.Log
	previous    *logs.Log
	executable  string
}

// newContainer takes over the count of restarts from an earlier life of the
// agent, whose processes have died with it.
func newContainer(w *worker, pod *corev1.Pod, spec *corev1.Container, init bool) *container {
	c := &container{worker: w, uid: string(pod.UID), spec: spec, init: init, started: make(chan struct{})}
	statuses := pod.Status.ContainerStatuses
	if init {
		statuses = pod.Status.InitContainerStatuses
	}
	for _, s := range statuses {
		if s.Name != spec.Name {
			continue
		}
		c.restarts, c.last = s.RestartCount, s.LastTerminationState
		if s.State.Running != nil || s.State.Terminated != nil {
			c.previous, _ = logs.Open(c.logPath(c.restarts))
			c.restarts++
		}
	}
	c.state = waiting("ContainerCreating", "")
	return c
}

func (c *container) sidecar() bool {
	return c.spec.RestartPolicy != nil && *c.spec.RestartPolicy == corev1.ContainerRestartPolicyAlways
}

// run runs the container until it has ended for good by the policy, or the pod
// stops.
func (c *container) run(policy corev1.RestartPolicy) {
	delay := time.Duration(0)
	for first := true; ; first = false {
		if !first {
			c.worker.set(func() { c.restarts++ })
		}
		began := time.Now()
		ran := c.once()
		if c.worker.stopping.Err() != nil || ran && !c.again(policy) {
			return
		}
		if time.Since(began) > forgiveAfter {
			delay = 0
		}
		if delay > 0 {
			c.backOff(delay)
		}
		if !sleep(c.worker.stopping, delay) {
			return
		}
		delay = min(max(2*delay, firstBackOff), lastBackOff)
	}
}

// once starts the container, retrying until it can be started, and returns true
// when it has run and ended.
func (c *container) once() bool {
	for delay := 200 * time.Millisecond; ; delay = min(2*delay, 10*time.Second) {
		found := find(c.worker.runtime.Images(), c.spec.Image)
		if !found.known {
			return c.pretend()
		}
		err := c.execute(found)
		if err == nil {
			return true
		}
		if c.worker.stopping.Err() != nil {
			return false
		}
		var why *refusal
		if !errors.As(err, &why) {
			why = &refusal{"RunContainerError", err}
		}
		c.worker.set(func() { c.state = waiting(why.reason, why.err.Error()) })
		c.worker.event(corev1.EventTypeWarning, "Failed", why.err.Error())
		if !sleep(c.worker.stopping, delay) {
			return false
		}
	}
}

// refusal is why a container cannot be started, with the kubelet's word for it.
type refusal struct {
	reason string
	err    error
}

func (r *refusal) Error() string { return r.err.Error() }

// execute runs one process from start to end. An error says that it could not
// be started.
func (c *container) execute(found match) error {
	if found.executable == "" {
		return &refusal{"ImagePullBackOff", fmt.Errorf("the sandbox maps other tags of this image, but not %q: map it with `flux sandbox up --image %s=EXECUTABLE`", c.spec.Image, c.spec.Image)}
	}
	cmd, err := c.command(found)
	if err != nil {
		return &refusal{"CreateContainerConfigError", err}
	}
	log, err := logs.Create(c.logPath(c.restarts))
	if err != nil {
		return err
	}
	out, errs := log.Stream("stdout"), log.Stream("stderr")
	cmd.Stdout, cmd.Stderr = out, errs
	process, err := start(cmd)
	if err != nil {
		log.Close()
		return err
	}
	startedAt := time.Now()
	c.worker.set(func() {
		if c.current != nil {
			c.previous = c.current
		}
		c.executable, c.current = found.executable, log
		c.state = corev1.ContainerState{Running: &corev1.ContainerStateRunning{StartedAt: report.Seconds(startedAt)}}
	})
	c.attend(process)
	out.Close()
	errs.Close()
	log.Close()
	c.ended(process, startedAt)
	return nil
}

// attend probes the process until it ends, and ends it when the pod is to stop
// or the liveness probe says so.
func (c *container) attend(p *running) {
	probing, stopProbing := context.WithCancel(c.worker.stopping)
	defer stopProbing()
	sick := make(chan string, 1)
	go c.probe(probing, sick)
	select {
	case <-p.done:
		return
	case <-c.worker.stopping.Done():
		c.worker.set(func() { c.ready = false })
		p.signal(syscall.SIGTERM)
		select {
		case <-p.done:
		case <-c.worker.killing.Done():
			p.signal(syscall.SIGKILL)
			<-p.done
		}
	case message := <-sick:
		c.worker.event(corev1.EventTypeNormal, "Killing", message)
		p.signal(syscall.SIGTERM)
		grace, cancel := context.WithTimeout(c.worker.killing, c.worker.ownGrace())
		defer cancel()
		select {
		case <-p.done:
		case <-grace.Done():
			p.signal(syscall.SIGKILL)
			<-p.done
		}
	}
}

// probe starts with the startup probe; readiness and liveness begin after it.
func (c *container) probe(ctx context.Context, sick chan<- string) {
	p := prober{host: c.worker.host, container: c.spec}
	if probe := c.spec.StartupProbe; probe != nil {
		if good, cause := p.until(ctx, probe); !good {
			if ctx.Err() == nil {
				say(sick, fmt.Sprintf("container %s failed its startup probe: %v", c.spec.Name, cause))
			}
			return
		}
	}
	c.worker.set(func() { c.up, c.ready = true, c.spec.ReadinessProbe == nil })
	c.announce()
	if probe := c.spec.LivenessProbe; probe != nil {
		go p.watch(ctx, probe, true, func(good bool, cause error) {
			if !good {
				c.worker.event(corev1.EventTypeWarning, "Unhealthy", fmt.Sprintf("Liveness probe failed: %v", cause))
				say(sick, fmt.Sprintf("container %s failed its liveness probe and will be restarted: %v", c.spec.Name, cause))
			}
		})
	}
	if probe := c.spec.ReadinessProbe; probe != nil {
		p.watch(ctx, probe, false, func(good bool, cause error) {
			if !good {
				c.worker.event(corev1.EventTypeWarning, "Unhealthy", fmt.Sprintf("Readiness probe failed: %v", cause))
			}
			c.worker.set(func() { c.ready = good })
		})
	}
}

// say sends the first message and drops later ones.
func say(sick chan<- string, message string) {
	select {
	case sick <- message:
	default:
	}
}

// ended records how a process ended.
func (c *container) ended(p *running, startedAt time.Time) {
	code, signal := p.exit()
	reason := "Completed"
	if code != 0 {
		reason = "Error"
	}
	c.worker.set(func() {
		c.up, c.ready = false, false
		os.Remove(c.logPath(c.restarts - 2))
		os.Remove(c.logPath(c.restarts-2) + ".old")
		c.state = corev1.ContainerState{Terminated: &corev1.ContainerStateTerminated{
			ExitCode: int32(code), Signal: int32(signal), Reason: reason, ContainerID: c.id(),
			StartedAt: report.Seconds(startedAt), FinishedAt: report.Seconds(time.Now()),
		}}
		c.last = c.state
	})
}

// again reports whether a container that has ended is to be started again.
func (c *container) again(policy corev1.RestartPolicy) bool {
	return policy == corev1.RestartPolicyAlways || policy == corev1.RestartPolicyOnFailure && !c.succeeded()
}

func (c *container) backOff(delay time.Duration) {
	message := fmt.Sprintf("back-off %s restarting failed container=%s pod=%s_%s(%s)",
		delay, c.spec.Name, c.worker.name.Name, c.worker.name.Namespace, c.uid)
	c.worker.set(func() { c.state = waiting("CrashLoopBackOff", message) })
	c.worker.event(corev1.EventTypeWarning, "BackOff", message)
}

// pretend is the life of a container whose image is not mapped, in a pod where
// another's is: an init container ends well at once, another one runs.
func (c *container) pretend() bool {
	now := report.Seconds(time.Now())
	if c.init && !c.sidecar() {
		c.worker.set(func() {
			c.state = corev1.ContainerState{Terminated: &corev1.ContainerStateTerminated{
				Reason: "Completed", ContainerID: c.id(), StartedAt: now, FinishedAt: now,
			}}
		})
		return true
	}
	c.worker.set(func() {
		c.up, c.ready = true, true
		c.state = corev1.ContainerState{Running: &corev1.ContainerStateRunning{StartedAt: now}}
	})
	c.announce()
	<-c.worker.stopping.Done()
	return true
}

func (c *container) announce() {
	c.worker.mu.Lock()
	defer c.worker.mu.Unlock()
	select {
	case <-c.started:
	default:
		close(c.started)
	}
}

func (c *container) waitStarted() bool {
	select {
	case <-c.started:
		return true
	case <-c.worker.stopping.Done():
		return false
	}
}

func (c *container) succeeded() bool {
	c.worker.mu.Lock()
	defer c.worker.mu.Unlock()
	return c.state.Terminated != nil && c.state.Terminated.ExitCode == 0
}

func (c *container) id() string {
	return fmt.Sprintf("sandbox-process://%s/%s/%d", c.uid, c.spec.Name, c.restarts)
}

func (c *container) dir() string {
	return filepath.Join(c.worker.dir, "containers", c.spec.Name)
}

func (c *container) logPath(run int32) string {
	return filepath.Join(c.dir(), fmt.Sprintf("%d.log", run))
}

func waiting(reason, message string) corev1.ContainerState {
	return corev1.ContainerState{Waiting: &corev1.ContainerStateWaiting{Reason: reason, Message: message}}
}

// directories makes the container's own directories.
func (c *container) directories() (root, temp string, err error) {
	root, temp = filepath.Join(c.dir(), "root"), filepath.Join(c.dir(), "tmp")
	for _, dir := range []string{root, temp} {
		if err := os.MkdirAll(dir, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
			return "", "", err
		}
	}
	return root, temp, nil
}
