package helm

// What is done after failures: a rollback, an uninstallation, or nothing more.

import (
	"context"
	"errors"
	"fmt"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	helmv2 "github.com/gitops-toolkit/flux/api/helm/v2"
	"github.com/gitops-toolkit/flux/api/meta"
	"github.com/gitops-toolkit/flux/internal/helm/action"
	"github.com/gitops-toolkit/flux/internal/helm/kube"
	"github.com/gitops-toolkit/flux/internal/helm/release"
	"github.com/gitops-toolkit/flux/internal/kernel"
)

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
		return a.remediationFailed(rollbackFailed, what+" failed: "+err.Error()+details(err))
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
	o := a.stall()
	if cause := a.cause(); cause != "" {
		return stop(o.WithMessage(message + "\nafter: " + cause))
	}
	return o
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

// details says on lines of their own why objects were not ready, where an action failed of that.
func details(err error) string {
	if text := kube.Details(err); text != "" {
		return "\n" + text
	}
	return ""
}

// stalled is Stalled with a Ready condition that says what went wrong last.
func (a *attempt) stalled(reason string, err error) kernel.Outcome {
	o := kernel.Stalled(reason, err).WithMetadata(a.metadata())
	if c := a.summary(); c != nil && (c.Status == metav1.ConditionFalse || c.Type == helmv2.RemediatedCondition) {
		message := c.Message
		if said := a.condition(meta.ReadyCondition); said != nil && said.Reason == c.Reason && strings.HasPrefix(said.Message, message+"\n") {
			message = said.Message // It says also after what.
		}
		o = o.WithStall(reason, err.Error()).WithMessage(message).WithoutEvent()
		o.Reason = c.Reason
	}
	return o
}

// cause is what was remediated: the tests where those failed, or the release.
func (a *attempt) cause() string {
	for _, kind := range []string{helmv2.TestSuccessCondition, helmv2.ReleasedCondition} {
		if c := a.condition(kind); c != nil && c.Status == metav1.ConditionFalse {
			return c.Message
		}
	}
	return ""
}
