package kustomize

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/gitops-toolkit/flux/api/meta"
	"github.com/gitops-toolkit/flux/internal/apply"
	"github.com/gitops-toolkit/flux/internal/kernel"
	"github.com/gitops-toolkit/flux/internal/kustomize/spec"
)

// stale takes from an apply what is to be pruned. Without spec.prune it is forgotten.
func (j *job) stale(applied *apply.Result) apply.Inventory {
	if !j.t.spec().Prune {
		return nil
	}
	return applied.Stale()
}

// prune deletes what was applied before and is no longer built. What could not be deleted stays in the inventory, and
// so does what another Kustomization is about to take over.
func (j *job) prune(ctx context.Context, stale apply.Inventory) error {
	if len(stale) == 0 {
		return nil
	}
	keeper := j.c.keeper(ctx, j.t.name(), j.t.cluster(), stale)
	with := map[apply.ID]string{}
	res, err := apply.Prune(ctx, apply.PruneOptions{
		Client: j.result.client, Owner: spec.Owner(j.t.object), Objects: stale, Concurrency: j.c.ConcurrentSSA, Keep: keeper.keep,
		Approve: func(doomed []apply.Ref) error {
			if err := j.t.checkBudget(doomed, len(j.previous)); err != nil {
				return err
			}
			with = j.result.client.Consequences(ctx, doomed)
			return nil
		},
	})
	kept, handed := keeper.kept(stale)
	for _, e := range kept {
		j.c.desires.hold(e.ID, j.t.name())
	}
	j.result.held = len(kept) > 0
	j.result.inventory = notNil(j.result.inventory.Without(stale).Union(kept).Union(res.Survivors))
	if text := pruneText(res.Changes, with, handed, kept); text != "" {
		j.event(text)
	}
	if err != nil {
		return failed(meta.PruneFailedReason, err)
	}
	return nil
}

// errBudget is the cause of a reconciliation that would delete more than it may.
var errBudget = errors.New("the prune budget does not allow it")

// checkBudget compares what is about to be deleted with the annotation; of is the size of the inventory.
func (t *target) checkBudget(doomed []apply.Ref, of int) error {
	text := strings.TrimSpace(t.object.Annotations[pruneBudgetAnnotation])
	if text == "" {
		return nil
	}
	allowed, err := parseBudget(text, of)
	if err != nil {
		return fmt.Errorf("nothing was deleted: annotation %s: %w", pruneBudgetAnnotation, err)
	}
	if len(doomed) <= allowed {
		return nil
	}
	var lines []string
	for i, ref := range doomed {
		if i == maxListed {
			lines = append(lines, fmt.Sprintf("and %d more", len(doomed)-maxListed))
			break
		}
		lines = append(lines, ref.Subject())
	}
	return fmt.Errorf("%w: %d of %d objects would be deleted, annotation %s allows %s; bring them back to the source, or raise or remove the annotation to let them go. Nothing was deleted of\n%s",
		errBudget, len(doomed), of, pruneBudgetAnnotation, text, strings.Join(lines, "\n"))
}

// maxListed bounds how many objects a message names.
const maxListed = 20

// parseBudget reads a number of objects, or a percentage of the inventory, rounded down.
func parseBudget(text string, of int) (int, error) {
	number, percent := strings.CutSuffix(text, "%")
	n, err := strconv.Atoi(strings.TrimSpace(number))
	if err != nil || n < 0 || percent && n > 100 {
		return 0, fmt.Errorf("%q is neither a number of objects such as \"10\" nor a share of the inventory such as \"25%%\"", text)
	}
	if percent {
		return of * n / 100, nil
	}
	return n, nil
}

// pruneJob deletes what an apply left over, after the others had their time to say what they want.
func (c *controller) pruneJob(req *request, t *target, mem *memory, a *applied) kernel.Job {
	after := *a
	after.pending = nil
	j := &job{c: c, req: req, t: t, loud: mem.before.loud, previous: a.previous, tracking: mem.tracking, result: &after}
	stale := a.pending
	return kernel.Job{Key: t.pruneKey(), Run: func(ctx context.Context) (any, error) {
		defer j.tracking.begin()()
		desired := j.result.inventory.Without(stale)
		err := j.prune(ctx, stale)
		if err == nil {
			j.tracking.settle(desired, a.look)
		}
		return j.result, err
	}}
}

// handOverJob waits for Kustomizations that may want what is to be pruned.
func (c *controller) handOverJob(req *request, t *target, mem *memory, a *applied) kernel.Job {
	mem.result = a
	loud := mem.before.loud
	return kernel.Job{Key: t.handOverKey(), Waits: true, Run: func(ctx context.Context) (any, error) {
		p := kernel.Progress{Message: fmt.Sprintf(
			"Waiting up to %s before %d objects are pruned, for other Kustomizations that may want them", handOverPatience, len(a.pending))}
		if loud {
			p.Ready = progressReady
		}
		req.Progress(p)
		return nil, c.awaitOthers(ctx, t.name(), t.cluster())
	}}
}
