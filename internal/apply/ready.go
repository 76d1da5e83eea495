package apply

import (
	"context"
	"fmt"

	"github.com/fluxcd/cli-utils/pkg/kstatus/status"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
)

// awaitReady waits until what a stage wrote or found is ready for the next stage, and teaches the
// mapper the kinds of new CRDs.
func (p *pass) awaitReady(ctx context.Context, verdicts []*verdict, completed ChangeLog) error {
	limited, cancel := context.WithTimeout(ctx, p.StageTimeout)
	defer cancel()
	var waiting []*verdict
	for _, v := range verdicts {
		if v.answer != nil && v.decision != decideSkip && v.err == nil {
			waiting = append(waiting, v)
		}
	}
	var w pause
	for {
		var notReady []*verdict
		for _, v := range waiting {
			if !p.settled(v) {
				notReady = append(notReady, v)
			}
		}
		waiting = notReady
		if len(waiting) == 0 {
			return nil
		}
		if !w.wait(limited) {
			if ctx.Err() != nil {
				return p.interrupted(ctx, context.Cause(ctx), len(waiting))
			}
			return stageError(waiting, completed)
		}
		if err := p.reread(limited, waiting); err != nil && ctx.Err() == nil && limited.Err() == nil {
			return err
		}
	}
}

// settled reports whether the last known state of the object is ready.
func (p *pass) settled(v *verdict) bool {
	if computeStatus(v.answer) != status.CurrentStatus {
		return false
	}
	if v.item.ref.Kind == "CustomResourceDefinition" {
		p.Client.mapper.Learn(v.answer)
	}
	return true
}

func (p *pass) reread(ctx context.Context, waiting []*verdict) error {
	for _, v := range waiting {
		live, err := p.Client.resource(v.mapping, v.item.ref.Namespace).Get(ctx, v.item.ref.Name, getOptions)
		if err == nil {
			v.answer = live
			continue
		}
		if !apierrors.IsNotFound(err) && !transient(err) {
			return fmt.Errorf("wait for %s: %w", v.item.ref.Subject(), err)
		}
	}
	return nil
}

func computeStatus(u *unstructured.Unstructured) status.Status {
	r, err := status.Compute(u)
	if err != nil {
		return status.UnknownStatus
	}
	return r.Status
}

func stageError(waiting []*verdict, completed ChangeLog) error {
	e := &StageError{Completed: completed}
	for _, v := range waiting {
		e.NotReady = append(e.NotReady, fmt.Sprintf("%s status: '%s'", v.item.ref.Subject(), computeStatus(v.answer)))
	}
	return e
}

// awaitGone waits until the object with this uid does not exist any more.
func (c *Client) awaitGone(ctx context.Context, m Mapping, ref Ref, uid types.UID) error {
	var w pause
	for {
		live, err := c.getMetadata(ctx, m, ref)
		if apierrors.IsNotFound(err) || err == nil && live.GetUID() != uid {
			return nil
		}
		if err != nil && !transient(err) {
			return err
		}
		if !w.wait(ctx) {
			if err == nil && len(live.GetFinalizers()) > 0 {
				return fmt.Errorf("%s still exists, its finalizers %q have not been removed: %w", ref.Subject(), live.GetFinalizers(), context.Cause(ctx))
			}
			return fmt.Errorf("%s still exists: %w", ref.Subject(), context.Cause(ctx))
		}
	}
}
