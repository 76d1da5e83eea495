package simulate

import (
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/gitops-toolkit/flux/sandbox/internal/node/report"
)

// At returns how a pod stands that started at one time, at another.
func At(pod *corev1.Pod, started, now time.Time) report.Verdict {
	b := newBuilder(pod, started, now)
	again := b.live()
	return report.Verdict{Status: b.status, Again: again}
}

// live fills the status and returns the time until the next change.
func (b *builder) live() time.Duration {
	age := b.now.Sub(b.started)
	ends := b.pod.Spec.RestartPolicy != corev1.RestartPolicyAlways && b.pod.Spec.RestartPolicy != ""
	switch b.pod.Annotations[FailAnnotation] {
	case FailImage:
		b.waiting("ImagePullBackOff")
		return 0
	case FailCrash, FailError:
		if b.pod.Spec.RestartPolicy != corev1.RestartPolicyNever {
			return b.crashing(age)
		}
		if left := duration(b.pod, CompleteAfterAnnotation, completeAfter) - age; left > 0 {
			b.running(true)
			return left
		}
		b.terminated(1, "Error")
		return 0
	case FailNever:
		b.running(false)
		return 0
	}
	if ends {
		if left := duration(b.pod, CompleteAfterAnnotation, completeAfter) - age; left > 0 {
			b.running(true)
			return left
		}
		b.terminated(0, "Completed")
		return 0
	}
	return b.becomeReady(age)
}

// becomeReady writes nothing that the next moment would overwrite: a short
// delay goes from pending to ready in one step.
func (b *builder) becomeReady(age time.Duration) time.Duration {
	delay := duration(b.pod, ReadyAfterAnnotation, readyAfter)
	left := delay - age
	if left <= 0 {
		b.running(true)
		return 0
	}
	if delay > time.Second {
		b.running(false)
		return left
	}
	b.status = *b.pod.Status.DeepCopy()
	if b.status.ContainerStatuses == nil {
		b.waiting("ContainerCreating")
	}
	return left
}

// crashing starts the containers again after 10 s, 20 s, 40 s … 5 min, as a
// kubelet does. The number of restarts follows from the age alone.
func (b *builder) crashing(age time.Duration) time.Duration {
	restarts, next, delay := int32(1), 10*time.Second, 10*time.Second
	for age >= next {
		restarts++
		delay = min(2*delay, 5*time.Minute)
		next += delay
	}
	b.crashed(restarts, delay)
	return next - age
}
