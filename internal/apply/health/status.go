package health

import (
	"context"
	"fmt"

	"github.com/fluxcd/cli-utils/pkg/kstatus/status"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/gitops-toolkit/flux/internal/apply"
	"github.com/gitops-toolkit/flux/internal/apply/why"
)

// Object is one object to wait for.
type Object struct {
	apply.Ref
	// VanishesWhenDone says that absence means completion: a Job with a time to live.
	VanishesWhenDone bool
	// Current says that the object is known to be healthy unless an expression decides otherwise.
	Current bool
}

// FromApplied turns the objects of an apply into objects to wait for; skip leaves out the owner
// itself, which would wait for its own end.
func FromApplied(applied []apply.Applied, skip func(apply.Ref) bool) []Object {
	out := make([]Object, 0, len(applied))
	for _, a := range applied {
		if skip != nil && skip(a.Ref) {
			continue
		}
		out = append(out, Object{Ref: a.Ref, VanishesWhenDone: a.VanishesWhenDone, Current: a.Current})
	}
	return out
}

// State is what is known of one object.
type State struct {
	Object
	// Status is a status of kstatus; empty when nothing is known yet.
	Status status.Status
	// Message is why the object is not Current.
	Message string
	// Err is why the object could not be read or judged.
	Err error
	// live is the object as last read.
	live *unstructured.Unstructured
}

// String renders the state as the errors of the tables do.
func (s State) String() string {
	st := s.Status
	if st == "" {
		st = status.UnknownStatus
	}
	text := fmt.Sprintf("%s status: '%s'", s.Subject(), st)
	if s.Err != nil {
		text += ": " + s.Err.Error()
	}
	return text
}

// Compute judges a live object. jobExprs lets expressions win over the rules for Jobs.
func Compute(ctx context.Context, u *unstructured.Unstructured, exprs *Exprs, jobExprs bool) (status.Status, string, error) {
	gk := u.GroupVersionKind().GroupKind()
	job := gk.Group == "batch" && gk.Kind == "Job"
	if c := exprs.lookup(gk); c != nil && (!job || jobExprs) {
		return c.status(ctx, u)
	}
	res, err := status.Compute(u)
	if err != nil {
		return status.UnknownStatus, "", err
	}
	if job && (res.Status == status.CurrentStatus || res.Status == status.InProgressStatus) {
		return jobStatus(u, res.Message)
	}
	return res.Status, res.Message, nil
}

// jobStatus is what remains of a Job that has not failed: it must complete, unless it is suspended.
func jobStatus(u *unstructured.Unstructured, message string) (status.Status, string, error) {
	if suspended, _, _ := unstructured.NestedBool(u.Object, "spec", "suspend"); suspended {
		return status.CurrentStatus, "Job is suspended", nil
	}
	if conditionTrue(u, "Complete") {
		return status.CurrentStatus, message, nil
	}
	return status.InProgressStatus, message, nil
}

func conditionTrue(u *unstructured.Unstructured, kind string) bool {
	for _, c := range why.Conditions(u) {
		if c["type"] == kind && c["status"] == "True" {
			return true
		}
	}
	return false
}
