package helm

// state is what a release is in, as Helm's storage and the history in the status tell.
type state string

const (
	// stateAbsent: no release, or one that was uninstalled.
	stateAbsent state = "absent"
	// stateUninstalling: an uninstall was interrupted.
	stateUninstalling state = "uninstalling"
	// stateLocked: an action was interrupted.
	stateLocked state = "locked"
	// stateUnrecorded: our own release for the present desire, whose record was lost on the way to the status.
	stateUnrecorded state = "unrecorded"
	// stateUnmanaged: the release was made or changed by somebody else.
	stateUnmanaged state = "unmanaged"
	// stateFailed: the last action, or a test, failed.
	stateFailed state = "failed"
	// stateOutOfSync: the release is of another chart, of other values, or rendered otherwise.
	stateOutOfSync state = "out of sync"
	// stateUntested: the tests have not run.
	stateUntested state = "untested"
	// stateUnlooked: drift has not been looked for.
	stateUnlooked state = "unlooked"
	// stateInSync: nothing is left to do.
	stateInSync state = "in sync"
)

// step is what is done next.
type step string

const (
	stepInstall      step = "install"
	stepUpgrade      step = "upgrade"
	stepUnlock       step = "unlock"
	stepFinishRemove step = "finish uninstall"
	stepAdopt        step = "adopt"
	stepRollback     step = "rollback"
	stepRemove       step = "uninstall remediation"
	stepTest         step = "test"
	stepLook         step = "look for drift"
	// stepStall: no repetition helps: the retries are used up.
	stepStall step = "stall"
	// stepNoTarget: there is no release to go back to.
	stepNoTarget step = "no rollback target"
	// stepYield: the release belongs to another HelmRelease.
	stepYield step = "yield"
	// stepEnd: the attempt is over, because the release is in sync or this attempt has had its turn.
	stepEnd step = "end"
)

// facts are all that decides on the next step of a release.
type facts struct {
	// status is that of the newest readable revision in Helm's storage, empty when there is none.
	status string
	// unreadable says that a newer revision is there that cannot be read.
	unreadable bool
	// recognised says that the newest snapshot in the history is of exactly this revision; recorded that there is one.
	recognised, recorded bool
	// ours says that the revision was made by this HelmRelease for the present desire, claimed that it was made by another
	// which means the same release, and has it.
	ours, claimed bool
	// chart, values and rendering tell whether the release is what is wanted.
	chart, values, rendering bool
	// tests says that tests are to run, tested that they have, testFailed that one failed and that matters.
	tests, tested, testFailed bool
	// action is the last that was attempted, install or upgrade, and failures those of its kind.
	action   string
	failures int64
	// retryOnFailure says that a failed action of this kind is repeated as an upgrade instead of remediated.
	retryOnFailure bool
	// retries of this kind, negative without end; remediateLast says that the last failure is remediated too.
	retries       int
	remediateLast bool
	// removes says that remediation uninstalls; otherwise it rolls back.
	removes bool
	// installExhausted and upgradeExhausted say that there are no retries left of a kind.
	installExhausted, upgradeExhausted bool
	// target says that there is a release to roll back to, altered that it is not in storage as it was.
	target, altered bool
	// forced says that somebody asked for an install or upgrade whatever the state is.
	forced bool
	// drift says that drift is to be looked for; looked that it has been.
	drift, looked bool
	// had are the steps of this attempt.
	had map[step]bool
}

// settledStatuses are those from which Helm goes on; all others, the pending ones first of all, are left by actions that
// were interrupted.
var settledStatuses = map[string]bool{"deployed": true, "failed": true, "superseded": true, "uninstalled": true, "uninstalling": true}

// locked tells whether a status keeps Helm from acting on the release.
func locked(status string) bool { return status != "" && !settledStatuses[status] }

// stateOf tells what state a release is in.
func stateOf(f facts) state {
	switch {
	case f.status == "", f.status == "uninstalled":
		return stateAbsent // also where a newer record cannot be read: the install writes over it
	case f.status == "uninstalling":
		return stateUninstalling
	case locked(f.status):
		return stateLocked
	case f.unreadable:
		return stateUnmanaged
	case !f.recognised && f.ours:
		return stateUnrecorded
	case !f.recognised:
		return stateUnmanaged
	case f.status == "failed" || f.status == "deployed" && f.testFailed:
		return stateFailed
	case f.status != "deployed", !f.chart, !f.values, !f.rendering:
		return stateOutOfSync // superseded and nothing newer: the newest was deleted by hand
	case f.tests && !f.tested:
		return stateUntested
	case f.drift && !f.looked:
		return stateUnlooked
	}
	return stateInSync
}

// decide chooses the next step, and says why in the words of the log.
func decide(f facts) (step, string) {
	s := stateOf(f)
	if f.claimed && !f.forced && (s == stateLocked || s == stateUnmanaged) {
		return stepYield, "the release belongs to another HelmRelease" // which may be at work on it just now
	}
	switch s {
	case stateAbsent:
		return f.once(f.install())
	case stateUninstalling:
		return f.once(stepFinishRemove, "the release is half uninstalled")
	case stateLocked:
		return f.once(stepUnlock, "an action on the release was interrupted")
	case stateUnrecorded:
		return f.once(stepAdopt, "the release was made for what is wanted, and its record was lost")
	case stateUnmanaged:
		return f.once(stepUpgrade, "the release was made or changed by somebody else")
	case stateFailed:
		return f.once(f.remedy())
	case stateOutOfSync:
		return f.once(f.upgrade())
	default:
		return f.settled(s)
	}
}

// settled chooses the next step for a release that is what is wanted. An upgrade that was asked for comes first, because
// it may be what mends the rest.
func (f facts) settled(s state) (step, string) {
	switch {
	case f.forced && !f.had[stepUpgrade] && !f.had[stepInstall]:
		return f.once(stepUpgrade, "an upgrade was asked for")
	case s == stateUntested:
		return f.once(stepTest, "the release has not been tested")
	case s == stateUnlooked:
		return f.once(stepLook, "drift has not been looked for")
	}
	return stepEnd, "the release is in sync"
}

// once ends an attempt that would take a step a second time, or one after a remediation.
func (f facts) once(next step, why string) (step, string) {
	switch {
	case next == stepStall || next == stepNoTarget:
		return next, why
	case f.had[stepRollback] || f.had[stepRemove]:
		return stepEnd, "a remediation ends the attempt"
	case f.had[next]:
		return stepEnd, "this attempt had its turn"
	}
	return next, why
}

func (f facts) install() (step, string) {
	if f.had[stepRemove] {
		return stepEnd, "a remediation ends the attempt"
	}
	if f.installExhausted && !f.forced {
		return stepStall, "there are no retries left"
	}
	return stepInstall, "there is no release"
}

func (f facts) upgrade() (step, string) {
	if f.had[stepRollback] {
		return stepEnd, "a remediation ends the attempt"
	}
	if f.upgradeExhausted && !f.forced {
		return stepStall, "there are no retries left"
	}
	switch {
	case !f.chart:
		return stepUpgrade, "release chart changed"
	case !f.values:
		return stepUpgrade, "release config values changed"
	case !f.rendering:
		return stepUpgrade, "post-renderers or common metadata changed"
	}
	return stepUpgrade, "the newest release is superseded"
}

// exhausted tells whether no retry is left after so many failures.
func exhausted(retries int, failures int64) bool { return retries >= 0 && failures > int64(retries) }

func (f facts) remedy() (step, string) {
	none := exhausted(f.retries, f.failures)
	switch {
	case f.retryOnFailure, f.action == "", f.failures == 0, f.forced && !f.had[stepUpgrade] && !f.had[stepInstall]:
		return stepUpgrade, "the last release failed"
	case none && !f.remediateLast:
		return stepStall, "there are no retries left"
	case f.action == actionInstall || f.removes:
		return stepRemove, "the last release failed"
	case !f.target:
		return stepNoTarget, "there is nothing to go back to"
	case f.altered:
		return stepUpgrade, "the release to go back to is not as it was"
	}
	return stepRollback, "the last release failed"
}

const (
	actionInstall = "install"
	actionUpgrade = "upgrade"
)
