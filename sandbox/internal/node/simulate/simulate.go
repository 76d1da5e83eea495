// Package simulate pretends to run pods: a pod becomes ready after a moment, a
// pod that is meant to end ends well, and annotations make one slow or failing.
// Nothing runs, so Deployments, StatefulSets, DaemonSets and Jobs take their
// true course without images.
//
// The whole of it is one function from a pod and the time it has been running
// to its status and the moment of its next change.
package simulate

import (
	"context"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/gitops-toolkit/flux/sandbox/internal/node/report"
)

// Annotations on a pod (or in a workload's pod template) that change its
// simulated life. Times are Go durations. They may be set on a running pod.
const (
	// ReadyAfterAnnotation delays readiness.
	ReadyAfterAnnotation = "gitops-toolkit.dev/sandbox-ready-after"
	// CompleteAfterAnnotation delays the end of a pod that is meant to end.
	CompleteAfterAnnotation = "gitops-toolkit.dev/sandbox-complete-after"
	// StopAfterAnnotation delays the end of a pod that is being deleted; its
	// grace period is the most it takes.
	StopAfterAnnotation = "gitops-toolkit.dev/sandbox-stop-after"
	// FailAnnotation makes the pod fail in one of the ways below.
	FailAnnotation = "gitops-toolkit.dev/sandbox-fail"
)

// Values of FailAnnotation.
const (
	// FailCrash has the containers exit with 1 and be started again, ever more
	// slowly; a pod that must not be started again has failed.
	FailCrash = "CrashLoopBackOff"
	// FailImage has the image not be found.
	FailImage = "ImagePullBackOff"
	// FailNever has the containers run and never be ready.
	FailNever = "NeverReady"
	// FailError has a pod that is meant to end fail; it is FailCrash for others.
	FailError = "Error"
)

// Defaults: long enough to be seen, short enough not to be waited for.
const (
	readyAfter    = 200 * time.Millisecond
	completeAfter = 500 * time.Millisecond
	stopAfter     = 100 * time.Millisecond
)

// Runtime simulates every pod.
type Runtime struct {
	mu   sync.Mutex
	pods map[types.UID]*record
	now  func() time.Time
}

// record keeps what the API rounds to seconds.
type record struct{ started, stopping time.Time }

// New returns a runtime that claims all pods.
func New() *Runtime { return &Runtime{pods: map[types.UID]*record{}, now: time.Now} }

// Claims is true: whatever nobody else runs is simulated.
func (r *Runtime) Claims(*corev1.Pod) bool { return true }

// Sync returns the pod's status at this moment.
func (r *Runtime) Sync(_ context.Context, pod *corev1.Pod) (report.Verdict, error) {
	now := r.now()
	rec := r.record(pod, now)
	if pod.DeletionTimestamp == nil {
		return At(pod, rec.started, now), nil
	}
	if rec.stopping.IsZero() {
		rec.stopping = now
	}
	return stopped(pod, rec.stopping, now), nil
}

// Forget drops the pod.
func (r *Runtime) Forget(pod *corev1.Pod) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.pods, pod.UID)
}

func (r *Runtime) record(pod *corev1.Pod, now time.Time) *record {
	r.mu.Lock()
	defer r.mu.Unlock()
	rec, ok := r.pods[pod.UID]
	if !ok {
		rec = &record{started: now}
		// A pod that ran before the agent did keeps its age.
		if start := pod.Status.StartTime; start != nil && now.Sub(start.Time) > 2*time.Second {
			rec.started = start.Time
		}
		r.pods[pod.UID] = rec
	}
	return rec
}

// stopped is the life of a pod that is being deleted.
func stopped(pod *corev1.Pod, since, now time.Time) report.Verdict {
	grace := stopAfter
	if seconds := pod.DeletionGracePeriodSeconds; seconds != nil {
		grace = min(duration(pod, StopAfterAnnotation, stopAfter), time.Duration(*seconds)*time.Second)
	}
	if left := grace - now.Sub(since); left > 0 {
		return report.Verdict{Status: pod.Status, Again: left}
	}
	v := report.Verdict{Status: pod.Status, Gone: true}
	// Whoever holds a finalizer (the Job controller does) still looks at how
	// the pod ended.
	if len(pod.Finalizers) > 0 && pod.Status.Phase != corev1.PodSucceeded && pod.Status.Phase != corev1.PodFailed {
		b := newBuilder(pod, since, now)
		b.terminated(137, "Error")
		v.Status = b.status
	}
	return v
}

func duration(pod *corev1.Pod, annotation string, otherwise time.Duration) time.Duration {
	d, err := time.ParseDuration(pod.Annotations[annotation])
	if err != nil || d < 0 {
		return otherwise
	}
	return d
}
