package kernel

import (
	"maps"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/gitops-toolkit/flux/api/meta"
)

// emit records an event in Kubernetes and, unless it is a trace, posts it to the events address.
func (e *engine) emit(obj meta.Object, ev Event) {
	severity, kubeType := "info", corev1.EventTypeNormal
	switch ev.Type {
	case EventWarning:
		severity, kubeType = "error", corev1.EventTypeWarning
	case EventTrace:
		severity = "trace"
	}
	reason := ev.Reason
	if reason == "" {
		reason = severity
		if ready := conditionOf(obj, meta.ReadyCondition); ready != nil {
			reason = ready.Reason
		}
	}
	message := cutMessage(redact(ev.Message))
	metadata := e.metadata(obj, ev.Metadata)
	ref := corev1.ObjectReference{
		Kind: e.gvk.Kind, Namespace: obj.GetNamespace(), Name: obj.GetName(), UID: obj.GetUID(),
		APIVersion: e.gvk.GroupVersion().String(), ResourceVersion: obj.GetResourceVersion(),
	}
	e.m.recorder.record(ref, metadata, kubeType, reason, message)
	if ev.Type == EventTrace || e.m.poster == nil {
		return
	}
	e.m.poster.send(&posted{
		InvolvedObject: ref, Severity: severity, Timestamp: time.Now().UTC().Format(time.RFC3339), Message: message,
		Reason: reason, Metadata: metadata, ReportingController: e.m.name, ReportingInstance: e.m.process.hostname,
	})
}

// metadata adds the group to the keys of the kind, and the object's annotations for events.
func (e *engine) metadata(obj meta.Object, given map[string]string) map[string]string {
	out := map[string]string{}
	for k, v := range obj.GetAnnotations() {
		if strings.HasPrefix(k, meta.EventAnnotationPrefix) {
			out[k] = v
		}
	}
	qualified := map[string]string{}
	for k, v := range given {
		if !strings.Contains(k, "/") {
			k = e.gvk.Group + "/" + k
		}
		qualified[k] = redact(v)
	}
	maps.Copy(out, qualified)
	if len(out) == 0 {
		return nil
	}
	return out
}
