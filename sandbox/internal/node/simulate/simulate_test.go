package simulate

import (
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

var start = time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC)

func newPod(policy corev1.RestartPolicy, annotations map[string]string) *corev1.Pod {
	return &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Name: "p", Namespace: "n", UID: "u", Annotations: annotations},
		Spec: corev1.PodSpec{
			RestartPolicy:  policy,
			InitContainers: []corev1.Container{{Name: "init", Image: "i"}},
			Containers:     []corev1.Container{{Name: "main", Image: "m"}},
		},
	}
}

// word puts a verdict in a few words: phase, ready or the reason why not, and
// the next look.
func word(pod *corev1.Pod, age time.Duration) (phase corev1.PodPhase, state string, again time.Duration) {
	v := At(pod, start, start.Add(age))
	s := v.Status.ContainerStatuses[0]
	switch {
	case s.State.Waiting != nil:
		state = s.State.Waiting.Reason
	case s.State.Terminated != nil:
		state = s.State.Terminated.Reason
	case s.Ready:
		state = "ready"
	default:
		state = "running"
	}
	return v.Status.Phase, state, v.Again
}

func TestLife(t *testing.T) {
	t.Parallel()
	tests := []struct {
		reason      string
		policy      corev1.RestartPolicy
		annotations map[string]string
		age         time.Duration
		phase       corev1.PodPhase
		state       string
		again       time.Duration
	}{
		{"a new pod is being created", corev1.RestartPolicyAlways, nil, 0, corev1.PodPending, "ContainerCreating", readyAfter},
		{"and is ready a moment later, for good", corev1.RestartPolicyAlways, nil, readyAfter, corev1.PodRunning, "ready", 0},
		{"a slow pod runs before it is ready", corev1.RestartPolicyAlways, map[string]string{ReadyAfterAnnotation: "5s"}, time.Second, corev1.PodRunning, "running", 4 * time.Second},
		{"a slow pod gets there", corev1.RestartPolicyAlways, map[string]string{ReadyAfterAnnotation: "5s"}, 5 * time.Second, corev1.PodRunning, "ready", 0},
		{"nonsense counts as the default", corev1.RestartPolicyAlways, map[string]string{ReadyAfterAnnotation: "soon"}, readyAfter, corev1.PodRunning, "ready", 0},
		{"a pod of a Job runs", corev1.RestartPolicyNever, nil, 0, corev1.PodRunning, "ready", completeAfter},
		{"and ends well", corev1.RestartPolicyNever, nil, completeAfter, corev1.PodSucceeded, "Completed", 0},
		{"restart on failure ends well too", corev1.RestartPolicyOnFailure, nil, completeAfter, corev1.PodSucceeded, "Completed", 0},
		{"a long Job takes its time", corev1.RestartPolicyNever, map[string]string{CompleteAfterAnnotation: "1m"}, 59 * time.Second, corev1.PodRunning, "ready", time.Second},
		{"a failing Job fails", corev1.RestartPolicyNever, map[string]string{FailAnnotation: FailError}, completeAfter, corev1.PodFailed, "Error", 0},
		{"a missing image never starts", corev1.RestartPolicyAlways, map[string]string{FailAnnotation: FailImage}, time.Hour, corev1.PodPending, "ImagePullBackOff", 0},
		{"a crash is tried again after ten seconds", corev1.RestartPolicyAlways, map[string]string{FailAnnotation: FailCrash}, 0, corev1.PodRunning, "CrashLoopBackOff", 10 * time.Second},
		{"then after twenty", corev1.RestartPolicyAlways, map[string]string{FailAnnotation: FailCrash}, 10 * time.Second, corev1.PodRunning, "CrashLoopBackOff", 20 * time.Second},
		{"at last every five minutes", corev1.RestartPolicyAlways, map[string]string{FailAnnotation: FailCrash}, 610 * time.Second, corev1.PodRunning, "CrashLoopBackOff", 5 * time.Minute},
		{"a pod may never be ready", corev1.RestartPolicyAlways, map[string]string{FailAnnotation: FailNever}, time.Hour, corev1.PodRunning, "running", 0},
	}
	for _, test := range tests {
		t.Run(test.reason, func(t *testing.T) {
			t.Parallel()
			phase, state, again := word(newPod(test.policy, test.annotations), test.age)
			if phase != test.phase || state != test.state || again != test.again {
				t.Errorf("got %s, %s, again in %s; want %s, %s, %s", phase, state, again, test.phase, test.state, test.again)
			}
		})
	}
}

func TestReadinessGates(t *testing.T) {
	t.Parallel()
	pod := newPod(corev1.RestartPolicyAlways, nil)
	pod.Spec.ReadinessGates = []corev1.PodReadinessGate{{ConditionType: "example.com/gate"}}
	if ready := condition(At(pod, start, start.Add(time.Second)).Status, corev1.PodReady); ready != corev1.ConditionFalse {
		t.Errorf("a pod behind a closed gate is ready: %s", ready)
	}
	pod.Status.Conditions = []corev1.PodCondition{{Type: "example.com/gate", Status: corev1.ConditionTrue}}
	status := At(pod, start, start.Add(time.Second)).Status
	if ready := condition(status, corev1.PodReady); ready != corev1.ConditionTrue {
		t.Errorf("a pod behind an open gate is not ready: %s", ready)
	}
	if gate := condition(status, "example.com/gate"); gate != corev1.ConditionTrue {
		t.Error("the gate's own condition was lost")
	}
}

func TestRepeatedStatusIsTheSame(t *testing.T) {
	t.Parallel()
	pod := newPod(corev1.RestartPolicyAlways, nil)
	pod.Status = At(pod, start, start.Add(time.Second)).Status
	again := At(pod, start, start.Add(time.Hour)).Status
	if a, b := pod.Status.String(), again.String(); a != b {
		t.Errorf("the status of an unchanged pod changed, which would be written for nothing:\n%s\n%s", a, b)
	}
}

func TestDeletion(t *testing.T) {
	t.Parallel()
	now := start
	r := New()
	r.now = func() time.Time { return now }
	grace := int64(30)
	pod := newPod(corev1.RestartPolicyAlways, map[string]string{StopAfterAnnotation: "1h"})
	pod.DeletionTimestamp, pod.DeletionGracePeriodSeconds = &metav1.Time{Time: now}, &grace
	v, err := r.Sync(t.Context(), pod)
	if err != nil || v.Gone || v.Again != 30*time.Second {
		t.Fatalf("a pod that stops slowly should be looked at after its grace period: %+v, %v", v, err)
	}
	now = now.Add(30 * time.Second)
	if v, _ = r.Sync(t.Context(), pod); !v.Gone {
		t.Error("a pod outlived its grace period")
	}
	if v.Status.Phase != "" {
		t.Error("without a finalizer nobody reads the last status, so none should be written")
	}
	pod.Finalizers = []string{"batch.kubernetes.io/job-tracking"}
	if v, _ = r.Sync(t.Context(), pod); !v.Gone || v.Status.Phase != corev1.PodFailed {
		t.Errorf("with a finalizer a deleted pod ends as failed, got %q", v.Status.Phase)
	}
}

func condition(s corev1.PodStatus, kind corev1.PodConditionType) corev1.ConditionStatus {
	for _, c := range s.Conditions {
		if c.Type == kind {
			return c.Status
		}
	}
	return corev1.ConditionUnknown
}
