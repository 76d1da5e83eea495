// Package why tells people why an object is not ready, from what the cluster says of it: its conditions, the failing
// container of its pods with image and exit code, and the last warning event. It reads as whoever its client is; what
// that may not read it leaves out.
package why

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/dynamic"

	"github.com/gitops-toolkit/flux/internal/apply"
)

// Timeout is long enough for an explanation.
const Timeout = 10 * time.Second

const maxDetail = 400 // bytes of one line

var (
	podsResource   = schema.GroupVersionResource{Version: "v1", Resource: "pods"}
	eventsResource = schema.GroupVersionResource{Version: "v1", Resource: "events"}
)

// NotReady says in one line why an object is not ready. It begins with what is known already; live is the object as it
// was last read, nil when it is not there.
func NotReady(ctx context.Context, client *apply.Client, ref apply.Ref, live *unstructured.Unstructured, known ...string) string {
	r := reader{client.Dynamic()}
	var parts []string
	add := func(text string) {
		if text != "" && !slices.Contains(parts, text) {
			parts = append(parts, text)
		}
	}
	for _, text := range known {
		add(text)
	}
	if live != nil {
		add(conditionMessage(live))
		for _, pod := range r.pods(ctx, live) {
			if trouble := podTrouble(pod); trouble != "" {
				add(trouble)
				add(r.lastWarning(ctx, "Pod", pod.Namespace, pod.Name))
				break
			}
		}
	}
	if warning := r.lastWarning(ctx, ref.Kind, ref.Namespace, ref.Name); !slices.ContainsFunc(parts, func(p string) bool { return saysAlready(p, warning) }) {
		add(warning)
	}
	return shorten(strings.Join(parts, "; "))
}

// reader reads what stands around an object.
type reader struct{ dynamic.Interface }

func shorten(text string) string {
	text = strings.ReplaceAll(text, "\n", " ")
	if len(text) <= maxDetail {
		return text
	}
	return strings.ToValidUTF8(text[:maxDetail-3], "") + "..."
}

// conditionMessage returns the message of the condition that says what is wrong.
func conditionMessage(u *unstructured.Unstructured) string {
	for _, c := range Conditions(u) {
		bad := c["status"] == "False" && (c["type"] == "Ready" || c["type"] == "Available")
		bad = bad || c["status"] == "True" && (c["type"] == "ReplicaFailure" || c["type"] == "Stalled" || c["type"] == "Failed")
		if msg, _ := c["message"].(string); bad && msg != "" {
			return fmt.Sprintf("%v %v: %s", c["type"], c["reason"], msg)
		}
	}
	return ""
}

// pods returns the pods of a workload, or the pod itself.
func (r reader) pods(ctx context.Context, u *unstructured.Unstructured) []corev1.Pod {
	if u.GetKind() == "Pod" && u.GroupVersionKind().Group == "" {
		return toPods([]unstructured.Unstructured{*u})
	}
	raw, ok, _ := unstructured.NestedMap(u.Object, "spec", "selector")
	if !ok || u.GetNamespace() == "" {
		return nil
	}
	var selector metav1.LabelSelector
	if err := runtime.DefaultUnstructuredConverter.FromUnstructured(raw, &selector); err != nil {
		return nil
	}
	if len(selector.MatchLabels) == 0 && len(selector.MatchExpressions) == 0 {
		return nil
	}
	opts := metav1.ListOptions{LabelSelector: metav1.FormatLabelSelector(&selector), Limit: 50}
	pods, err := r.Resource(podsResource).Namespace(u.GetNamespace()).List(ctx, opts)
	if err != nil {
		return nil
	}
	return toPods(pods.Items)
}

func toPods(items []unstructured.Unstructured) []corev1.Pod {
	var pods []corev1.Pod
	for _, item := range items {
		var pod corev1.Pod
		if runtime.DefaultUnstructuredConverter.FromUnstructured(item.Object, &pod) == nil {
			pods = append(pods, pod)
		}
	}
	// The newest pods belong to the rollout that is waited for.
	slices.SortStableFunc(pods, func(a, b corev1.Pod) int {
		return b.CreationTimestamp.Compare(a.CreationTimestamp.Time)
	})
	return pods
}

// podTrouble says which container of a pod is not well, or why the pod does not run.
func podTrouble(pod corev1.Pod) string {
	for _, c := range slices.Concat(pod.Status.InitContainerStatuses, pod.Status.ContainerStatuses) {
		if text := containerTrouble(c); text != "" {
			return fmt.Sprintf("pod %s container %s (image %s): %s", pod.Name, c.Name, c.Image, text)
		}
	}
	for _, c := range pod.Status.Conditions {
		if c.Type == corev1.PodScheduled && c.Status == corev1.ConditionFalse {
			return fmt.Sprintf("pod %s is not scheduled: %s", pod.Name, c.Message)
		}
	}
	if pod.Status.Phase == corev1.PodFailed {
		return fmt.Sprintf("pod %s failed: %s", pod.Name, cmp.Or(pod.Status.Message, pod.Status.Reason))
	}
	return ""
}

func containerTrouble(c corev1.ContainerStatus) string {
	var parts []string
	if s := c.State.Waiting; s != nil && s.Reason != "ContainerCreating" && s.Reason != "PodInitializing" {
		parts = append(parts, strings.TrimSuffix(s.Reason+": "+s.Message, ": "))
	}
	last := c.State.Terminated
	if last == nil {
		last = c.LastTerminationState.Terminated
	}
	if last != nil && last.ExitCode != 0 {
		parts = append(parts, strings.TrimSpace(fmt.Sprintf("exit code %d %s", last.ExitCode, last.Reason)))
	}
	if len(parts) == 0 && c.State.Running != nil && !c.Ready {
		parts = append(parts, "running but not ready")
	}
	return strings.Join(parts, ", ")
}

// lastWarning returns the newest Warning event about an object.
func (r reader) lastWarning(ctx context.Context, kind, namespace, name string) string {
	if namespace == "" {
		namespace = metav1.NamespaceDefault // where events about cluster-scoped objects are kept
	}
	sel := fields.Set{"involvedObject.kind": kind, "involvedObject.name": name, "type": corev1.EventTypeWarning}
	events, err := r.Resource(eventsResource).Namespace(namespace).List(ctx, metav1.ListOptions{FieldSelector: sel.String(), Limit: 100})
	if err != nil || len(events.Items) == 0 {
		return ""
	}
	newest := slices.MaxFunc(events.Items, func(a, b unstructured.Unstructured) int {
		return cmp.Compare(eventTime(a), eventTime(b))
	})
	reason, _, _ := unstructured.NestedString(newest.Object, "reason")
	message, _, _ := unstructured.NestedString(newest.Object, "message")
	message, _, _ = strings.Cut(message, "\n\n") // What follows are the logs of an action.
	return fmt.Sprintf("last event %s: %s", reason, message)
}

// saysAlready tells whether what an event says is part of another text.
func saysAlready(text, warning string) bool {
	_, message, ok := strings.Cut(warning, ": ")
	return ok && strings.Contains(text, message)
}

// eventTime compares as text: all of these are RFC 3339 in UTC.
func eventTime(e unstructured.Unstructured) string {
	last, _, _ := unstructured.NestedString(e.Object, "lastTimestamp")
	precise, _, _ := unstructured.NestedString(e.Object, "eventTime")
	return cmp.Or(last, precise, e.GetCreationTimestamp().UTC().Format(time.RFC3339))
}

// Conditions returns status.conditions, as far as they can be read.
func Conditions(u *unstructured.Unstructured) []map[string]any {
	list, _, _ := unstructured.NestedSlice(u.Object, "status", "conditions")
	var out []map[string]any
	for _, c := range list {
		if m, ok := c.(map[string]any); ok {
			out = append(out, m)
		}
	}
	return out
}
