package helm

import (
	"context"
	"slices"
	"strings"

	helm "helm.sh/helm/v4/pkg/release/v1"

	helmv2 "github.com/gitops-toolkit/flux/api/helm/v2"
	"github.com/gitops-toolkit/flux/api/meta"
	"github.com/gitops-toolkit/flux/internal/artifact"
	"github.com/gitops-toolkit/flux/internal/helm/action"
	"github.com/gitops-toolkit/flux/internal/helm/postrender"
	"github.com/gitops-toolkit/flux/internal/helm/release"
	"github.com/gitops-toolkit/flux/internal/helm/store"
	"github.com/gitops-toolkit/flux/internal/helm/values"
)

// observe reads Helm's storage: the first time from the server, after that from what our own writes left.
func (a *attempt) observe(ctx context.Context) error {
	if a.revisions == nil {
		revisions, broken, err := a.load(ctx)
		if err != nil {
			return err
		}
		a.notice(revisions, broken)
		return nil
	}
	found, err := a.runner.Storage.Query(map[string]string{"name": a.runner.Name})
	if err != nil {
		a.notice([]*helm.Release{}, nil)
		return nil
	}
	revisions := make([]*helm.Release, 0, len(found))
	for _, one := range found {
		if rel, ok := one.(*helm.Release); ok {
			revisions = append(revisions, rel)
		}
	}
	a.notice(newestFirst(revisions), nil)
	return nil
}

// load lists what is in Helm's storage, a record that lost its labels included.
func (a *attempt) load(ctx context.Context) (revisions []*helm.Release, broken map[int]error, err error) {
	revisions, broken, err = a.runner.Storage.Load(ctx)
	latest := a.hr.Status.History.Latest()
	if err != nil || latest == nil || broken[latest.Version] != nil || slices.ContainsFunc(revisions, func(r *helm.Release) bool { return r.Version >= latest.Version }) {
		return revisions, broken, err
	}
	lost, err := a.runner.Storage.Restore(ctx, latest.Version)
	if err != nil || !lost {
		return revisions, broken, err
	}
	a.req.Log.Info("a record in Helm's storage had lost its labels; it has them again", "version", latest.Version)
	return a.runner.Storage.Load(ctx)
}

func newestFirst(list []*helm.Release) []*helm.Release {
	for i := range list {
		for j := i; j > 0 && list[j].Version > list[j-1].Version; j-- {
			list[j], list[j-1] = list[j-1], list[j]
		}
	}
	return list
}

func (a *attempt) notice(revisions []*helm.Release, broken map[int]error) {
	if revisions == nil {
		revisions = []*helm.Release{}
	}
	a.revisions, a.last, a.unreadable = revisions, nil, false
	if len(revisions) > 0 {
		a.last = revisions[0]
	}
	for version, err := range broken {
		a.unreadable = a.unreadable || a.last == nil || version > a.last.Version
		a.req.Log.Info("a record in Helm's storage cannot be read", "secret", store.Key(a.runner.Name, version), "cause", err.Error())
	}
}

// revision returns a revision in storage, nil when it is not there.
func (a *attempt) revision(version int) *helm.Release {
	for _, r := range a.revisions {
		if r.Version == version {
			return r
		}
	}
	return nil
}

// facts gathers what decides, from storage, status and spec.
func (a *attempt) facts(ctx context.Context) facts {
	status, spec := &a.hr.Status, &a.hr.Spec
	latest := status.History.Latest()
	f := facts{
		unreadable: a.unreadable, action: status.LastAttemptedReleaseAction, had: a.had, forced: a.force,
		drift: a.c.looksForDrift(a.t), looked: a.looked,
	}
	install, upgrade := a.remediation(actionInstall), a.remediation(actionUpgrade)
	f.installExhausted = !install.retry && exhausted(install.retries, status.InstallFailures)
	f.upgradeExhausted = !upgrade.retry && exhausted(upgrade.retries, status.UpgradeFailures)
	active := install
	f.failures = status.InstallFailures
	if f.action == actionUpgrade {
		active, f.failures = upgrade, status.UpgradeFailures
	}
	f.retryOnFailure, f.retries, f.remediateLast, f.removes = active.retry, active.retries, active.remediateLast, active.removes
	if a.last == nil {
		return f
	}
	f.status = a.last.Info.Status.String()
	f.recorded = latest != nil
	f.recognised = latest != nil && release.Verify(latest, a.last)
	f.chart, f.values, f.rendering = a.sameChart(), a.sameValues(), a.sameRendering()
	f.ours = !f.recognised && a.ours(latest) && f.chart && f.values
	f.claimed = !f.recognised && a.claimant(ctx) != nil
	f.tests = spec.Test != nil && spec.Test.Enable
	if f.recognised {
		f.tested = release.Tested(latest)
		f.testFailed = f.tests && f.tested && release.FailedTest(latest) && !active.ignoreTests
	}
	if previous := release.Previous(status.History, active.ignoreTests); previous != nil {
		f.target = true
		stored := a.revision(previous.Version)
		f.altered = stored == nil || !release.Verify(previous, stored)
	}
	return f
}

func (a *attempt) remediation(kind string) remediation {
	return remediationOf(&a.hr.Spec, kind, a.c.m.Gate(GateDefaultToRetryOnFailure))
}

func (a *attempt) sameChart() bool {
	if a.last.Chart == nil || a.last.Chart.Metadata == nil {
		return false
	}
	m := a.last.Chart.Metadata
	return m.Name == a.chartName && m.Version == a.version
}

// sameValues tells whether the last release has the values that are wanted, with upgrade.preserveValues beside others.
func (a *attempt) sameValues() bool {
	if values.Verify(a.config.String(), a.last.Config) {
		return true
	}
	u := a.hr.Spec.Upgrade
	return u != nil && u.PreserveValues && values.Within(a.values, a.last.Config)
}

// sameRendering tells whether post-renderers and common metadata are those of the last release. As with upstream they
// are compared only while the spec is new, because their digests in the status may be older than the fields.
func (a *attempt) sameRendering() bool {
	if a.hr.Generation == a.hr.Status.ObservedGeneration {
		return true
	}
	renderers, common := a.renderingDigests()
	return renderers == a.hr.Status.ObservedPostRenderersDigest && common == a.hr.Status.ObservedCommonMetadataDigest
}

// ours tells whether the newest revision was made by this HelmRelease, for the spec that was last attempted, after the
// history was last written: the process ended in between.
func (a *attempt) ours(latest *helmv2.Snapshot) bool {
	next := 1
	if latest != nil {
		next = latest.Version + 1
	}
	if a.last.Version < next || a.last.Info.Status != "deployed" {
		return false
	}
	if len(a.hr.Spec.PostRenderers) > 0 || a.hr.Spec.CommonMetadata != nil {
		return false // what was rendered cannot be told from the manifest
	}
	return a.marked()
}

// marked tells whether the objects of the newest revision say that they come from this HelmRelease.
func (a *attempt) marked() bool {
	objects, err := release.Objects(a.last.Manifest)
	if err != nil || len(objects) == 0 {
		return false
	}
	origin := postrender.Origin(a.hr.Namespace, a.hr.Name)
	for _, o := range objects {
		if !contains(o.GetLabels(), origin) {
			return false
		}
	}
	return true
}

// readTokens looks for requests to force or to reset. A token acts at most once, and only together with a request to
// reconcile.
func (a *attempt) readTokens() {
	status := &a.hr.Status
	requested := a.hr.Annotations[meta.ReconcileRequestAnnotation]
	take := func(annotation string, handled *string) bool {
		token := a.hr.Annotations[annotation]
		acts := token != "" && token == requested && token != *handled && requested != status.LastHandledReconcileAt
		if token != "" {
			*handled = token
		}
		return acts
	}
	a.force = take(forceAnnotation, &status.LastHandledForceAt)
	if take(resetAnnotation, &status.LastHandledResetAt) {
		status.Failures, status.InstallFailures, status.UpgradeFailures = 0, 0, 0
	}
}

const (
	forceAnnotation = "reconcile.fluxcd.io/forceAt"
	resetAnnotation = "reconcile.fluxcd.io/resetAt"
)

// resetCounters forgets failures when something else is attempted than what failed.
func (a *attempt) resetCounters() {
	status := &a.hr.Status
	if status.LastAttemptedGeneration == a.hr.Generation && status.LastAttemptedRevision == a.version &&
		(status.LastAttemptedRevisionDigest == a.ociDigest) && values.Verify(status.LastAttemptedConfigDigest, a.values) {
		return
	}
	status.Failures, status.InstallFailures, status.UpgradeFailures = 0, 0, 0
}

// noteAttempt records what is attempted.
func (a *attempt) noteAttempt() {
	status := &a.hr.Status
	status.LastAttemptedGeneration = a.hr.Generation
	status.LastAttemptedRevision, status.LastAttemptedRevisionDigest = a.version, a.ociDigest
	status.LastAttemptedConfigDigest = a.config.String()
	status.LastAttemptedValuesChecksum, status.LastReleaseRevision = "", 0
	status.StorageNamespace = action.StorageNamespace(a.hr)
}

func digestOf(revision string) string {
	if _, digest, ok := strings.Cut(revision, "@"); ok {
		return digest
	}
	return revision
}

// renderingDigests identify post-renderers and common metadata; both are empty where there are none.
func (a *attempt) renderingDigests() (renderers, common string) {
	if len(a.hr.Spec.PostRenderers) > 0 {
		renderers = a.jsonDigest(a.hr.Spec.PostRenderers)
	}
	if a.hr.Spec.CommonMetadata != nil {
		common = a.jsonDigest(a.hr.Spec.CommonMetadata)
	}
	return renderers, common
}

func (a *attempt) jsonDigest(v any) string {
	text, err := marshal(v)
	if err != nil {
		return ""
	}
	return artifact.DigestOf(a.c.DigestAlgorithm, text).String()
}
