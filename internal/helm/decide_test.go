package helm

import "testing"

// base is a release that is what is wanted, with everything known.
func base() facts {
	return facts{status: "deployed", recognised: true, recorded: true, chart: true, values: true, rendering: true, action: actionInstall, had: map[step]bool{}}
}

func TestDecide(t *testing.T) {
	t.Parallel()
	for reason, c := range map[string]struct {
		change func(*facts)
		want   step
	}{
		"in sync":                                        {func(*facts) {}, stepEnd},
		"forced":                                         {func(f *facts) { f.forced = true }, stepUpgrade},
		"forced, and the upgrade was made":               {func(f *facts) { f.forced = true; f.had[stepUpgrade] = true }, stepEnd},
		"forced, and just installed":                     {func(f *facts) { f.forced = true; f.had[stepInstall] = true }, stepEnd},
		"absent":                                         {func(f *facts) { *f = facts{had: map[step]bool{}} }, stepInstall},
		"uninstalled with its history":                   {func(f *facts) { f.status = "uninstalled" }, stepInstall},
		"absent, no retries left":                        {func(f *facts) { f.status = ""; f.installExhausted = true }, stepStall},
		"absent, no retries left, forced":                {func(f *facts) { f.status = ""; f.installExhausted = true; f.forced = true }, stepInstall},
		"absent after a remediation":                     {func(f *facts) { f.status = ""; f.had[stepInstall] = true; f.had[stepRemove] = true }, stepEnd},
		"nothing but unreadable records":                 {func(f *facts) { f.status = ""; f.unreadable = true }, stepInstall},
		"a newer record is unreadable":                   {func(f *facts) { f.unreadable = true }, stepUpgrade},
		"superseded, and a newer record is unreadable":   {func(f *facts) { f.status = "superseded"; f.unreadable = true }, stepUpgrade},
		"uninstalled, and a newer record is unreadable":  {func(f *facts) { f.status = "uninstalled"; f.unreadable = true }, stepInstall},
		"half uninstalled":                               {func(f *facts) { f.status = "uninstalling" }, stepFinishRemove},
		"half uninstalled for the second time":           {func(f *facts) { f.status = "uninstalling"; f.had[stepFinishRemove] = true }, stepEnd},
		"pending install":                                {func(f *facts) { f.status = "pending-install" }, stepUnlock},
		"pending upgrade":                                {func(f *facts) { f.status = "pending-upgrade" }, stepUnlock},
		"pending rollback":                               {func(f *facts) { f.status = "pending-rollback" }, stepUnlock},
		"a status that Helm does not know":               {func(f *facts) { f.status = "unknown" }, stepUnlock},
		"pending, and unknown to the history":            {func(f *facts) { f.status = "pending-upgrade"; f.recognised = false }, stepUnlock},
		"made by helm":                                   {func(f *facts) { f.recognised = false; f.recorded = false }, stepUpgrade},
		"changed by helm":                                {func(f *facts) { f.recognised = false }, stepUpgrade},
		"made by another HelmRelease":                    {func(f *facts) { f.recognised = false; f.claimed = true }, stepYield},
		"another HelmRelease is at work on it":           {func(f *facts) { f.status, f.recognised, f.claimed = "pending-upgrade", false, true }, stepYield},
		"made by another HelmRelease, forced":            {func(f *facts) { f.recognised = false; f.claimed, f.forced = true, true }, stepUpgrade},
		"ours, record lost":                              {func(f *facts) { f.recognised = false; f.ours = true }, stepAdopt},
		"failed and unknown to the history":              {func(f *facts) { f.status = "failed"; f.recognised = false; f.failures = 1 }, stepUpgrade},
		"superseded only: the newest was deleted":        {func(f *facts) { f.status = "superseded" }, stepUpgrade},
		"another chart":                                  {func(f *facts) { f.chart = false }, stepUpgrade},
		"other values":                                   {func(f *facts) { f.values = false }, stepUpgrade},
		"rendered otherwise":                             {func(f *facts) { f.rendering = false }, stepUpgrade},
		"out of sync, no retries left":                   {func(f *facts) { f.values = false; f.upgradeExhausted = true }, stepStall},
		"out of sync, no retries left, forced":           {func(f *facts) { f.values = false; f.upgradeExhausted = true; f.forced = true }, stepUpgrade},
		"out of sync after a rollback":                   {func(f *facts) { f.values = false; f.had[stepRollback] = true }, stepEnd},
		"out of sync after an upgrade":                   {func(f *facts) { f.values = false; f.had[stepUpgrade] = true }, stepEnd},
		"untested":                                       {func(f *facts) { f.tests = true }, stepTest},
		"untested, and the tests had their turn":         {func(f *facts) { f.tests = true; f.had[stepTest] = true }, stepEnd},
		"tested":                                         {func(f *facts) { f.tests, f.tested = true, true }, stepEnd},
		"drift is to be looked for":                      {func(f *facts) { f.drift = true }, stepLook},
		"untested, forced":                               {func(f *facts) { f.tests, f.forced = true, true }, stepUpgrade},
		"untested, forced, and upgraded":                 {func(f *facts) { f.tests, f.forced = true, true; f.had[stepUpgrade] = true }, stepTest},
		"drift is to be looked for, forced":              {func(f *facts) { f.drift, f.forced = true, true }, stepUpgrade},
		"drift was looked for":                           {func(f *facts) { f.drift, f.looked = true, true }, stepEnd},
		"untested comes before drift":                    {func(f *facts) { f.tests, f.drift = true, true }, stepTest},
		"failed install":                                 {failed(actionInstall, 1, 1), stepRemove},
		"failed install, no retries left":                {failed(actionInstall, 0, 1), stepStall},
		"failed install, no retries, remediate last":     {also(failed(actionInstall, 0, 1), func(f *facts) { f.remediateLast = true }), stepRemove},
		"failed install, without end":                    {failed(actionInstall, -1, 100), stepRemove},
		"failed upgrade, something to go back to":        {also(failed(actionUpgrade, 1, 1), func(f *facts) { f.target = true }), stepRollback},
		"failed upgrade, nothing to go back to":          {failed(actionUpgrade, 1, 1), stepNoTarget},
		"failed upgrade, the target is altered":          {also(failed(actionUpgrade, 1, 1), func(f *facts) { f.target, f.altered = true, true }), stepUpgrade},
		"failed upgrade, the target is altered, again":   {also(failed(actionUpgrade, 1, 1), func(f *facts) { f.target, f.altered = true, true; f.had[stepUpgrade] = true }), stepEnd},
		"failed upgrade, uninstall strategy":             {also(failed(actionUpgrade, 1, 1), func(f *facts) { f.removes = true }), stepRemove},
		"failed upgrade, no retries left":                {also(failed(actionUpgrade, 0, 1), func(f *facts) { f.target = true }), stepStall},
		"failed upgrade, no retries left, remediate":     {also(failed(actionUpgrade, 0, 1), func(f *facts) { f.target, f.remediateLast = true, true }), stepRollback},
		"failed, nothing counted: the config changed":    {failed(actionUpgrade, 0, 0), stepUpgrade},
		"failed, last action unknown":                    {failed("", 0, 0), stepUpgrade},
		"failed, retry on failure":                       {also(failed(actionUpgrade, 0, 9), func(f *facts) { f.retryOnFailure = true }), stepUpgrade},
		"failed, retry on failure, had its turn":         {also(failed(actionUpgrade, 0, 9), func(f *facts) { f.retryOnFailure = true; f.had[stepUpgrade] = true }), stepEnd},
		"failed, forced":                                 {also(failed(actionUpgrade, 0, 9), func(f *facts) { f.forced = true }), stepUpgrade},
		"failed again after it was forced":               {also(failed(actionUpgrade, 0, 9), func(f *facts) { f.forced = true; f.had[stepUpgrade] = true }), stepStall},
		"test failed":                                    {also(failed(actionInstall, 1, 1), func(f *facts) { f.status, f.tests, f.tested, f.testFailed = "deployed", true, true, true }), stepRemove},
		"test failed, no retries left":                   {also(failed(actionInstall, 0, 1), func(f *facts) { f.status, f.tests, f.tested, f.testFailed = "deployed", true, true, true }), stepStall},
		"a rollback ends the attempt":                    {also(failed(actionUpgrade, 1, 1), func(f *facts) { f.target = true; f.had[stepRollback] = true }), stepEnd},
		"unlocked, never attempted by us: an upgrade":    {also(failed("", 0, 0), func(f *facts) { f.had[stepUnlock] = true }), stepUpgrade},
		"install failed before anything was ever stored": {func(f *facts) { *f = facts{action: actionInstall, failures: 0, had: map[step]bool{stepInstall: true}} }, stepEnd},
	} {
		f := base()
		c.change(&f)
		if got, why := decide(f); got != c.want {
			t.Errorf("%s: %s (%s), want %s; the state is %s", reason, got, why, c.want, stateOf(f))
		}
	}
}

func failed(action string, retries int, failures int64) func(*facts) {
	return func(f *facts) {
		f.status, f.action, f.retries, f.failures = "failed", action, retries, failures
	}
}

func also(a, b func(*facts)) func(*facts) {
	return func(f *facts) { a(f); b(f) }
}

// No combination of facts may lead to an attempt that takes a step for ever.
func TestEveryAttemptEnds(t *testing.T) {
	t.Parallel()
	statuses := []string{"", "deployed", "failed", "superseded", "uninstalled", "uninstalling", "pending-install", "pending-upgrade", "pending-rollback", "unknown"}
	for _, status := range statuses {
		for bits := range 1 << 15 {
			bit := func(n int) bool { return bits&(1<<n) != 0 }
			f := facts{
				status: status, recognised: bit(0), chart: bit(1), values: bit(2), tests: bit(3), tested: bit(4), testFailed: bit(5),
				retryOnFailure: bit(6), remediateLast: bit(7), removes: bit(8), target: bit(9), forced: bit(10), drift: bit(11),
				installExhausted: bit(12), upgradeExhausted: bit(12), unreadable: bit(13), claimed: bit(14), rendering: true, action: actionUpgrade, failures: 1, had: map[step]bool{},
			}
			rounds := 0
			for ; rounds < maxRounds; rounds++ {
				next, _ := decide(f)
				if next == stepEnd || next == stepStall || next == stepNoTarget || next == stepYield {
					break
				}
				f.had[next] = true // and nothing changes: the worst that can happen
			}
			if rounds == maxRounds {
				t.Fatalf("%+v goes on for ever", f)
			}
		}
	}
}
