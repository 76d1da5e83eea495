package apply

import (
	"context"
	"fmt"
	"slices"
	"sync"

	"golang.org/x/sync/errgroup"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
)

// PruneOptions says what to delete.
type PruneOptions struct {
	Client *Client
	// Owner's labels must be on the live object, else it belongs to somebody else by now.
	Owner Owner
	// Objects are the entries to delete.
	Objects Inventory
	// Keep, when set, lets the caller hold an object back that somebody else wants; it is skipped.
	Keep func(id ID) bool
	// Approve, when set, is called once with what is about to be deleted, if anything is; its error
	// ends the prune before the first deletion, and everything survives.
	Approve func(doomed []Ref) error
	// Concurrency bounds the live objects that are read side by side; 0 means 4.
	Concurrency int
}

// PruneResult is what a Prune did, also when it ended with an error.
type PruneResult struct {
	// Changes has a line, deleted or skipped, for each object that was dealt with.
	Changes ChangeLog
	// Survivors could neither be deleted nor skipped: keep them in the inventory.
	Survivors Inventory
	// Deleted are the objects whose deletion was asked for, to wait for their end.
	Deleted []Gone
}

// Gone is an object that was deleted, maybe not yet finalized.
type Gone struct {
	Ref
	UID     types.UID
	mapping Mapping
}

// Prune deletes what is no longer desired, in the reverse of the apply order and in the background.
// An object that is gone already counts as deleted. One that is not deleted does not stop the
// others; the error is a PruneError, or an InterruptedError when the context ended.
func Prune(ctx context.Context, o PruneOptions) (*PruneResult, error) {
	if o.Concurrency <= 0 {
		o.Concurrency = 4
	}
	res := &PruneResult{}
	entries, malformed := deletionOrder(o.Objects)
	errs := malformed
	look := o.lookAll(ctx, entries)
	if err := o.approve(entries, look); err != nil {
		res.Survivors = entries
		return res, err
	}
	for i, e := range entries {
		ref, _ := e.Ref()
		if ctx.Err() != nil {
			res.Survivors = append(res.Survivors, entries[i:]...)
			return res, &InterruptedError{Cause: context.Cause(ctx), Written: len(res.Deleted), Left: len(entries) - i}
		}
		action, err := o.one(context.WithoutCancel(ctx), e, ref, look[i], res)
		if err != nil {
			errs = append(errs, fmt.Errorf("%s delete failed: %w", ref.Subject(), err))
			res.Survivors = append(res.Survivors, e)
			continue
		}
		res.Changes = append(res.Changes, Change{Ref: ref, Action: action})
	}
	if len(errs) > 0 {
		return res, &PruneError{Errs: errs}
	}
	return res, nil
}

// deletionOrder sorts entries into the reverse of the apply order: stages, then kinds.
func deletionOrder(inv Inventory) (Inventory, []error) {
	var out Inventory
	var errs []error
	for _, e := range inv {
		if _, ok := e.Ref(); !ok {
			errs = append(errs, fmt.Errorf("inventory id %q is malformed", e.ID))
			continue
		}
		out = append(out, e)
	}
	slices.SortStableFunc(out, func(a, b Entry) int {
		x, _ := a.Ref()
		y, _ := b.Ref()
		return compareRefs(y, x)
	})
	return out, errs
}

// looked is what reading a live object gave.
type looked struct {
	live    *metav1.PartialObjectMetadata
	mapping Mapping
	err     error
}

// lookAll reads the metadata of all entries side by side.
func (o PruneOptions) lookAll(ctx context.Context, entries Inventory) []looked {
	out := make([]looked, len(entries))
	var g errgroup.Group
	g.SetLimit(o.Concurrency)
	for i, e := range entries {
		ref, _ := e.Ref()
		g.Go(func() error {
			out[i] = o.look(ctx, ref)
			return nil
		})
	}
	_ = g.Wait()
	return out
}

func (o PruneOptions) look(ctx context.Context, ref Ref) looked {
	m, err := o.Client.mapper.ForKind(ctx, ref.GroupVersionKind)
	if err != nil {
		return looked{err: err}
	}
	live, err := o.Client.getMetadata(ctx, m, ref)
	return looked{live: live, mapping: m, err: err}
}

// approve asks the caller about what is about to be deleted.
func (o PruneOptions) approve(entries Inventory, look []looked) error {
	if o.Approve == nil {
		return nil
	}
	var doomed []Ref
	for i, e := range entries {
		if look[i].err == nil && !o.spared(e, look[i].live) {
			ref, _ := e.Ref()
			doomed = append(doomed, ref)
		}
	}
	if len(doomed) == 0 {
		return nil
	}
	return o.Approve(doomed)
}

// one decides and deletes; a Conflict means that the object changed since it was read, so it is read
// and judged again.
func (o PruneOptions) one(ctx context.Context, e Entry, ref Ref, at looked, res *PruneResult) (Action, error) {
	for try := 0; ; try++ {
		if at.err != nil {
			return o.absent(at.err)
		}
		if o.spared(e, at.live) {
			return Skipped, nil
		}
		err := o.Client.deleteLive(ctx, at.mapping, at.live, true)
		if err == nil {
			res.Deleted = append(res.Deleted, Gone{Ref: ref, UID: at.live.GetUID(), mapping: at.mapping})
			return Deleted, nil
		}
		if !apierrors.IsConflict(err) || try == 3 {
			return o.absent(err)
		}
		at = o.look(ctx, ref)
	}
}

// absent turns "not there" into Deleted and leaves other errors alone.
func (o PruneOptions) absent(err error) (Action, error) {
	if apierrors.IsNotFound(err) || meta.IsNoMatchError(err) {
		return Deleted, nil
	}
	return "", err
}

// spared reports whether a live object must not be deleted.
func (o PruneOptions) spared(e Entry, live *metav1.PartialObjectMetadata) bool {
	return !o.Owner.Owns(live) || o.Keep != nil && o.Keep(e.ID) || Policies(o.Owner.Group).Keep(live)
}

// WaitTermination waits until deleted objects are gone, as long as the context allows. The error
// names those that are left and, where they have any, their finalizers.
func WaitTermination(ctx context.Context, client *Client, deleted []Gone) error {
	var mu sync.Mutex
	var errs []error
	var g errgroup.Group
	g.SetLimit(4)
	for _, d := range deleted {
		g.Go(func() error {
			if err := client.awaitGone(ctx, d.mapping, d.Ref, d.UID); err != nil {
				mu.Lock()
				defer mu.Unlock()
				errs = append(errs, err)
			}
			return nil
		})
	}
	_ = g.Wait()
	if len(errs) == 0 {
		return nil
	}
	return fmt.Errorf("wait for the end of deleted objects: %w", joinLines(errs))
}
