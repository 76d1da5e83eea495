package kustomize

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	apimeta "k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/types"

	kustomizev1 "github.com/gitops-toolkit/flux/api/kustomize/v1"
	"github.com/gitops-toolkit/flux/api/meta"
	"github.com/gitops-toolkit/flux/internal/apply"
	"github.com/gitops-toolkit/flux/internal/kernel"
	"github.com/gitops-toolkit/flux/internal/kustomize/spec"
)

// finalizeKey is the key of the job that deletes the objects of a deleted Kustomization.
const finalizeKey = "finalize"

// awaitKey is the key of the job before it, which waits for Kustomizations that may want the objects.
const awaitKey = "await"

// Finalize deletes the objects, or leaves them, as the deletion policy says.
func (c *controller) Finalize(ctx context.Context, req *request) kernel.Outcome {
	k := req.Object.DeepCopy()
	k.Normalize()
	entries := memoryOf(req).previous(req)
	name := types.NamespacedName{Namespace: k.Namespace, Name: k.Name}
	c.desires.drop(name)
	c.untrack(name)
	c.foreign.drop(name)
	if !deletes(k, entries) {
		return kernel.Done("", "")
	}
	ended := ""
	if req.Job != nil && !req.Job.Superseded {
		ended = req.Job.Key
	}
	switch {
	case ended == finalizeKey:
		return c.concludeDeletion(req, k, entries)
	case ended != awaitKey && req.Running != finalizeKey && len(c.behind(ctx, name, clusterKey(k))) > 0:
		return kernel.Working(kernel.Job{Key: awaitKey, Waits: true, Run: func(ctx context.Context) (any, error) {
			return nil, c.awaitOthers(ctx, name, clusterKey(k))
		}})
	}
	return kernel.Working(kernel.Job{Key: finalizeKey, Run: func(ctx context.Context) (any, error) {
		return c.deleteObjects(ctx, k, entries)
	}})
}

// deletes says whether objects are to be deleted with the Kustomization.
func deletes(k *kustomizev1.Kustomization, entries apply.Inventory) bool {
	if k.Spec.Suspend || len(entries) == 0 {
		return false
	}
	switch k.Spec.DeletionPolicy {
	case kustomizev1.DeletionPolicyDelete, kustomizev1.DeletionPolicyWaitForTermination:
		return true
	case kustomizev1.DeletionPolicyOrphan:
		return false
	default:
		return k.Spec.Prune
	}
}

// deletion is what a finalize job did.
type deletion struct {
	// text is the event.
	text string
	// orphaned says that the account is gone whose rights would be needed.
	orphaned bool
	// left is the error of a wait for the end of objects.
	left error
}

func (c *controller) deleteObjects(ctx context.Context, k *kustomizev1.Kustomization, entries apply.Inventory) (*deletion, error) {
	gone, err := c.finder().AccountGone(ctx, placeOf(k))
	if err != nil {
		return nil, err
	}
	if gone {
		return &deletion{orphaned: true}, nil
	}
	client, err := c.clientFor(ctx, k)
	if err != nil {
		return nil, fmt.Errorf("failed to build kube client: %w", err)
	}
	name := types.NamespacedName{Namespace: k.Namespace, Name: k.Name}
	keeper, with := c.keeper(ctx, name, clusterKey(k), entries), map[apply.ID]string{}
	res, err := apply.Prune(ctx, apply.PruneOptions{
		Client: client, Owner: spec.Owner(k), Objects: entries, Concurrency: c.ConcurrentSSA, Keep: keeper.keep,
		Approve: func(doomed []apply.Ref) error {
			with = client.Consequences(ctx, doomed)
			return nil
		},
	})
	kept, handed := keeper.kept(entries)
	d := &deletion{text: pruneText(res.Changes, with, handed, kept)}
	if err != nil {
		return d, err
	}
	if k.Spec.DeletionPolicy == kustomizev1.DeletionPolicyWaitForTermination {
		waiting, cancel := context.WithTimeout(ctx, k.GetTimeout())
		defer cancel()
		if err := apply.WaitTermination(waiting, client, res.Deleted); err != nil {
			if ctx.Err() != nil {
				return d, context.Cause(ctx)
			}
			d.left = err
		}
	}
	return d, nil
}

// concludeDeletion lets the Kustomization go, or keeps its finalizer while objects resist.
func (c *controller) concludeDeletion(req *request, k *kustomizev1.Kustomization, entries apply.Inventory) kernel.Outcome {
	metadata := map[string]string{"revision": k.Status.LastAppliedRevision}
	d, _ := req.Job.Value.(*deletion)
	if err := req.Job.Err; err != nil {
		var refused *apply.PruneError
		if errors.As(err, &refused) {
			err = fmt.Errorf("pruning for deleted resource failed: %w", err)
		}
		return kernel.Failed(meta.PruneFailedReason, err).WithMetadata(metadata).Backoff()
	}
	if d.orphaned {
		message := "unable to prune objects: \n" + subjects(entries)
		return kernel.Done("", "").WithEvents(kernel.Warning(meta.PruneFailedReason, message, metadata))
	}
	var events []kernel.Event
	if d.text != "" {
		events = append(events, kernel.Normal("", d.text, metadata))
	}
	if d.left != nil {
		events = append(events, kernel.Warning("", "failed to wait for resources termination: "+d.left.Error(), metadata))
	}
	if apimeta.IsStatusConditionTrue(k.Status.Conditions, meta.ReadyCondition) {
		message := fmt.Sprintf("Reconciliation finished in %s, next run in %s", time.Since(req.Started), k.GetInterval())
		events = append(events, kernel.Normal("", message, withCommitStatus(metadata)))
	}
	return kernel.Done("", "").WithEvents(events...)
}

func withCommitStatus(metadata map[string]string) map[string]string {
	out := map[string]string{"commit_status": "update"}
	for k, v := range metadata {
		out[k] = v
	}
	return out
}

// subjects lists the objects of an inventory, one a line.
func subjects(entries apply.Inventory) string {
	var lines []string
	for _, e := range entries {
		if ref, ok := e.Ref(); ok {
			lines = append(lines, ref.Subject())
		}
	}
	return strings.Join(lines, "\n")
}
