package kernel

import (
	"context"
	"fmt"

	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/gitops-toolkit/flux/api/meta"
)

// Reconciler is what a kind supplies.
type Reconciler[T meta.Object] interface {
	// References returns what obj reads. It looks at nothing but obj.
	References(obj T) []Reference
	// Reconcile makes one attempt. It changes req.Object.Status and nothing else of the object,
	// leaves the conditions Ready, Reconciling and Stalled to the kernel, and never blocks:
	// what blocks is returned as Working.
	Reconcile(ctx context.Context, req *Request[T]) Outcome
	// Finalize cleans up before the object goes away. Done lets it go: the finalizer is
	// removed. It is called for suspended objects too. Working is allowed.
	Finalize(ctx context.Context, req *Request[T]) Outcome
}

// Kind describes a custom resource to the kernel.
type Kind[T meta.Object] struct {
	// GroupVersionKind of the resource.
	GroupVersionKind schema.GroupVersionKind
	// New returns an empty object.
	New func() T
	// Finalizer, meta.Finalizer when empty.
	Finalizer string
	// Conditions that the kind owns besides Ready, Reconciling and Stalled. All others belong to
	// somebody else and survive.
	Conditions []string
	// Publish tells what referrers look at: the revision that the object stands for now, such
	// as that of its artifact or the one last applied. Nil: status.artifact of a meta.Source.
	Publish func(obj T) Published
	// Strip removes from the cached copies of objects of other shards what nobody reads; what
	// References and Publish look at has to stay. Nil: nothing but managedFields.
	Strip func(obj T)
	// Referents are the kinds that References may name, besides ConfigMap, Secret and the kind
	// itself. They are watched in all shards.
	Referents []Referent
	// Inert tells whether an object is nothing but data for those who refer to it: it gets neither finalizer nor status,
	// and what an earlier life left of them is cleaned up. Nil: none is.
	Inert func(obj T) bool
	// Annotations of the object whose change starts a pass, besides requestedAt.
	Annotations []string
	// DependsField is the field whose entries are references with DependsOn; spec.dependsOn when empty.
	DependsField string
	// SuspendedMessage is the log line of a suspended object; a default is used when empty.
	SuspendedMessage string
	// Attempt is what Reconciling says of an attempt that failed before it had told of any progress. Nil: such an
	// attempt leaves the condition as it was.
	Attempt func(obj T) string
}

// Processing is what most kinds say of an attempt that has not come far.
func Processing[T meta.Object](obj T) string {
	if before := obj.GetObservedGeneration(); before != obj.GetGeneration() {
		return fmt.Sprintf("processing object: new generation %d -> %d", before, obj.GetGeneration())
	}
	return "reconciliation in progress"
}

// Published is what the referrers of an object react to.
type Published struct {
	// Revision, a change of which wakes the referrers.
	Revision string
	// Digest of the content; its change wakes only together with that of the observed
	// generation, so that other bytes of the same content wake nobody.
	Digest string
}

// Referent is a kind that other objects refer to. Build it with Refer.
type Referent struct {
	// GroupVersionKind of the referent.
	GroupVersionKind schema.GroupVersionKind
	newObject        func() client.Object
	describe         func(client.Object) description
	strip            func(client.Object)
}

// Refer describes a referent kind. Publish and strip mean what they mean in Kind. Strip may be nil; otherwise it removes
// from a copy for the cache what the referrers never read (managedFields go by themselves).
func Refer[T meta.Object](gvk schema.GroupVersionKind, newObject func() T, publish func(T) Published, strip func(T)) Referent {
	r := Referent{
		GroupVersionKind: gvk,
		newObject:        func() client.Object { return newObject() },
		describe: func(o client.Object) description {
			obj, ok := o.(T)
			if !ok {
				return description{}
			}
			return describe(obj, publish)
		},
	}
	if strip != nil {
		r.strip = func(o client.Object) {
			if obj, ok := o.(T); ok {
				strip(obj)
			}
		}
	}
	return r
}
