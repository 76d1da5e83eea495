package helm

import (
	"context"
	"fmt"

	"github.com/gitops-toolkit/flux/internal/helm/action"
	"github.com/gitops-toolkit/flux/internal/helm/store"
	"github.com/gitops-toolkit/flux/internal/kernel"
)

// moveTarget uninstalls the release where it was, when the spec says that it is to be elsewhere, or of a chart of
// another name: names and namespaces of a release cannot change.
func (a *attempt) moveTarget(ctx context.Context) *kernel.Outcome {
	status := &a.hr.Status
	latest := status.History.Latest()
	if latest == nil || status.StorageNamespace == "" {
		return nil
	}
	if a.chartName == "" {
		if stopped := a.loadChart(ctx); stopped != nil {
			return stopped
		}
	}
	renamed := latest.ChartName != a.chartName && !(a.hr.Spec.Upgrade != nil && a.hr.Spec.Upgrade.ChartNameChangeStrategy == "InPlaceUpdate")
	if status.StorageNamespace == action.StorageNamespace(a.hr) && latest.Namespace == a.runner.Namespace && latest.Name == a.runner.Name && !renamed {
		return nil
	}
	a.req.Log.Info("the release moves", "from", latest.Namespace+"/"+latest.Name, "to", a.runner.Namespace+"/"+a.runner.Name)
	old := *a.runner
	old.Name, old.Namespace = latest.Name, latest.Namespace
	old.Storage = store.New(old.Cluster.Core().Secrets(status.StorageNamespace), old.Name, nil)
	if !a.leftTo(ctx, &old, status.StorageNamespace) {
		if stopped := a.leave(ctx, &old); stopped != nil {
			return stopped
		}
	}
	status.History, status.Inventory, status.StorageNamespace = nil, nil, ""
	status.Failures, status.InstallFailures, status.UpgradeFailures = 0, 0, 0
	a.secure(ctx)
	return nil
}

// leave uninstalls the release where it was.
func (a *attempt) leave(ctx context.Context, old *action.Runner) *kernel.Outcome {
	a.begin("uninstall", a.hr.GetTimeout(), action.Uninstall)
	reason, message, err := a.uninstall(ctx, old)
	if action.Cancelled(err) {
		return a.cancelled()
	}
	if err != nil {
		a.hr.Status.Failures++
		return stop(kernel.Failed(reason, fmt.Errorf("%s", message)).WithMetadata(a.metadata()).Backoff())
	}
	a.req.Event(kernel.Normal(reason, message, a.metadata()))
	return nil
}
