package helm

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"helm.sh/helm/v4/pkg/storage/driver"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	helmv2 "github.com/gitops-toolkit/flux/api/helm/v2"
	"github.com/gitops-toolkit/flux/internal/helm/action"
	"github.com/gitops-toolkit/flux/internal/helm/release"
	"github.com/gitops-toolkit/flux/internal/helm/store"
	"github.com/gitops-toolkit/flux/internal/kernel"
)

// finalizeKey is the key of the job that uninstalls the release of a deleted HelmRelease.
const finalizeKey = "uninstall"

// Finalize uninstalls the release and deletes the HelmChart. Those of a suspended HelmRelease stay.
func (c *controller) Finalize(ctx context.Context, req *request) kernel.Outcome {
	memoryOf(req).take(req)
	c.forgetDrift(req)
	if req.Object.Spec.Suspend {
		return kernel.Done("", "")
	}
	if req.Job != nil && !req.Job.Superseded && req.Job.Key == finalizeKey {
		if done, ok := req.Job.Value.(*ended); ok && done != nil && done.outcome.Verdict == kernel.VerdictDone {
			return c.finished(ctx, req)
		} else if ok && done != nil {
			return done.outcome
		}
	}
	t := &target{object: req.Object.DeepCopy()}
	t.object.Normalize()
	status := req.Object.Status.DeepCopy()
	return kernel.Working(kernel.Job{Key: finalizeKey, Run: func(ctx context.Context) (any, error) {
		a := &attempt{c: c, req: req, t: t, hr: t.object.DeepCopy(), had: map[step]bool{}, log: &action.Log{}}
		a.hr.Status = *status
		outcome := a.finalize(ctx)
		return &ended{target: t, status: a.hr.Status, outcome: outcome}, nil
	}})
}

// finished deletes the HelmChart and lets the object go.
func (c *controller) finished(ctx context.Context, req *request) kernel.Outcome {
	full := req.Object.Status.HelmChart
	if full == "" && req.Object.Spec.Chart != nil { // a process that was killed may have made it before it could say so
		full = chartNamespace(req.Object) + "/" + chartObjectName(req.Object)
	}
	if full != "" {
		if err := c.deleteHelmChart(ctx, req.Object, full); err != nil {
			return kernel.Failed(chartSyncErr, fmt.Errorf("failed to delete HelmChart '%s': %w", full, err)).Backoff()
		}
	}
	return kernel.Done("", "")
}

func (a *attempt) finalize(ctx context.Context) kernel.Outcome {
	gone, err := a.c.accessGone(ctx, a.hr)
	if err != nil {
		return kernel.Failed(uninstallFailed, err).Backoff()
	}
	if gone != "" {
		a.req.Log.Info("the release is left where it is: " + gone)
		return kernel.Done("", "")
	}
	if a.hr.Status.StorageNamespace == "" && !a.begun(ctx) {
		return kernel.Done("", "")
	}
	if stopped := a.connect(ctx); stopped != nil {
		return *stopped
	}
	if latest := a.hr.Status.History.Latest(); latest != nil {
		a.runner.Name, a.runner.Namespace = latest.Name, latest.Namespace
	}
	a.runner.Storage = store.New(a.runner.Cluster.Core().Secrets(a.hr.Status.StorageNamespace), a.runner.Name, a.record)
	if a.leftTo(ctx, a.runner, a.hr.Status.StorageNamespace) {
		return kernel.Done("", "")
	}
	a.begin("uninstall", a.hr.GetTimeout(), action.Uninstall)
	reason, message, err := a.uninstall(ctx, a.runner)
	if action.Cancelled(err) {
		return kernel.Waiting(uninstallFailed, message, a.c.m.Settings().MinRetryDelay)
	}
	if err != nil {
		a.set(helmv2.ReleasedCondition, metav1.ConditionFalse, reason, message)
		a.req.Event(kernel.Warning(reason, a.withLog(message), a.metadata()))
		return kernel.Failed(reason, errors.New(message)).WithoutEvent().Backoff()
	}
	a.req.Event(kernel.Normal(reason, message, a.metadata()))
	return kernel.Done("", "")
}

// lookTimeout bounds the look for a release that the status does not tell of.
const lookTimeout = 10 * time.Second

// begun tells whether a process that was killed had begun to install before it could say so in the status. Where that
// cannot be found out nothing was begun: an object that was never released must not wait for a cluster to be deleted.
func (a *attempt) begun(ctx context.Context) bool {
	ctx, cancel := context.WithTimeout(ctx, lookTimeout)
	defer cancel()
	if a.connect(ctx) != nil {
		return false
	}
	revisions, _, err := a.runner.Storage.Load(ctx)
	if err != nil || len(revisions) == 0 {
		return false
	}
	a.last = revisions[0]
	a.hr.Status.StorageNamespace = action.StorageNamespace(a.hr)
	return a.marked()
}

// accessGone says what is missing to reach the release at all: then nobody can uninstall it, and the object must not
// stay for ever.
func (c *controller) accessGone(ctx context.Context, hr *helmv2.HelmRelease) (string, error) {
	switch kc := hr.Spec.KubeConfig; {
	case kc != nil && kc.SecretRef != nil:
		_, err := c.m.GetSecret(ctx, types.NamespacedName{Namespace: hr.Namespace, Name: kc.SecretRef.Name})
		return goneIf(err, "its kubeconfig Secret is gone")
	case kc != nil && kc.ConfigMapRef != nil:
		_, err := c.m.GetConfigMap(ctx, types.NamespacedName{Namespace: hr.Namespace, Name: kc.ConfigMapRef.Name})
		return goneIf(err, "its kubeconfig ConfigMap is gone")
	case kc != nil:
		return "", nil
	}
	if gone, err := c.finder().AccountGone(ctx, placeOf(hr)); !gone {
		return "", err
	}
	return "its ServiceAccount is gone", nil
}

func goneIf(err error, gone string) (string, error) {
	if apierrors.IsNotFound(err) {
		return gone, nil
	}
	return "", err
}

// uninstall uninstalls a release and returns reason and message of the condition.
func (a *attempt) uninstall(ctx context.Context, r *action.Runner) (reason, message string, err error) {
	latest := a.hr.Status.History.Latest()
	name, about := r.Namespace+"/"+r.Name, "release "+r.Namespace+"/"+r.Name
	if latest != nil {
		name = release.FullName(latest)
		about = fmt.Sprintf("release %s with chart %s", name, release.VersionedChart(latest))
	}
	_, err = r.UninstallNow(ctx)
	if notThere(err) && latest != nil {
		if lost, restoreErr := r.Storage.Restore(ctx, latest.Version); restoreErr == nil && lost {
			_, err = r.UninstallNow(ctx)
		}
	}
	switch {
	case notThere(err):
		return uninstallSucceeded, fmt.Sprintf("Release %s was not found, assuming it is uninstalled", name), nil
	case err != nil && strings.Contains(err.Error(), "is already deleted"):
		return uninstallSucceeded, fmt.Sprintf("Release %s was already uninstalled", name), nil
	case err != nil:
		return uninstallFailed, fmt.Sprintf("Helm uninstall failed for %s: %s", about, err), err
	}
	return uninstallSucceeded, "Helm uninstall succeeded for " + about, nil
}

// notThere tells whether an uninstall failed because there is no release.
func notThere(err error) bool {
	return errors.Is(err, driver.ErrReleaseNotFound) || err != nil && strings.Contains(err.Error(), "Release not loaded")
}
