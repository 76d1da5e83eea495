package kernel

import (
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

// This file is for kinds without a status, which are followed but not reconciled.

// Cache is the informer cache that the process shares; what it returns is not to be changed.
func (m *Manager) Cache() cache.Cache { return m.process.manager.GetCache() }

// Record writes a Kubernetes event about an object of any kind. It is not posted: whoever needs this
// is at the receiving end itself. Metadata becomes annotations of the event.
func (m *Manager) Record(obj client.Object, gvk schema.GroupVersionKind, e Event) {
	kubeType := corev1.EventTypeNormal
	if e.Type == EventWarning {
		kubeType = corev1.EventTypeWarning
	}
	ref := corev1.ObjectReference{
		Kind: gvk.Kind, APIVersion: gvk.GroupVersion().String(), Namespace: obj.GetNamespace(), Name: obj.GetName(),
		UID: obj.GetUID(), ResourceVersion: obj.GetResourceVersion(),
	}
	m.recorder.record(ref, e.Metadata, kubeType, e.Reason, cutMessage(redact(e.Message)))
}
