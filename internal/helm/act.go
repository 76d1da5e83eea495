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
	message += a.advice(ctx, err)
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

func (a *attempt) rollback(ctx context.Context) *kernel.Outcome {
	ignore := a.remediation(a.hr.Status.LastAttemptedReleaseAction).ignoreTests
	to := release.Previous(a.hr.Status.History, ignore)
	target := a.revision(to.Version)
	spec := a.hr.Spec.Rollback
	if spec == nil {
		spec = &helmv2.Rollback{}
	}
	if spec.Recreate {
		a.req.Log.Info("spec.rollback.recreate is deprecated and has no effect")
	}
	a.secure(ctx)
	a.begin("rollback", action.Timeout(a.hr, spec.Timeout), action.Rollback)
	a.ociDigest = to.OCIDigest // of what is stored from here on
	err := a.runner.RollbackTo(ctx, a.last, target)
	if action.Cancelled(err) {
		return a.cancelled()
	}
	what := fmt.Sprintf("Helm rollback to previous release %s with chart %s", release.FullName(to), release.VersionedChart(to))
	if err != nil {
		return a.remediationFailed(rollbackFailed, what+" failed: "+err.Error())
	}
	a.takeStock(ctx)
	return a.remediated(rollbackSucceeded, what+" succeeded", a.again())
}

// again tells whether a retry is left after the remediation of the last action.
func (a *attempt) again() bool {
	status := &a.hr.Status
	r, failures := a.remediation(status.LastAttemptedReleaseAction), status.InstallFailures
	if status.LastAttemptedReleaseAction == actionUpgrade {
		failures = status.UpgradeFailures
	}
	return !exhausted(r.retries, failures)
}

func (a *attempt) remove(ctx context.Context) *kernel.Outcome {
	timeout := a.hr.GetTimeout()
	if u := a.hr.Spec.Uninstall; u != nil {
		timeout = action.Timeout(a.hr, u.Timeout)
	}
	a.secure(ctx)
	a.begin("uninstall", timeout, action.UninstallRemediation)
	what := fmt.Sprintf("Helm uninstall remediation for release %s/%s.v%d with chart %s@%s", a.runner.Namespace, a.runner.Name, a.last.Version, a.chartName, a.version)
	if s := a.hr.Status.History.Latest(); s != nil {
		what = fmt.Sprintf("Helm uninstall remediation for release %s with chart %s", release.FullName(s), release.VersionedChart(s))
	}
	gone, err := a.runner.UninstallNow(ctx)
	if action.Cancelled(err) {
		return a.cancelled()
	}
	if err != nil {
		return a.remediationFailed(uninstallFailed, what+" failed: "+err.Error())
	}
	if gone != nil {
		a.record(gone)
	}
	a.hr.Status.Inventory = nil
	return a.remediated(uninstallSucceeded, what+" succeeded", a.again() || a.hr.Status.LastAttemptedReleaseAction == actionUpgrade && a.installsLeft())
}

// finishRemove brings an uninstall to its end that was interrupted, or that failed half-way.
func (a *attempt) finishRemove(ctx context.Context) *kernel.Outcome {
	_, err := a.runner.UninstallNow(ctx)
	if action.Cancelled(err) {
		return a.cancelled()
	}
	if c := a.condition(helmv2.RemediatedCondition); err == nil && c != nil && c.Reason == uninstallFailed {
		a.forget(helmv2.RemediatedCondition)
	}
	return a.plain("finish the uninstall", err)
}

func (a *attempt) installsLeft() bool {
	r := a.remediation(actionInstall)
	return !exhausted(r.retries, a.hr.Status.InstallFailures)
}

func (a *attempt) remediationFailed(reason, message string) *kernel.Outcome {
	a.hr.Status.Failures++
	a.set(helmv2.RemediatedCondition, metav1.ConditionFalse, reason, message)
	a.req.Event(kernel.Warning(reason, a.withLog(message), a.metadata()))
	if stopped := a.release(); stopped != nil {
		return stopped
	}
	return stop(kernel.Failed(reason, errors.New(message)).WithoutEvent().Backoff())
}

// remediated ends an attempt: another follows at once, or never.
func (a *attempt) remediated(reason, message string, again bool) *kernel.Outcome {
	a.set(helmv2.RemediatedCondition, metav1.ConditionTrue, reason, message)
	a.req.Event(kernel.Normal(reason, message, a.metadata()))
	if again {
		return stop(kernel.Failed(reason, errors.New(message)).WithoutEvent().Again())
	}
	return a.stall()
}

// stall ends an attempt for good: the retries are used up.
func (a *attempt) stall() *kernel.Outcome {
	status := &a.hr.Status
	kind, failures := status.LastAttemptedReleaseAction, status.InstallFailures
	if kind == "" {
		kind = actionInstall
	}
	if kind == actionUpgrade {
		failures = status.UpgradeFailures
	}
	//lint:ignore ST1005 the text of the tables
	return stop(a.stalled(retriesExceeded, fmt.Errorf("Failed to %s after %d attempt(s)", kind, failures)))
}

// stalled is Stalled with a Ready condition that says what went wrong last.
func (a *attempt) stalled(reason string, err error) kernel.Outcome {
	o := kernel.Stalled(reason, err).WithMetadata(a.metadata())
	if c := a.summary(); c != nil && (c.Status == metav1.ConditionFalse || c.Type == helmv2.RemediatedCondition) {
		o = o.WithStall(reason, err.Error()).WithMessage(c.Message).WithoutEvent()
		o.Reason = c.Reason
	}
	return o
}
