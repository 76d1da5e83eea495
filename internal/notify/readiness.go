package notify

import (
	"cmp"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"

	"github.com/gitops-toolkit/flux/api/meta"
	"github.com/gitops-toolkit/flux/internal/notify/event"
)

// readiness is what is kept of an object that is followed.
type readiness struct {
	metav1.ObjectMeta
	ready    *metav1.Condition // nil: it has none
	observed int64             // the generation that the condition is about
	revision string
}

// toReadiness reduces an object on its way into the store.
func toReadiness(in any) (any, error) {
	obj, ok := in.(*unstructured.Unstructured)
	if !ok {
		return in, nil
	}
	out := &readiness{ObjectMeta: metav1.ObjectMeta{
		Namespace: obj.GetNamespace(), Name: obj.GetName(), UID: obj.GetUID(), Generation: obj.GetGeneration(),
		ResourceVersion: obj.GetResourceVersion(), DeletionTimestamp: obj.GetDeletionTimestamp(),
	}}
	out.observed, _, _ = unstructured.NestedInt64(obj.Object, "status", "observedGeneration")
	if out.observed == 0 { // ExternalArtifacts may have none
		out.observed = out.Generation
	}
	out.ready = readyOf(obj)
	out.revision = revisionIn(obj)
	return out, nil
}

// readyOf reads the condition Ready; nil: there is none that makes sense.
func readyOf(obj *unstructured.Unstructured) *metav1.Condition {
	all, _, _ := unstructured.NestedFieldNoCopy(obj.Object, "status", "conditions")
	list, _ := all.([]any)
	for _, one := range list {
		fields, _ := one.(map[string]any)
		if fields["type"] != meta.ReadyCondition {
			continue
		}
		c := &metav1.Condition{}
		if runtime.DefaultUnstructuredConverter.FromUnstructured(fields, c) != nil {
			return nil
		}
		return c
	}
	return nil
}

// revisionIn is the revision that an object's status names, each kind in a place of its own.
func revisionIn(obj *unstructured.Unstructured) string {
	artifact, _, _ := unstructured.NestedString(obj.Object, "status", "artifact", "revision")
	applied, _, _ := unstructured.NestedString(obj.Object, "status", "lastAppliedRevision")
	all, _, _ := unstructured.NestedFieldNoCopy(obj.Object, "status", "history")
	version := ""
	if list, _ := all.([]any); len(list) > 0 {
		latest, _ := list[0].(map[string]any)
		version, _ = latest["chartVersion"].(string)
	}
	return cmp.Or(artifact, applied, version)
}

const (
	// headStart is how long the event that tells of a recovery has to arrive: it says more.
	headStart = 2 * time.Second
	// doubtFor is how long a state that contradicts the event of a failure, and may just be older, is doubted.
	doubtFor = time.Minute
)

// over tells whether a failure that was heard of at some time has ended, or else when that may be seen without another
// change. A nil readiness is an object that is not there; gone says that it was seen to go.
func (r *readiness) over(failed, now time.Time, gone bool) (over bool, again time.Time) {
	since := failed.Add(doubtFor)
	switch {
	case r == nil && gone:
		return true, time.Time{}
	case r == nil: // it may not be here yet
	case r.DeletionTimestamp != nil, r.ready == nil, r.ready.Status != metav1.ConditionTrue, r.observed != r.Generation:
		return false, time.Time{}
	case !r.ready.LastTransitionTime.Time.Before(failed.Truncate(time.Second)):
		since = r.ready.LastTransitionTime.Add(headStart)
	}
	return !now.Before(since), since
}

// words are reason and message of the recovery, and the revision where the object names one.
func (r *readiness) words() (reason, message, revision string) {
	if r == nil {
		return event.ReasonDeleted, "the object was deleted", ""
	}
	return r.ready.Reason, r.ready.Message, r.revision
}
