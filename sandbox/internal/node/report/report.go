// Package report holds what every runtime of the node tells the agent about a
// pod, and the conditions that a kubelet derives from it.
package report

import (
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// Verdict says how a pod stands.
type Verdict struct {
	// Status is the whole status to report.
	Status corev1.PodStatus
	// Again is when to look next, if nothing happens before; 0 means never.
	Again time.Duration
	// Gone says that a pod that was being deleted runs no more.
	Gone bool
}

// Seconds rounds as the API does, so that a status read back equals the one
// written.
func Seconds(t time.Time) metav1.Time { return metav1.NewTime(t.Truncate(time.Second)) }

// Conditions sets the kubelet's conditions on status, which has its phase
// already. A pod with readiness gates is ready only when others have opened
// them. reason says why the containers are not ready, if they are not.
func Conditions(pod *corev1.Pod, status *corev1.PodStatus, ready, initialised bool, reason string, now time.Time) {
	set := func(kind corev1.PodConditionType, is bool, reason, message string) {
		setCondition(pod, status, kind, is, reason, message, now)
	}
	set(corev1.PodReadyToStartContainers, status.Phase == corev1.PodRunning, "", "")
	waiting := ""
	if !initialised {
		waiting = "containers with incomplete status: " + unready(status.InitContainerStatuses)
	}
	set(corev1.PodInitialized, initialised, "ContainersNotInitialized", waiting)
	message := ""
	if !ready && reason == "ContainersNotReady" {
		message = "containers with unready status: " + unready(status.ContainerStatuses)
	}
	set(corev1.ContainersReady, ready, reason, message)
	if ready && !gatesOpen(pod, status) {
		ready, reason, message = false, "ReadinessGatesNotReady", "a readiness gate of the pod is not true"
	}
	set(corev1.PodReady, ready, reason, message)
}

func setCondition(pod *corev1.Pod, status *corev1.PodStatus, kind corev1.PodConditionType, is bool, reason, message string, now time.Time) {
	c := corev1.PodCondition{
		Type: kind, Status: corev1.ConditionTrue, LastTransitionTime: Seconds(now),
		ObservedGeneration: pod.Generation,
	}
	if !is {
		c.Status, c.Reason, c.Message = corev1.ConditionFalse, reason, message
	}
	for i, old := range status.Conditions {
		if old.Type != kind {
			continue
		}
		if old.Status == c.Status {
			c.LastTransitionTime = old.LastTransitionTime
		}
		status.Conditions[i] = c
		return
	}
	status.Conditions = append(status.Conditions, c)
}

func gatesOpen(pod *corev1.Pod, status *corev1.PodStatus) bool {
	for _, gate := range pod.Spec.ReadinessGates {
		open := false
		for _, c := range status.Conditions {
			open = open || c.Type == gate.ConditionType && c.Status == corev1.ConditionTrue
		}
		if !open {
			return false
		}
	}
	return true
}

func unready(statuses []corev1.ContainerStatus) string {
	var all []string
	for _, s := range statuses {
		if !s.Ready {
			all = append(all, s.Name)
		}
	}
	return fmt.Sprint(all)
}
