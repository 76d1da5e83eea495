package kustomize

import (
	"fmt"
	"time"

	"github.com/gitops-toolkit/flux/api/meta"
	"github.com/gitops-toolkit/flux/internal/kernel"
)

// metadata are the keys that every event about a revision carries.
func (t *target) metadata() map[string]string {
	m := map[string]string{"revision": t.revision()}
	if origin := t.ref.OriginRevision(); origin != "" {
		m["originRevision"] = origin
	}
	return m
}

// event tells what has just happened while the attempt goes on, hence its reason.
func (j *job) event(message string) {
	j.req.Event(kernel.Normal(meta.ProgressingReason, message, j.t.metadata()))
}

// finished is the event at the end of a successful attempt. It is always sent for a new revision; otherwise only when
// something changed or somebody asked.
func finished(t *target, took time.Duration, newRevision bool) kernel.Event {
	metadata := t.metadata()
	metadata["commit_status"] = "update"
	message := fmt.Sprintf("Reconciliation finished in %s, next run in %s", took, t.object.GetInterval())
	event := kernel.Normal(meta.ReconciliationSucceededReason, message, metadata)
	event.OnChange = !newRevision
	return event
}

// healthy is the event after a wait for health that had something to tell.
func healthy(t *target, message string) kernel.Event {
	return kernel.Normal(meta.ProgressingReason, message, t.metadata())
}
