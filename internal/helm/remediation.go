package helm

import (
	"time"

	helmv2 "github.com/gitops-toolkit/flux/api/helm/v2"
)

// defaultRetryInterval is that of the strategy RetryOnFailure.
const defaultRetryInterval = 5 * time.Minute

// remediation is what is done about failures of one kind of action, with all defaults filled in.
type remediation struct {
	retries       int
	remediateLast bool
	ignoreTests   bool
	// removes uninstalls instead of rolling back.
	removes bool
	// retry repeats the action as an upgrade after interval, instead of remediating.
	retry    bool
	interval time.Duration
}

const retryOnFailure = "RetryOnFailure"

// remediationOf returns what the spec says about failures of an action; retryByDefault is the gate
// DefaultToRetryOnFailure.
func remediationOf(spec *helmv2.HelmReleaseSpec, action string, retryByDefault bool) remediation {
	r := remediation{retry: retryByDefault, interval: defaultRetryInterval}
	if spec.Test != nil {
		r.ignoreTests = spec.Test.IgnoreFailures
	}
	if action == actionUpgrade {
		r.fromUpgrade(spec.Upgrade)
		return r
	}
	r.fromInstall(spec.Install)
	return r
}

func (r *remediation) fromInstall(i *helmv2.Install) {
	if i == nil {
		return
	}
	if s := i.Strategy; s != nil {
		r.retry, r.interval = s.Name == retryOnFailure, s.RetryInterval.ValueOr(defaultRetryInterval)
	}
	if m := i.Remediation; m != nil {
		r.retries = m.Retries
		set(&r.ignoreTests, m.IgnoreTestFailures)
		set(&r.remediateLast, m.RemediateLastFailure)
	}
}

func (r *remediation) fromUpgrade(u *helmv2.Upgrade) {
	if u == nil {
		return
	}
	if s := u.Strategy; s != nil {
		r.retry, r.interval = s.Name == retryOnFailure, s.RetryInterval.ValueOr(defaultRetryInterval)
	}
	if m := u.Remediation; m != nil {
		r.retries, r.removes = m.Retries, m.Strategy == "uninstall"
		r.remediateLast = m.Retries > 0
		set(&r.ignoreTests, m.IgnoreTestFailures)
		set(&r.remediateLast, m.RemediateLastFailure)
	}
}

func set(field *bool, given *bool) {
	if given != nil {
		*field = *given
	}
}
