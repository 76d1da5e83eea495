package kernel

import (
	"testing"
	"time"

	"github.com/go-logr/logr"
	"k8s.io/apimachinery/pkg/types"

	notificationv1 "github.com/gitops-toolkit/flux/api/notification/v1"
)

// What a job has read is older than a change that came while it ran, or before the pass that takes its result.
func TestJobsAreOutdatedByReferents(t *testing.T) {
	t.Parallel()
	obj := &notificationv1.Receiver{}
	for name, test := range map[string]struct {
		st   *state
		want bool
	}{
		"the job has ended":            {&state{trigger: TriggerJob | TriggerReference, result: &JobResult{}}, true},
		"nothing changed":              {&state{trigger: TriggerJob, result: &JobResult{}}, false},
		"the change started the job":   {&state{trigger: TriggerJob, result: &JobResult{}, attempt: &attempt{trigger: TriggerReference, started: time.Now()}}, false},
		"an earlier pass has seen one": {&state{trigger: TriggerJob, result: &JobResult{outdated: true}}, true},
	} {
		p := (&engine{}).begin(types.NamespacedName{Name: "a"}, test.st, obj, logr.Discard())
		if p.job.outdated != test.want {
			t.Errorf("%s: outdated %v", name, p.job.outdated)
		}
	}
	now := time.Now()
	for _, begun := range []*time.Time{nil, &now} {
		running := &state{trigger: TriggerReference, job: &run{}}
		running.job.begun.Store(begun)
		if (&engine{}).begin(types.NamespacedName{Name: "a"}, running, obj, logr.Discard()); running.job.outdated != (begun != nil) {
			t.Errorf("a job that began at %v: outdated %v", begun, running.job.outdated)
		}
	}
}
