package artifactgenerator

import (
	"errors"
	"fmt"
	"strings"

	"github.com/gitops-toolkit/flux/api/meta"
	"github.com/gitops-toolkit/flux/internal/kernel"
)

// conclude turns the result of a job into status and events.
func conclude(req *request, observed string) kernel.Outcome {
	out, ok := req.Job.Value.(*made)
	if !ok { // A panic of the job.
		return failed(meta.FailedReason, req.Job.Err).outcome()
	}
	req.Object.Status.Inventory = out.inventory
	if req.Job.Err != nil {
		var f *failure
		if !errors.As(req.Job.Err, &f) {
			f = failed(reasonBuildFailed, req.Job.Err)
		}
		return f.outcome().WithEvents(out.events...)
	}
	req.Object.Status.ObservedSourcesDigest = observed
	message := fmt.Sprintf("reconciliation succeeded, generated %d artifact(s)", len(out.inventory))
	done := kernel.Done(meta.SucceededReason, message)
	if !out.drifted {
		told := fmt.Sprintf("No drift detected, %d artifact(s) up to date", len(out.inventory))
		e := kernel.Trace(meta.ReadyCondition, told, nil)
		e.OnChange = true
		return done.WithLog(told).WithEvents(e)
	}
	done = done.WithEvents(out.events...).WithEvents(kernel.Trace(meta.ReadyCondition, message, nil)).WithLog(message)
	if len(out.changed) > 0 {
		done = done.WithEvents(kernel.Normal(meta.ReadyCondition, "external artifacts reconciled: "+strings.Join(out.changed, "\n"), nil))
	}
	return done
}
