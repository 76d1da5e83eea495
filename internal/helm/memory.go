package helm

import (
	"maps"

	apimeta "k8s.io/apimachinery/pkg/api/meta"

	"github.com/gitops-toolkit/flux/api/meta"
	"github.com/gitops-toolkit/flux/internal/kernel"
)

// memory is what the process remembers of one HelmRelease between passes. Only Reconcile changes it; jobs get copies.
type memory struct {
	// settled is the desire of the last success, tried that of the last attempt; with generation and identity.
	settled, tried string
	// storage are the resourceVersions of Helm's Secrets after the last success, and namespace where they are.
	storage   map[string]string
	namespace string
	// drift says that the objects are to be looked at; watch follows them, nil where that is not asked for.
	drift bool
	watch *watching
}

func memoryOf(req *request) *memory {
	mem, ok := req.Memory().(*memory)
	if !ok {
		mem = &memory{}
		req.Remember(mem)
	}
	return mem
}

// take learns from an attempt that has ended: what it did to the release counts, whether its desire is still the newest
// or not. It returns nil when there is none, or when it was cut short by a newer desire.
func (m *memory) take(req *request) *ended {
	job := req.Job
	if job == nil {
		return nil
	}
	done, ok := job.Value.(*ended)
	if !ok || done == nil {
		if job.Err == nil || job.Superseded {
			return nil
		}
		return nil // a panic: the kernel reports it with the next attempt
	}
	done.transfer(req)
	m.tried, m.settled = done.target.full(), ""
	if job.Superseded {
		return nil
	}
	return done
}

// rest tells that nothing is to be done, nil when something is.
func (c *controller) rest(req *request, t *target, mem *memory) *kernel.Outcome {
	ready := apimeta.FindStatusCondition(req.Object.Status.Conditions, meta.ReadyCondition)
	switch {
	case ready == nil || !t.known || req.Trigger.Has(kernel.TriggerNew|kernel.TriggerSpec|kernel.TriggerRequested):
		return nil
	case mem.settled == t.full():
		if mem.drift {
			return nil
		}
		if !req.Trigger.Has(kernel.TriggerInterval) {
			return stop(kernel.Unchanged())
		}
		if c.looksForDrift(t) && !mem.watch.inStep() || !c.untouched(t, mem) {
			return nil
		}
		return stop(kernel.Done(ready.Reason, ready.Message).WithLog(inSyncLog))
	case mem.tried == t.full() && !req.Trigger.Has(kernel.TriggerInterval):
		return stop(kernel.Unchanged()) // the failed attempt comes again when its time has come
	}
	return nil
}

const inSyncLog = "release is in a sync state"

// untouched tells whether Helm's storage is as the last success left it, without a request.
func (c *controller) untouched(t *target, mem *memory) bool {
	if c.Releases == nil || t.spec().KubeConfig != nil {
		return false
	}
	now, ok := c.Releases.Versions(mem.namespace, releaseOf(t))
	return ok && maps.Equal(now, mem.storage)
}
