package update

import (
	"errors"
	"fmt"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	imagev1 "github.com/gitops-toolkit/flux/api/image/v1"
	"github.com/gitops-toolkit/flux/api/meta"
	"github.com/gitops-toolkit/flux/internal/image/edits"
	"github.com/gitops-toolkit/flux/internal/kernel"
)

const (
	upToDate  = "repository up-to-date"
	noChange  = "no change since last reconciliation"
	maxListed = 10
)

// recordPush writes into the status what was pushed, and what is still to be.
func (out *result) recordPush(obj *imagev1.ImageUpdateAutomation) {
	if out.owed != nil {
		obj.Status.PendingCommit = *out.owed
	}
	if out.commit == "" {
		return
	}
	obj.Status.LastPushCommit, obj.Status.LastPushTime = out.commit, meta.TimePtr(out.pushed)
}

// conclude turns the result of a run into status and events.
func (r *run) conclude() kernel.Outcome {
	out, ok := r.req.Job.Value.(*result)
	if !ok { // A panic of the job.
		return kernel.Failed(meta.FailedReason, r.req.Job.Err).Backoff()
	}
	if err := r.req.Job.Err; err != nil {
		var f *failure
		if !errors.As(err, &f) {
			f = &failure{reason: meta.FailedReason, err: err}
		}
		return f.outcome()
	}
	return r.succeeded(out)
}

func (r *run) succeeded(out *result) kernel.Outcome {
	st := &r.obj.Status
	told := upToDate
	if out.unchanged {
		told = noChange
	} else {
		r.settle(out)
	}
	if out.commit != "" || st.LastAutomationRunTime == nil || r.req.Job.Requested != st.LastHandledReconcileAt || !r.wasReady() {
		st.LastAutomationRunTime = meta.TimePtr(time.Now())
	}
	e := kernel.Trace(meta.SucceededReason, told, nil)
	e.OnChange = true
	o := kernel.Done(meta.SucceededReason, upToDate).WithLog(told).WithEvents(e)
	if !samePolicies(r.images, out.images) { // A policy has chosen another image meanwhile.
		return o.Again()
	}
	return o
}

func (r *run) wasReady() bool {
	c := r.obj.Status.Conditions.Get(meta.ReadyCondition)
	return c != nil && c.Status == metav1.ConditionTrue
}

// settle writes down what a run went by, and the markers that it could not write to.
func (r *run) settle(out *result) {
	st := &r.obj.Status
	st.ObservedSourceRevision = out.revision
	st.ObservedPolicies = nil
	if len(out.images) > 0 {
		st.ObservedPolicies = out.images
	}
	if len(out.skipped) == 0 {
		r.req.RemoveCondition(imagev1.MarkersSkippedCondition)
		return
	}
	r.req.SetCondition(imagev1.MarkersSkippedCondition, metav1.ConditionTrue, "NotUpdated", listed(out.skipped))
}

// listed names the first markers that were skipped, and why.
func listed(skipped []edits.Skipped) string {
	var lines []string
	for _, s := range skipped[:min(maxListed, len(skipped))] {
		at := s.File
		if s.Line > 0 {
			at = fmt.Sprintf("%s:%d", s.File, s.Line)
		}
		lines = append(lines, at+": "+s.Why)
	}
	if more := len(skipped) - maxListed; more > 0 {
		lines = append(lines, fmt.Sprintf("and %d more; `flux image preview` lists all", more))
	}
	return strings.Join(lines, "; ")
}
