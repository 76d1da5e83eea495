package kernel

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"strconv"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/gitops-toolkit/flux/api/meta"
)

// errGone says that the object was deleted or replaced while we worked on it.
var errGone = errors.New("the object is gone")

// errSetBack says that the API server holds an older state of the object than we know. What we would
// write was found out on top of one that is no more.
var errSetBack = errors.New("the API server was set back to an older state of the object")

// maxConflicts is how often a write is repeated on top of somebody else's.
const maxConflicts = 5

// change returns the object that is to be stored instead of latest, nil to write nothing. It
// must not modify latest.
type change func(latest meta.Object) meta.Object

// write stores a change of the status as one merge patch, or nothing when nothing changed.
// When somebody else wrote meanwhile the change is made again on top of the live object.
func (e *engine) write(ctx context.Context, st *state, latest meta.Object, c change) (meta.Object, error) {
	st.writing.Lock()
	defer st.writing.Unlock()
	latest = e.newest(ctx, st, latest)
	for range maxConflicts {
		target := c(latest)
		if target == nil {
			return latest, nil
		}
		written, err := e.patchStatus(ctx, latest, target)
		switch {
		case err == nil:
			st.remember(written)
			return written, nil
		case apierrors.IsNotFound(err):
			return nil, errGone
		case !apierrors.IsConflict(err):
			return nil, fmt.Errorf("write the status of %s %s/%s: %w", e.gvk.Kind, latest.GetNamespace(), latest.GetName(), err)
		}
		live, err := e.fetch(ctx, latest)
		if err != nil {
			return nil, err
		}
		if newer(latest.GetResourceVersion(), live.GetResourceVersion()) {
			st.mu.Lock()
			st.written, st.rewound = nil, true
			st.mu.Unlock()
			return nil, fmt.Errorf("write the status of %s %s/%s: %w", e.gvk.Kind, latest.GetNamespace(), latest.GetName(), errSetBack)
		}
		latest = live
	}
	return nil, fmt.Errorf("write the status of %s %s/%s: others changed the object %d times meanwhile",
		e.gvk.Kind, latest.GetNamespace(), latest.GetName(), maxConflicts)
}

// fetch reads the live object; another one of the same name counts as gone.
func (e *engine) fetch(ctx context.Context, known meta.Object) (meta.Object, error) {
	live := e.newObject()
	err := e.m.Live().Get(ctx, client.ObjectKeyFromObject(known), live)
	if apierrors.IsNotFound(err) || err == nil && live.GetUID() != known.GetUID() {
		return nil, errGone
	}
	return normalizeObject(live), err
}

func (e *engine) patchStatus(ctx context.Context, from, to meta.Object) (meta.Object, error) {
	diff, err := statusDiff(from, to)
	if err != nil {
		return nil, err
	}
	if len(diff) == 0 {
		return from, nil
	}
	data, err := json.Marshal(map[string]any{
		"metadata": map[string]any{"resourceVersion": from.GetResourceVersion(), "uid": from.GetUID()},
		"status":   diff,
	})
	if err != nil {
		return nil, err
	}
	answer := from.DeepCopyObject().(meta.Object)
	err = e.m.Client().Status().Patch(ctx, answer, client.RawPatch(types.MergePatchType, data), client.FieldOwner(e.m.manager()))
	return answer, err
}

// newest returns the newest state that this process knows: ours, the cache's, or the given one. A job
// holds the object as it was when the job began; writing on top of that costs a conflict and a read.
func (e *engine) newest(ctx context.Context, st *state, known meta.Object) meta.Object {
	latest := st.freshest(known)
	if latest != known {
		return latest
	}
	cached := e.newObject()
	err := e.objects.Get(ctx, client.ObjectKeyFromObject(known), cached)
	if err == nil && cached.GetUID() == known.GetUID() && newer(cached.GetResourceVersion(), known.GetResourceVersion()) {
		return normalizeObject(cached)
	}
	return known
}

// freshest returns our last write if the cache has not caught up with it yet.
func (st *state) freshest(cached meta.Object) meta.Object {
	st.mu.Lock()
	defer st.mu.Unlock()
	if st.written == nil {
		return cached
	}
	if st.written.GetUID() == cached.GetUID() && newer(st.written.GetResourceVersion(), cached.GetResourceVersion()) {
		return st.written.DeepCopyObject().(meta.Object)
	}
	st.written = nil
	return cached
}

func (st *state) remember(written meta.Object) {
	written.SetManagedFields(nil)
	st.mu.Lock()
	defer st.mu.Unlock()
	st.written = normalizeObject(written).DeepCopyObject().(meta.Object)
}

// newer compares resource versions, which the API server hands out as growing numbers.
func newer(a, b string) bool {
	x, errA := strconv.ParseUint(a, 10, 64)
	y, errB := strconv.ParseUint(b, 10, 64)
	return errA == nil && errB == nil && x > y
}

// statusDiff returns the merge patch from one object's status to the other's, empty if equal.
func statusDiff(from, to meta.Object) (map[string]any, error) {
	if reflect.DeepEqual(from, to) {
		return nil, nil
	}
	a, err := statusOf(from)
	if err != nil {
		return nil, err
	}
	b, err := statusOf(to)
	if err != nil {
		return nil, err
	}
	return mergeDiff(a, b), nil
}

func statusOf(obj meta.Object) (map[string]any, error) {
	data, err := json.Marshal(obj)
	if err != nil {
		return nil, fmt.Errorf("encode %T: %w", obj, err)
	}
	var doc struct{ Status map[string]any }
	d := json.NewDecoder(bytes.NewReader(data))
	d.UseNumber()
	err = d.Decode(&doc)
	return doc.Status, err
}

// mergeDiff returns the JSON merge patch (RFC 7386) that turns a into b.
func mergeDiff(a, b map[string]any) map[string]any {
	patch := map[string]any{}
	for k := range a {
		if _, kept := b[k]; !kept {
			patch[k] = nil
		}
	}
	for k, want := range b {
		have, there := a[k]
		if there && reflect.DeepEqual(have, want) {
			continue
		}
		before, isMap := have.(map[string]any)
		after, wantMap := want.(map[string]any)
		if isMap && wantMap {
			patch[k] = mergeDiff(before, after)
			continue
		}
		patch[k] = want
	}
	return patch
}

// mergeApply applies a JSON merge patch to doc.
func mergeApply(doc, patch map[string]any) map[string]any {
	if doc == nil {
		doc = map[string]any{}
	}
	for k, v := range patch {
		sub, isMap := v.(map[string]any)
		switch {
		case v == nil:
			delete(doc, k)
		case isMap:
			inner, _ := doc[k].(map[string]any)
			doc[k] = mergeApply(inner, sub)
		default:
			doc[k] = v
		}
	}
	return doc
}
