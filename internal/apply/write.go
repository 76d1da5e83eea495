package apply

import (
	"context"
	"errors"
	"fmt"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

// writeAll carries the verdicts out, one object after the other.
func (p *pass) writeAll(ctx context.Context, verdicts []*verdict, completed ChangeLog) error {
	for i, v := range verdicts {
		if ctx.Err() != nil {
			return p.interrupted(ctx, context.Cause(ctx), len(verdicts)-i)
		}
		err := p.write(ctx, v)
		switch {
		case err == nil:
			continue
		case errors.Is(err, errNotRecorded):
			return err
		case p.ContinueOnError:
			v.err = err
			p.failures = append(p.failures, p.failure(v, phaseApply))
		default:
			v.err = err
			return &FailedError{Failures: []Failure{p.failure(v, phaseApply)}, Completed: completed}
		}
	}
	return nil
}

// errNotRecorded marks an error of BeforeFirstWrite: nothing may be written then.
var errNotRecorded = errors.New("the inventory could not be recorded")

// write carries one verdict out. A write that has begun is not cut short by the context.
func (p *pass) write(ctx context.Context, v *verdict) error {
	switch v.decision {
	case decideDone:
		return nil
	case decideSkip:
		p.note(v, Skipped)
		return nil
	case decideUnchanged:
		p.note(v, Unchanged)
		return nil
	}
	if err := p.begin(ctx); err != nil {
		return errors.Join(errNotRecorded, err)
	}
	ctx = context.WithoutCancel(ctx)
	if v.decision == decideRecreate {
		if err := p.remove(ctx, v); err != nil {
			return err
		}
	}
	if v.decision == decideConfigure {
		if err := p.clean(ctx, v); err != nil {
			return fmt.Errorf("metadata.managedFields cleanup failed: %w", err)
		}
	}
	answer, err := p.send(ctx, v.mapping, v.payload, false)
	if err != nil {
		return err
	}
	p.written++
	action, why := p.action(v, answer), p.explain(v, answer)
	p.remember(v, answer)
	v.answer = answer
	v.digest()
	p.note(v, action)
	p.result.Changes[len(p.result.Changes)-1].Reclaimed = why
	return nil
}

// action tells what the write did: the server keeps the resourceVersion of an object that an apply
// does not change.
func (p *pass) action(v *verdict, answer *unstructured.Unstructured) Action {
	if v.decision != decideConfigure {
		return Created
	}
	if v.cleanup == nil && answer.GetResourceVersion() == v.version {
		return Unchanged
	}
	return Configured
}

// remember notes the state that a write left, or that a check found unchanged.
func (p *pass) remember(v *verdict, live *unstructured.Unstructured) {
	if p.Tracker == nil {
		return
	}
	p.Tracker.Note(v.item.id, Record{
		Desired:          v.item.hash,
		UID:              live.GetUID(),
		ResourceVersion:  live.GetResourceVersion(),
		Generation:       live.GetGeneration(),
		Entry:            EntryHash(live, p.FieldManager),
		Meta:             MetaHash(live, p.FieldManager),
		Content:          contentHash(live),
		Watchable:        v.watchable && p.set.owner.Owns(live) && p.ownsAll(v, live),
		VanishesWhenDone: vanishes(v.item),
		At:               time.Now(),
	})
}

// ownsAll reports whether our entry holds all that an apply would own. After a write it does; an
// object that was found unchanged may lack a field that somebody changed there and back.
func (p *pass) ownsAll(v *verdict, live *unstructured.Unstructured) bool {
	have := entryOf(live.GetManagedFields(), p.FieldManager)
	if have == nil || v.dry == nil || v.decision != decideUnchanged {
		return have != nil
	}
	would := entryOf(v.dry.GetManagedFields(), p.FieldManager)
	return would != nil && have.APIVersion == would.APIVersion && have.FieldsV1.Equal(*would.FieldsV1)
}

// explain asks the tracker what a write put back.
func (p *pass) explain(v *verdict, answer *unstructured.Unstructured) string {
	e, ok := p.Tracker.(Explainer)
	if !ok || !v.reclaim {
		return ""
	}
	return e.Explain(v.item.id, answer)
}

// noteUnchanged remembers an object that was looked at and is as desired.
func (p *pass) noteUnchanged(v *verdict) {
	if v.decision != decideUnchanged {
		return
	}
	if v.live != nil {
		p.remember(v, v.live)
		return
	}
	p.remember(v, v.dry)
}

// failure describes a refusal; the hint gives the next step where there is one.
func (p *pass) failure(v *verdict, phase string) Failure {
	return Failure{Ref: v.item.ref, Origin: v.item.origin, Phase: phase, Err: redacted(v), Hint: p.hint(v)}
}
