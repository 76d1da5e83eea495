package helm

import (
	"context"
	"errors"
	"fmt"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	helmv2 "github.com/gitops-toolkit/flux/api/helm/v2"
	"github.com/gitops-toolkit/flux/internal/helm/action"
	"github.com/gitops-toolkit/flux/internal/helm/release"
	"github.com/gitops-toolkit/flux/internal/kernel"
)

// test runs the tests of the release and records how they went.
func (a *attempt) test(ctx context.Context) *kernel.Outcome {
	timeout := a.hr.GetTimeout()
	var filters *[]helmv2.TestFilter
	if t := a.hr.Spec.Test; t != nil {
		timeout, filters = action.Timeout(a.hr, t.Timeout), t.Filters
	}
	status := &a.hr.Status
	latest := status.History.Latest()
	a.begin("test", timeout, latest.Action)
	rel, err := a.runner.TestNow(ctx, a.last)
	if latest = status.History.Latest(); rel != nil {
		tested := *latest
		tested.TestHooks = release.Tests(rel, filters)
		status.History = append(helmv2.Snapshots{&tested}, status.History[1:]...)
		latest = &tested
	}
	about := fmt.Sprintf("for release %s with chart %s: ", release.FullName(latest), release.VersionedChart(latest))
	if err == nil {
		message := "Helm test succeeded " + about + hookCount(latest)
		a.set(helmv2.TestSuccessCondition, metav1.ConditionTrue, testSucceeded, message)
		a.req.Event(kernel.Normal(testSucceeded, message, a.metadata()))
		return nil
	}
	message := "Helm test failed " + about + err.Error()
	a.set(helmv2.TestSuccessCondition, metav1.ConditionFalse, testFailed, message)
	a.req.Event(kernel.Warning(testFailed, a.withLog(message), a.metadata()))
	status.Failures++
	if rel == nil || !release.FailedTest(latest) {
		return stop(kernel.Failed(testFailed, errors.New(message)).WithoutEvent().Backoff())
	}
	if kind := status.LastAttemptedReleaseAction; !a.remediation(kind).ignoreTests {
		if kind == actionUpgrade {
			status.UpgradeFailures++
		} else {
			status.InstallFailures++
		}
	}
	return nil
}

func hookCount(s *helmv2.Snapshot) string {
	n := 0
	if s.TestHooks != nil {
		n = len(*s.TestHooks)
	}
	switch n {
	case 0:
		return "no test hooks"
	case 1:
		return "1 test hook completed successfully"
	}
	return fmt.Sprintf("%d test hooks completed successfully", n)
}
