package apply

import (
	"cmp"
	"context"
	"fmt"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

// outcome is what became of one verdict.
type outcome struct {
	// reached is false when the pass ended before.
	reached bool
	action  Action
	// why says what a correction put back, and from whom.
	why string
	err error
}

// writeAll carries the verdicts out, one kind after the other.
func (p *pass) writeAll(ctx context.Context, verdicts []*verdict, completed ChangeLog) error {
	for len(verdicts) > 0 {
		n := sameKind(verdicts)
		outcomes, err := p.writeKind(ctx, verdicts[:n])
		if err != nil {
			return err
		}
		failures, left := p.take(verdicts[:n], outcomes)
		switch {
		case len(failures) > 0 && !p.ContinueOnError:
			return &FailedError{Failures: failures, Completed: completed}
		case left > 0:
			return p.interrupted(ctx, context.Cause(ctx), left+len(verdicts)-n)
		}
		p.failures = append(p.failures, failures...)
		verdicts = verdicts[n:]
	}
	return nil
}

// sameKind returns how many of the first verdicts are about objects of one kind.
func sameKind(verdicts []*verdict) int {
	for i, v := range verdicts {
		if v.item.ref.GroupKind() != verdicts[0].item.ref.GroupKind() {
			return i
		}
	}
	return len(verdicts)
}

// writeKind carries out verdicts about objects of one kind, which need nothing of each other, side by
// side. After the end of the context, or after a refusal unless other objects go on, it begins no more.
func (p *pass) writeKind(ctx context.Context, verdicts []*verdict) ([]outcome, error) {
	outcomes := make([]outcome, len(verdicts))
	var stop atomic.Bool
	var g errgroup.Group
	g.SetLimit(p.Concurrency)
	ended := func() bool { return ctx.Err() != nil || stop.Load() }
	for i, v := range verdicts {
		if ended() {
			break
		}
		o := &outcomes[i]
		if !v.decision.writes() {
			o.reached, o.action = true, v.decision.atRest()
			continue
		}
		if err := p.begin(ctx); err != nil {
			return nil, err // the first write, so there are no others
		}
		g.Go(func() error {
			if ended() {
				return nil // while it waited for its turn
			}
			o.reached = true
			o.action, o.why, o.err = p.write(context.WithoutCancel(ctx), v)
			if o.err != nil && !p.ContinueOnError {
				stop.Store(true)
			}
			return nil
		})
	}
	return outcomes, g.Wait()
}

// take notes outcomes in the order of the verdicts.
func (p *pass) take(verdicts []*verdict, outcomes []outcome) (failures []Failure, left int) {
	for i, o := range outcomes {
		v := verdicts[i]
		switch {
		case !o.reached:
			left++
		case o.err != nil:
			v.err = o.err
			failures = append(failures, p.failure(v, cmp.Or(v.phase, phaseApply)))
		case v.decision == decideDone:
		default:
			if v.decision.writes() {
				p.written++
			}
			p.note(v, o.action, o.why)
		}
	}
	return failures, left
}

// write carries one verdict out. A write that has begun is not cut short.
func (p *pass) write(ctx context.Context, v *verdict) (action Action, why string, err error) {
	if v.bySight {
		if answer, err := p.sendAt(ctx, v); err == nil {
			return p.wrote(v, answer)
		}
		// It is not as it was seen, or is refused: the dry-run tells which.
		if err := p.ask(ctx, v); err != nil {
			v.phase = phaseDryRun
			return "", "", err
		}
		v.digest()
		if !v.decision.writes() {
			return v.decision.atRest(), "", nil
		}
	}
	switch v.decision {
	case decideRecreate:
		err = p.remove(ctx, v)
	case decideConfigure:
		if err = p.clean(ctx, v); err != nil {
			err = fmt.Errorf("metadata.managedFields cleanup failed: %w", err)
		}
	}
	if err != nil {
		return "", "", err
	}
	answer, err := p.send(ctx, v.mapping, v.payload, false)
	if err != nil {
		return "", "", err
	}
	return p.wrote(v, answer)
}

// wrote notes the answer to a write.
func (p *pass) wrote(v *verdict, answer *unstructured.Unstructured) (action Action, why string, err error) {
	action, why = p.action(v, answer), p.explain(v, answer)
	p.remember(v, answer)
	v.answer = answer
	v.digest()
	return action, why, nil
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

// noteThere remembers an object that is only created: it is there, whatever it holds, and need not be looked at again
// before the interval.
func (p *pass) noteThere(v *verdict) {
	if p.Tracker != nil && p.policies.CreateOnly(v.item.obj) {
		p.Tracker.Note(v.item.id, Record{Desired: v.item.hash, UID: v.dry.GetUID(), At: time.Now()})
	}
}

// failure describes a refusal; the hint gives the next step where there is one.
func (p *pass) failure(v *verdict, phase string) Failure {
	return Failure{Ref: v.item.ref, Origin: v.item.origin, Phase: phase, Err: redacted(v), Hint: p.hint(v)}
}
