package helm

import (
	"context"
	"errors"
	"fmt"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	helmv2 "github.com/gitops-toolkit/flux/api/helm/v2"
	"github.com/gitops-toolkit/flux/api/meta"
	"github.com/gitops-toolkit/flux/internal/helm/action"
	"github.com/gitops-toolkit/flux/internal/helm/release"
	"github.com/gitops-toolkit/flux/internal/kernel"
)

// Reasons of conditions and events.
const (
	installSucceeded   = "InstallSucceeded"
	installFailed      = "InstallFailed"
	upgradeSucceeded   = "UpgradeSucceeded"
	upgradeFailed      = "UpgradeFailed"
	testSucceeded      = "TestSucceeded"
	testFailed         = "TestFailed"
	rollbackSucceeded  = "RollbackSucceeded"
	rollbackFailed     = "RollbackFailed"
	uninstallSucceeded = "UninstallSucceeded"
	uninstallFailed    = "UninstallFailed"
	pendingRelease     = "PendingRelease"
	awaitingTests      = "AwaitingTests"
	retriesExceeded    = "RetriesExceeded"
	noRollbackTarget   = "MissingRollbackTarget"
)

// take takes a step. The outcome is nil when the attempt goes on.
func (a *attempt) take(ctx context.Context, next step, why string) *kernel.Outcome {
	switch next {
	case stepInstall:
		return a.install(ctx)
	case stepUpgrade:
		return a.upgrade(ctx, why)
	case stepUnlock:
		return a.unlock()
	case stepFinishRemove:
		return a.finishRemove(ctx)
	case stepAdopt:
		return a.adopt(ctx)
	case stepRollback:
		return a.rollback(ctx)
	case stepRemove:
		return a.remove(ctx)
	case stepTest:
		return a.test(ctx)
	case stepLook:
		return a.drift(ctx)
	case stepStall:
		return a.stall()
	case stepYield:
		return a.yield(ctx)
	case stepNoTarget:
		//lint:ignore ST1005 the text of the tables
		err := errors.New("Failed to perform remediation: missing target release for rollback: cannot remediate failed release")
		return stop(a.stalled(noRollbackTarget, err))
	}
	return a.end(ctx, why)
}

// plain ends the attempt when a step fails that has no condition of its own.
func (a *attempt) plain(what string, err error) *kernel.Outcome {
	if err == nil {
		return nil
	}
	a.hr.Status.Failures++
	return stop(kernel.Failed("ReconcileError", fmt.Errorf("%s: %w", what, err)).Backoff())
}

// begin says that an action runs.
func (a *attempt) begin(name string, timeout time.Duration, kind string) {
	a.log.Reset()
	a.wrote, a.acting = false, kind
	message := fmt.Sprintf("Running '%s' action with timeout of %s", name, timeout)
	a.req.Progress(kernel.Progress{Message: message, Ready: message})
}

func (a *attempt) install(ctx context.Context) *kernel.Outcome {
	if stopped := a.loadChart(ctx); stopped != nil {
		return stopped
	}
	status := &a.hr.Status
	if a.unreadable {
		if err := a.runner.Storage.DeleteBroken(0); err != nil {
			return a.plain("remove records from Helm's storage that cannot be read", err)
		}
	}
	spec := a.hr.Spec.Install
	if spec == nil {
		spec = &helmv2.Install{}
	}
	a.begin("install", action.Timeout(a.hr, spec.Timeout), action.Install)
	status.History, status.Inventory = nil, nil
	a.startRelease(actionInstall)
	started := time.Now()
	_, err := a.runner.InstallWith(ctx, a.chart, a.values, a.last != nil)
	a.endRelease(started)
	return a.released(ctx, actionInstall, err)
}

func (a *attempt) upgrade(ctx context.Context, why string) *kernel.Outcome {
	if stopped := a.loadChart(ctx); stopped != nil {
		return stopped
	}
	status := &a.hr.Status
	spec := a.hr.Spec.Upgrade
	if spec == nil {
		spec = &helmv2.Upgrade{}
	}
	a.req.Log.Info("upgrading the release", "because", why)
	a.begin("upgrade", action.Timeout(a.hr, spec.Timeout), action.Upgrade)
	if latest := status.History.Latest(); latest != nil && !release.Verify(latest, a.last) {
		status.History = nil // somebody else's release is adopted
	}
	a.startRelease(actionUpgrade)
	started := time.Now()
	rel, err := a.runner.UpgradeWith(ctx, a.last, a.chart, a.values)
	a.endRelease(started)
	if err == nil && rel != nil && a.unreadable {
		if err := a.runner.Storage.DeleteBroken(rel.Version); err != nil {
			a.req.Log.Info("a record that cannot be read was not removed from Helm's storage", "cause", err.Error())
		}
	}
	return a.released(ctx, actionUpgrade, err)
}

func (a *attempt) startRelease(kind string) {
	a.hr.Status.LastAttemptedReleaseAction = kind
	a.forget(helmv2.RemediatedCondition)
	a.forget(helmv2.TestSuccessCondition)
}

func (a *attempt) endRelease(started time.Time) {
	took := meta.NewDuration(time.Since(started))
	a.hr.Status.LastAttemptedReleaseActionDuration = &took
	a.chart = nil // an action changes the chart that it is given
}

// names are the words and reasons of a kind of release action.
var names = map[string]struct{ succeeded, failed string }{
	actionInstall: {installSucceeded, installFailed},
	actionUpgrade: {upgradeSucceeded, upgradeFailed},
}

// released records how an install or upgrade went.
func (a *attempt) released(ctx context.Context, kind string, err error) *kernel.Outcome {
	if err != nil {
		return a.releaseFailed(ctx, kind, err)
	}
	status := &a.hr.Status
	latest := status.History.Latest()
	if latest == nil {
		return a.plain("record the release", errors.New("nothing was written to Helm's storage"))
	}
	a.takeStock(ctx)
	status.ObservedPostRenderersDigest, status.ObservedCommonMetadataDigest = a.renderingDigests()
	if a.remediation(kind).retry {
		status.Failures, status.InstallFailures, status.UpgradeFailures = 0, 0, 0
	}
	message := fmt.Sprintf("Helm %s succeeded for release %s with chart %s", kind, release.FullName(latest), release.VersionedChart(latest))
	a.set(helmv2.ReleasedCondition, metav1.ConditionTrue, names[kind].succeeded, message)
	a.req.Event(kernel.Normal(names[kind].succeeded, message, a.metadata()))
	if t := a.hr.Spec.Test; t != nil && t.Enable {
		a.set(helmv2.TestSuccessCondition, metav1.ConditionUnknown, awaitingTests,
			fmt.Sprintf("Helm release %s with chart %s is awaiting tests", release.FullName(latest), release.VersionedChart(latest)))
		return a.secure(ctx)
	}
	return nil
}

// secure writes what was done before the attempt goes on, so that a crash of the next step does not lose it.
func (a *attempt) secure(ctx context.Context) *kernel.Outcome {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), stopGrace)
	defer cancel()
	if err := a.checkpoint(ctx); err != nil {
		a.req.Log.V(1).Info("the status was not written ahead", "cause", err.Error())
	}
	return nil
}

func (a *attempt) releaseFailed(ctx context.Context, kind string, err error) *kernel.Outcome {
	status := &a.hr.Status
	if action.Cancelled(err) {
		return a.cancelled()
	}
	message := fmt.Sprintf("Helm %s failed for release %s/%s with chart %s@%s: %s", kind, a.runner.Namespace, a.runner.Name, a.chartName, a.version, err)
	message += a.advice(ctx, err) + details(err)
	a.set(helmv2.ReleasedCondition, metav1.ConditionFalse, names[kind].failed, message)
	a.req.Event(kernel.Warning(names[kind].failed, a.withLog(message), a.metadata()))
	status.Failures++
	if a.wrote {
		if kind == actionInstall {
			status.InstallFailures++
		} else {
			status.UpgradeFailures++
		}
	}
	failed := kernel.Failed(names[kind].failed, errors.New(message)).WithoutEvent()
	if r := a.remediation(kind); r.retry {
		a.req.Progress(kernel.Progress{Message: fmt.Sprintf("retrying after %s", r.interval)})
		return stop(failed.RetryAfter(r.interval).Observe())
	}
	if !a.wrote {
		return stop(failed.Backoff())
	}
	return a.release()
}

// release makes sure that no action leaves the release locked.
func (a *attempt) release() *kernel.Outcome {
	if err := a.observe(context.Background()); err != nil {
		return a.plain("read Helm's storage", err)
	}
	if a.last != nil && locked(a.last.Info.Status.String()) {
		return a.plain("unlock the release", a.runner.Unlock(a.last))
	}
	return nil
}

// cancelled ends an attempt whose wait was cancelled: no failure, and the next action is an upgrade.
func (a *attempt) cancelled() *kernel.Outcome {
	if stopped := a.release(); stopped != nil {
		return stopped
	}
	a.hr.Status.LastAttemptedReleaseAction = ""
	cause := kernel.Reference{Kind: helmv2.HelmReleaseKind, Namespace: a.hr.Namespace, Name: a.hr.Name}
	a.req.Event(kernel.Normal(meta.HealthCheckCanceledReason, fmt.Sprintf("Health checks canceled due to new reconciliation triggered by %s", cause), a.metadata()))
	return stop(kernel.Waiting(meta.HealthCheckCanceledReason, fmt.Sprintf("New reconciliation triggered by %s", cause), time.Second))
}

// adopt records a release of our own whose record was lost.
func (a *attempt) adopt(ctx context.Context) *kernel.Outcome {
	kind := actionUpgrade
	if a.last.Version == 1 {
		kind = actionInstall
	}
	a.acting = kind
	a.record(a.last)
	a.hr.Status.LastAttemptedReleaseAction = kind
	return a.released(ctx, kind, nil)
}

func (a *attempt) unlock() *kernel.Outcome {
	a.begin("unlock", a.hr.GetTimeout(), "")
	was := a.last.Info.Status.String()
	name := fmt.Sprintf("%s/%s.v%d", a.last.Namespace, a.last.Name, a.last.Version)
	chart := a.chartName + "@" + a.version
	if a.last.Chart != nil && a.last.Chart.Metadata != nil {
		chart = a.last.Chart.Metadata.Name + "@" + a.last.Chart.Metadata.Version
	}
	a.hr.Status.Failures++
	if err := a.runner.Unlock(a.last); err != nil {
		message := fmt.Sprintf("Unlock of Helm release %s with chart %s in %s state failed: %s", name, chart, was, err)
		a.set(helmv2.ReleasedCondition, metav1.ConditionFalse, pendingRelease, message)
		return stop(kernel.Failed(pendingRelease, errors.New(message)).WithMetadata(a.metadata()).Backoff())
	}
	message := fmt.Sprintf("Unlocked Helm release %s with chart %s in %s state", name, chart, was)
	a.set(helmv2.ReleasedCondition, metav1.ConditionFalse, pendingRelease, message)
	a.req.Event(kernel.Normal(pendingRelease, message, a.metadata()))
	return nil
}
