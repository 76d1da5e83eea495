package kernel

import (
	"fmt"

	apimeta "k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/gitops-toolkit/flux/api/meta"
)

// Change is a set of changes of a referent. Appearing and going away always count.
type Change uint8

// The changes that wake a referrer.
const (
	// OnRevision: another revision is published.
	OnRevision Change = 1 << iota
	// OnReady: Ready became True for the current generation.
	OnReady
	// OnSpec: metadata.generation changed.
	OnSpec
	// OnFailure: Ready became False for the current generation, or for another cause than before. Only who tells of the
	// cause wants it, so the zero value does not mean it.
	OnFailure
	// OnAny is what the zero value of Reference.Wake means.
	OnAny = OnRevision | OnReady | OnSpec
)

// AnyName as the name of a reference means all objects of the kind in the namespace. It is not for ConfigMaps and
// Secrets.
const AnyName = "*"

// Reference is one thing that an object reads.
type Reference struct {
	// Group and Kind of the referent; "" and ConfigMap or Secret are followed by metadata only.
	Group string
	Kind  string
	// Namespace of the referent; the referrer's when empty.
	Namespace string
	Name      string
	// Wake names the changes that wake the referrer; zero means OnAny.
	Wake Change
	// DependsOn marks an edge that must not close a circle.
	DependsOn bool
	// Restricted lets the flag --no-cross-namespace-refs forbid another namespace than the
	// referrer's; the object is then Stalled with reason AccessDenied.
	Restricted bool
}

// ConfigMap returns a reference to a ConfigMap in the referrer's namespace.
func ConfigMap(name string) Reference { return Reference{Kind: "ConfigMap", Name: name} }

// Secret returns a reference to a Secret in the referrer's namespace.
func Secret(name string) Reference { return Reference{Kind: "Secret", Name: name} }

// String returns Kind/namespace/name, as errors and events name objects.
func (r Reference) String() string {
	return fmt.Sprintf("%s/%s/%s", r.Kind, r.Namespace, r.Name)
}

// key identifies a referent in the index.
type refKey struct {
	group, kind string
	types.NamespacedName
}

func (r Reference) key() refKey {
	return refKey{r.Group, r.Kind, types.NamespacedName{Namespace: r.Namespace, Name: r.Name}}
}

// description is what the index compares to tell whether a change of a referent matters.
type description struct {
	generation, observed int64
	ready                bool
	failure              string // why it is not ready, once it is known for the current generation
	Published
}

func describe[T meta.Object](obj T, publish func(T) Published) description {
	d := description{generation: obj.GetGeneration(), observed: obj.GetObservedGeneration()}
	d.ready = d.generation == d.observed && apimeta.IsStatusConditionTrue(obj.GetConditions(), meta.ReadyCondition)
	if c := apimeta.FindStatusCondition(obj.GetConditions(), meta.ReadyCondition); c != nil && c.Status == metav1.ConditionFalse && c.ObservedGeneration == d.generation {
		d.failure = c.Message
	}
	if publish != nil {
		d.Published = publish(obj)
		return d
	}
	if source, ok := any(obj).(meta.Source); ok {
		if a := source.GetArtifact(); a != nil {
			d.Published = Published{Revision: a.Revision, Digest: a.Digest}
		}
	}
	return d
}

// changes tells what is different in now.
func (d description) changes(now description) Change {
	var c Change
	if now.Revision != d.Revision || now.Digest != d.Digest && now.observed != d.observed {
		c |= OnRevision
	}
	if now.ready && !d.ready {
		c |= OnReady
	}
	if now.failure != "" && now.failure != d.failure {
		c |= OnFailure
	}
	if now.generation != d.generation {
		c |= OnSpec
	}
	return c
}
