package process

import (
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/gitops-toolkit/flux/sandbox/internal/node/report"
)

// verdict puts the pod's state into the words of the API.
func (w *worker) verdict(pod *corev1.Pod, now time.Time) report.Verdict {
	w.mu.Lock()
	defer w.mu.Unlock()
	status := pod.Status.DeepCopy()
	status.ObservedGeneration = pod.Generation
	status.Reason, status.Message = "", ""
	status.InitContainerStatuses, status.ContainerStatuses = nil, nil
	for _, c := range w.containers {
		if c.init {
			status.InitContainerStatuses = append(status.InitContainerStatuses, c.status(w.problem))
		} else {
			status.ContainerStatuses = append(status.ContainerStatuses, c.status(w.problem))
		}
	}
	status.Phase = w.phase()
	ready, reason := w.ready(), "ContainersNotReady"
	switch status.Phase {
	case corev1.PodSucceeded:
		reason = "PodCompleted"
	case corev1.PodFailed:
		reason = "PodFailed"
	}
	report.Conditions(pod, status, ready, w.initialised || status.Phase == corev1.PodSucceeded, reason, now)
	return report.Verdict{Status: *status, Gone: w.gone && pod.DeletionTimestamp != nil}
}

// phase is what the containers' states add up to.
func (w *worker) phase() corev1.PodPhase {
	if !w.gone {
		for _, c := range w.containers {
			if !c.init && (c.state.Waiting == nil || c.last.Terminated != nil) {
				return corev1.PodRunning
			}
		}
		return corev1.PodPending
	}
	for _, c := range w.containers {
		if c.init && c.sidecar() {
			continue
		}
		if t := c.state.Terminated; t == nil || t.ExitCode != 0 {
			return corev1.PodFailed
		}
	}
	return corev1.PodSucceeded
}

func (w *worker) ready() bool {
	if w.gone || w.stopping.Err() != nil || !w.initialised {
		return false
	}
	for _, c := range w.containers {
		if (!c.init || c.sidecar()) && !c.ready {
			return false
		}
	}
	return true
}

// status must be called with the worker's lock held.
func (c *container) status(problem string) corev1.ContainerStatus {
	up := c.up
	s := corev1.ContainerStatus{
		Name: c.spec.Name, Image: c.spec.Image, RestartCount: c.restarts,
		State: *c.state.DeepCopy(), LastTerminationState: *c.last.DeepCopy(),
		Ready: c.ready || c.init && c.state.Terminated != nil && c.state.Terminated.ExitCode == 0, Started: &up,
	}
	if s.State.Terminated != nil {
		// The last state is the one before the present one.
		s.LastTerminationState = corev1.ContainerState{}
	}
	if c.executable != "" {
		s.ImageID = "sandbox-executable://" + c.executable
		s.ContainerID = c.id()
	}
	if problem != "" && s.State.Waiting != nil {
		s.State.Waiting.Message = problem
	}
	return s
}
