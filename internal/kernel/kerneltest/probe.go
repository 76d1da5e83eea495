package kerneltest

import (
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/gitops-toolkit/flux/api/meta"
	"github.com/gitops-toolkit/flux/internal/kernel"
)

// GroupVersion of the kinds that only tests know.
var GroupVersion = schema.GroupVersion{Group: "kernel.test.gitops-toolkit.dev", Version: "v1"}

// Probe is a kind without a purpose of its own: what its reconciliation does is up to the test.
type Probe struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`

	Spec   ProbeSpec   `json:"spec,omitempty"`
	Status ProbeStatus `json:"status,omitempty"`
}

// ProbeSpec has a field for everything that the kernel acts upon.
type ProbeSpec struct {
	Interval      meta.Duration                    `json:"interval"`
	RetryInterval *meta.Duration                   `json:"retryInterval,omitempty"`
	Timeout       *meta.Duration                   `json:"timeout,omitempty"`
	Suspend       bool                             `json:"suspend,omitempty"`
	Input         string                           `json:"input,omitempty"`
	DependsOn     []meta.NamespacedObjectReference `json:"dependsOn,omitempty"`
	SourceRef     *meta.NamespacedObjectReference  `json:"sourceRef,omitempty"`
	ConfigMaps    []string                         `json:"configMaps,omitempty"`
	Secrets       []string                         `json:"secrets,omitempty"`
}

// ProbeStatus is what a reconciliation leaves.
type ProbeStatus struct {
	ObservedGeneration     int64             `json:"observedGeneration,omitempty"`
	LastHandledReconcileAt string            `json:"lastHandledReconcileAt,omitempty"`
	Conditions             meta.Conditions   `json:"conditions,omitempty"`
	Revision               string            `json:"revision,omitempty"`
	Inventory              []string          `json:"inventory,omitempty"`
	Notes                  map[string]string `json:"notes,omitempty"`
}

// ProbeList is a list of probes.
type ProbeList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`
	Items           []Probe `json:"items"`
}

var _ meta.Object = &Probe{}

// addToScheme makes the kind known.
func addToScheme(s *runtime.Scheme) error {
	s.AddKnownTypes(GroupVersion, &Probe{}, &ProbeList{})
	metav1.AddToGroupVersion(s, GroupVersion)
	return nil
}

// GetConditions implements meta.Object.
func (p *Probe) GetConditions() []metav1.Condition { return p.Status.Conditions }

// SetConditions implements meta.Object.
func (p *Probe) SetConditions(c []metav1.Condition) { p.Status.Conditions = c }

// GetObservedGeneration implements meta.Object.
func (p *Probe) GetObservedGeneration() int64 { return p.Status.ObservedGeneration }

// SetObservedGeneration implements meta.Object.
func (p *Probe) SetObservedGeneration(g int64) { p.Status.ObservedGeneration = g }

// GetLastHandledReconcileAt implements meta.Object.
func (p *Probe) GetLastHandledReconcileAt() string { return p.Status.LastHandledReconcileAt }

// SetLastHandledReconcileAt implements meta.Object.
func (p *Probe) SetLastHandledReconcileAt(at string) { p.Status.LastHandledReconcileAt = at }

// GetInterval implements meta.Object.
func (p *Probe) GetInterval() time.Duration { return p.Spec.Interval.Duration }

// GetRetryInterval implements meta.Object.
func (p *Probe) GetRetryInterval() time.Duration {
	return p.Spec.RetryInterval.ValueOr(p.Spec.Interval.Duration)
}

// GetTimeout implements meta.Object.
func (p *Probe) GetTimeout() time.Duration { return p.Spec.Timeout.ValueOr(0) }

// IsSuspended implements meta.Object.
func (p *Probe) IsSuspended() bool { return p.Spec.Suspend }

// References returns what a probe refers to; tests use it as the kind's function.
func (p *Probe) References() []kernel.Reference {
	var refs []kernel.Reference
	for _, d := range p.Spec.DependsOn {
		refs = append(refs, kernel.Reference{Group: GroupVersion.Group, Kind: "Probe", Namespace: d.Namespace, Name: d.Name, DependsOn: true})
	}
	if s := p.Spec.SourceRef; s != nil {
		refs = append(refs, kernel.Reference{Group: GroupVersion.Group, Kind: "Probe", Namespace: s.Namespace, Name: s.Name, Restricted: true})
	}
	for _, name := range p.Spec.ConfigMaps {
		refs = append(refs, kernel.ConfigMap(name))
	}
	for _, name := range p.Spec.Secrets {
		refs = append(refs, kernel.Secret(name))
	}
	return refs
}

// DeepCopyObject implements runtime.Object.
func (p *Probe) DeepCopyObject() runtime.Object { return p.DeepCopy() }

// DeepCopy returns a copy.
func (p *Probe) DeepCopy() *Probe {
	out := *p
	out.ObjectMeta = *p.ObjectMeta.DeepCopy()
	out.Spec.DependsOn = append([]meta.NamespacedObjectReference(nil), p.Spec.DependsOn...)
	out.Spec.ConfigMaps = append([]string(nil), p.Spec.ConfigMaps...)
	out.Spec.Secrets = append([]string(nil), p.Spec.Secrets...)
	out.Spec.RetryInterval, out.Spec.Timeout = clone(p.Spec.RetryInterval), clone(p.Spec.Timeout)
	out.Spec.SourceRef = clone(p.Spec.SourceRef)
	out.Status.Inventory = append([]string(nil), p.Status.Inventory...)
	out.Status.Conditions = append(meta.Conditions(nil), p.Status.Conditions...)
	if p.Status.Notes != nil {
		out.Status.Notes = map[string]string{}
		for k, v := range p.Status.Notes {
			out.Status.Notes[k] = v
		}
	}
	return &out
}

func clone[T any](p *T) *T {
	if p == nil {
		return nil
	}
	v := *p
	return &v
}

// DeepCopyObject implements runtime.Object.
func (l *ProbeList) DeepCopyObject() runtime.Object {
	out := *l
	out.Items = make([]Probe, len(l.Items))
	for i := range l.Items {
		out.Items[i] = *l.Items[i].DeepCopy()
	}
	return &out
}
