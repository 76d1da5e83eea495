package helm

import (
	"context"
	"errors"
	"fmt"
	"reflect"

	"k8s.io/apimachinery/pkg/types"

	helm "helm.sh/helm/v4/pkg/release/v1"

	helmv2 "github.com/gitops-toolkit/flux/api/helm/v2"
	"github.com/gitops-toolkit/flux/internal/helm/action"
	"github.com/gitops-toolkit/flux/internal/helm/release"
	"github.com/gitops-toolkit/flux/internal/kernel"
)

// Two HelmReleases may mean the same release of Helm: by mistake, or because one was renamed and the other is on its way out.
// The one that was created later has it. The other neither upgrades it, which would never end, nor takes it along when it
// is deleted.

// releaseClaimed is the reason of a HelmRelease whose release belongs to another.
const releaseClaimed = "ReleaseClaimed"

// rival returns the HelmRelease that made a revision, where that is another one which is there and means the release that
// the runner works on; nil otherwise.
func (a *attempt) rival(ctx context.Context, rel *helm.Release, r *action.Runner, records string) *helmv2.HelmRelease {
	if rel == nil {
		return nil
	}
	objects, err := release.Objects(rel.Manifest)
	if err != nil || len(objects) == 0 {
		return nil
	}
	labels := objects[0].GetLabels()
	name := types.NamespacedName{Namespace: labels[helmv2.OwnerNamespaceLabel], Name: labels[helmv2.OwnerNameLabel]}
	if name.Name == "" || name.Namespace == "" || name == a.t.name() {
		return nil
	}
	other := &helmv2.HelmRelease{}
	if a.c.m.Client().Get(ctx, name, other) != nil || other.DeletionTimestamp != nil {
		return nil
	}
	if action.ReleaseName(other) != r.Name || action.ReleaseNamespace(other) != r.Namespace || action.StorageNamespace(other) != records ||
		!reflect.DeepEqual(other.Spec.KubeConfig, a.hr.Spec.KubeConfig) {
		return nil
	}
	return other
}

// claimant returns the HelmRelease to which this one has to leave its release, nil where it has none to leave it to.
func (a *attempt) claimant(ctx context.Context) *helmv2.HelmRelease {
	other := a.rival(ctx, a.last, a.runner, action.StorageNamespace(a.hr))
	if other == nil || other.Spec.Suspend {
		return nil
	}
	mine, theirs := a.hr.CreationTimestamp, other.CreationTimestamp
	if theirs.Before(&mine) || theirs.Equal(&mine) && other.UID < a.hr.UID {
		return nil
	}
	return other
}

// yield ends an attempt because the release belongs to another HelmRelease.
func (a *attempt) yield(ctx context.Context) *kernel.Outcome {
	name := "another HelmRelease"
	if other := a.claimant(ctx); other != nil {
		name = fmt.Sprintf("HelmRelease %s/%s", other.Namespace, other.Name)
	}
	message := fmt.Sprintf("release %s/%s belongs to %s, which was created later: give one of the two another spec.releaseName, or delete this one, which leaves the release",
		a.runner.Namespace, a.runner.Name, name)
	return stop(kernel.Failed(releaseClaimed, errors.New(message)).Backoff())
}

// leftTo tells whether a release that this HelmRelease is to uninstall has become that of another.
func (a *attempt) leftTo(ctx context.Context, r *action.Runner, records string) bool {
	revisions, _, err := r.Storage.Load(ctx)
	if err != nil || len(revisions) == 0 {
		return false
	}
	other := a.rival(ctx, revisions[0], r, records)
	if other == nil {
		return false
	}
	a.req.Log.Info("the release is left to another HelmRelease", "release", r.Namespace+"/"+r.Name, "owner", other.Namespace+"/"+other.Name)
	return true
}
