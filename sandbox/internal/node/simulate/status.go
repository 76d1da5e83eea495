package simulate

import (
	"crypto/sha256"
	"fmt"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/gitops-toolkit/flux/sandbox/internal/node/report"
)

// builder makes the status of one pod at one moment out of the status it has,
// so that other people's conditions, and times that have not changed, stay.
type builder struct {
	pod          *corev1.Pod
	status       corev1.PodStatus
	started, now time.Time
}

func newBuilder(pod *corev1.Pod, started, now time.Time) *builder {
	b := &builder{pod: pod, status: *pod.Status.DeepCopy(), started: started, now: now}
	b.status.ObservedGeneration = pod.Generation
	b.status.Reason, b.status.Message = "", ""
	return b
}

func (b *builder) waiting(reason string) {
	b.status.Phase = corev1.PodPending
	b.containers(false, func(c corev1.Container, s *corev1.ContainerStatus) {
		message := ""
		if reason == "ImagePullBackOff" {
			message = fmt.Sprintf("Back-off pulling image %q: the sandbox was asked to fail", c.Image)
		}
		s.State = corev1.ContainerState{Waiting: &corev1.ContainerStateWaiting{Reason: reason, Message: message}}
		s.ImageID = ""
	})
	b.conditions(false, reason)
}

func (b *builder) running(ready bool) {
	b.status.Phase = corev1.PodRunning
	b.containers(ready, func(_ corev1.Container, s *corev1.ContainerStatus) {
		if s.State.Running == nil {
			s.State = corev1.ContainerState{Running: &corev1.ContainerStateRunning{StartedAt: report.Seconds(b.now)}}
		}
	})
	b.conditions(ready, "ContainersNotReady")
}

func (b *builder) crashed(restarts int32, delay time.Duration) {
	b.status.Phase = corev1.PodRunning
	b.containers(false, func(c corev1.Container, s *corev1.ContainerStatus) {
		if s.RestartCount < restarts || s.LastTerminationState.Terminated == nil {
			s.LastTerminationState.Terminated = b.exit(1, "Error", s)
		}
		s.RestartCount = restarts
		s.State = corev1.ContainerState{Waiting: &corev1.ContainerStateWaiting{
			Reason:  "CrashLoopBackOff",
			Message: fmt.Sprintf("back-off %s restarting failed container=%s pod=%s_%s(%s)", delay, c.Name, b.pod.Name, b.pod.Namespace, b.pod.UID),
		}}
	})
	b.conditions(false, "ContainersNotReady")
}

func (b *builder) terminated(code int32, reason string) {
	b.status.Phase = corev1.PodSucceeded
	if code != 0 {
		b.status.Phase = corev1.PodFailed
	}
	b.containers(false, func(_ corev1.Container, s *corev1.ContainerStatus) {
		if s.State.Terminated == nil {
			s.State = corev1.ContainerState{Terminated: b.exit(code, reason, s)}
		}
	})
	why := "PodCompleted"
	if code != 0 {
		why = "PodFailed"
	}
	b.conditions(false, why)
}

func (b *builder) exit(code int32, reason string, s *corev1.ContainerStatus) *corev1.ContainerStateTerminated {
	return &corev1.ContainerStateTerminated{
		ExitCode: code, Reason: reason, ContainerID: s.ContainerID,
		StartedAt: report.Seconds(b.started), FinishedAt: report.Seconds(b.now),
	}
}

// containers fills the status of all containers: init containers have done
// their work, sidecars and ordinary containers are as set says.
func (b *builder) containers(ready bool, set func(corev1.Container, *corev1.ContainerStatus)) {
	old := map[string]corev1.ContainerStatus{}
	for _, s := range slices.Concat(b.pod.Status.InitContainerStatuses, b.pod.Status.ContainerStatuses) {
		old[s.Name] = s
	}
	fill := func(c corev1.Container, ready bool, set func(corev1.Container, *corev1.ContainerStatus)) corev1.ContainerStatus {
		s := old[c.Name]
		s.Name, s.Image, s.Ready = c.Name, c.Image, ready
		s.ImageID = fmt.Sprintf("%s@sha256:%x", c.Image, sha256.Sum256([]byte(c.Image)))
		s.ContainerID = fmt.Sprintf("sandbox://%s/%s", b.pod.UID, c.Name)
		set(c, &s)
		started := s.State.Running != nil
		s.Started = &started
		return s
	}
	b.status.InitContainerStatuses, b.status.ContainerStatuses = nil, nil
	for _, c := range b.pod.Spec.InitContainers {
		if c.RestartPolicy != nil && *c.RestartPolicy == corev1.ContainerRestartPolicyAlways {
			b.status.InitContainerStatuses = append(b.status.InitContainerStatuses, fill(c, ready, set))
			continue
		}
		b.status.InitContainerStatuses = append(b.status.InitContainerStatuses, fill(c, true, b.initialised))
	}
	for _, c := range b.pod.Spec.Containers {
		b.status.ContainerStatuses = append(b.status.ContainerStatuses, fill(c, ready, set))
	}
}

func (b *builder) initialised(_ corev1.Container, s *corev1.ContainerStatus) {
	if s.State.Terminated == nil {
		s.State = corev1.ContainerState{Terminated: b.exit(0, "Completed", s)}
	}
}

func (b *builder) conditions(ready bool, reason string) {
	report.Conditions(b.pod, &b.status, ready, true, reason, b.now)
}
