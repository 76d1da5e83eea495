// Package action runs Helm's actions for HelmReleases: each with every option of the spec, on the Helm SDK, with our own
// access to the cluster and to Helm's storage. It decides nothing and knows no status.
package action

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"time"

	sdk "helm.sh/helm/v4/pkg/action"
	"helm.sh/helm/v4/pkg/chart/common"
	chart "helm.sh/helm/v4/pkg/chart/v2"
	helmkube "helm.sh/helm/v4/pkg/kube"
	helm "helm.sh/helm/v4/pkg/release/v1"
	"helm.sh/helm/v4/pkg/storage"

	helmv2 "github.com/gitops-toolkit/flux/api/helm/v2"
	"github.com/gitops-toolkit/flux/api/meta"
	"github.com/gitops-toolkit/flux/internal/apply/health"
	"github.com/gitops-toolkit/flux/internal/helm/kube"
	"github.com/gitops-toolkit/flux/internal/helm/postrender"
	"github.com/gitops-toolkit/flux/internal/helm/release"
	"github.com/gitops-toolkit/flux/internal/helm/store"
)

func init() { helmkube.ManagedFieldsManager = kube.FieldManager }

// The names of actions as the history keeps them.
const (
	Install              = "install"
	Upgrade              = "upgrade"
	Rollback             = "rollback"
	Uninstall            = "uninstall"
	UninstallRemediation = "uninstall-remediation"
)

// Defaults are what the operator chose for all releases.
type Defaults struct {
	// Helm3 applies from the client's side, waits as Helm 3 did and leaves hooks out of post-rendering, where a
	// HelmRelease does not say otherwise (gate UseHelm3Defaults).
	Helm3 bool
	// DNS lets templates look up host names (gate AllowDNSLookups).
	DNS bool
	// Takeover are field managers whose fields are taken over.
	Takeover []string
}

// Runner runs actions for one HelmRelease.
type Runner struct {
	Defaults
	// Object is the HelmRelease; its spec is read.
	Object  *helmv2.HelmRelease
	Cluster *kube.Cluster
	Storage *store.Storage
	// Name and Namespace are those of the release.
	Name, Namespace string
	// Wait ends waits for objects when it ends; the action is then recorded as failed with an error that wraps
	// kube.ErrCancelled.
	Wait context.Context
	// Watch tells when to look again while waiting; nil polls.
	Watch *health.Hub
	// Exprs tell how custom kinds fare.
	Exprs *health.Exprs
	// Log keeps what Helm says.
	Log *Log
	// KubeVersion is what templates see in a preview without a cluster, Helm's default when nil.
	KubeVersion *common.KubeVersion
}

// ReleaseName is the name of a HelmRelease's release in Helm.
func ReleaseName(hr *helmv2.HelmRelease) string {
	name := hr.Spec.ReleaseName
	if name == "" {
		name = hr.Name
		if hr.Spec.TargetNamespace != "" {
			name = hr.Spec.TargetNamespace + "-" + hr.Name
		}
	}
	return release.ShortName(name)
}

// ReleaseNamespace is the namespace that a HelmRelease releases to.
func ReleaseNamespace(hr *helmv2.HelmRelease) string {
	return cmp.Or(hr.Spec.TargetNamespace, hr.Namespace)
}

// StorageNamespace is the namespace of Helm's records for a HelmRelease.
func StorageNamespace(hr *helmv2.HelmRelease) string {
	return cmp.Or(hr.Spec.StorageNamespace, hr.Namespace)
}

// Timeout of an action whose own timeout is own.
func Timeout(hr *helmv2.HelmRelease, own *meta.Duration) time.Duration {
	return own.ValueOr(hr.GetTimeout())
}

// mode is how one action deals with objects.
type mode struct {
	serverSide, adopt, validate, noWait, uninstalling bool
	former                                            string
}

func (r *Runner) configuration(ctx context.Context, m mode) (*sdk.Configuration, error) {
	caps, err := r.Cluster.Capabilities(ctx)
	if err != nil {
		return nil, err
	}
	handler := slog.Handler(slog.DiscardHandler)
	if r.Log != nil {
		handler = r.Log
	}
	wait := r.Wait
	if wait == nil {
		wait = ctx
	}
	config := sdk.NewConfiguration(sdk.ConfigurationSetLogger(handler))
	config.Capabilities = caps
	config.RESTClientGetter = r.Cluster.Getter(r.Namespace)
	config.Releases = storage.Init(r.Storage)
	config.Releases.SetLogger(handler)
	config.KubeClient = r.Cluster.Client(kube.Options{
		Namespace: r.Namespace, Release: r.Name, ServerSide: m.serverSide, Adopt: m.adopt, Validate: m.validate, Legacy: r.legacyWait(), NoWait: m.noWait,
		Uninstalling: m.uninstalling, Former: m.former, Takeover: r.Takeover, Exprs: r.Exprs, Watch: r.Watch, WaitContext: wait, Log: handler,
	})
	return config, nil
}

func (r *Runner) legacyWait() bool {
	if s := r.Object.Spec.WaitStrategy; s != nil && s.Name != "" {
		return s.Name == "legacy"
	}
	return r.Helm3
}

func (r *Runner) postRenderStrategy() sdk.PostRenderStrategy {
	if s := r.Object.Spec.PostRenderStrategy; s != "" {
		return sdk.PostRenderStrategy(s)
	}
	if r.Helm3 {
		return sdk.PostRenderStrategyNoHooks
	}
	return sdk.PostRenderStrategyCombined
}

// strategy is only looked at by Helm itself: our client waits as the HelmRelease says.
const strategy = helmkube.StatusWatcherStrategy

// serverSide resolves enabled, disabled and auto: as the release was made that is changed, or gone back to.
func serverSide(choice, method string) bool {
	switch choice {
	case "enabled":
		return true
	case "disabled":
		return false
	}
	return method == string(helm.ApplyMethodServerSideApply)
}

func boolText(b bool) string {
	if b {
		return "true"
	}
	return "false"
}

func asRelease(in any, err error) (*helm.Release, error) {
	rel, _ := in.(*helm.Release)
	return rel, err
}

func (r *Runner) installSpec() helmv2.Install {
	if r.Object.Spec.Install == nil {
		return helmv2.Install{}
	}
	return *r.Object.Spec.Install
}

func (r *Runner) upgradeSpec() helmv2.Upgrade {
	if r.Object.Spec.Upgrade == nil {
		return helmv2.Upgrade{}
	}
	return *r.Object.Spec.Upgrade
}

// installsOnServer tells whether an install applies on the server.
func (r *Runner) installsOnServer() bool {
	if choice := r.installSpec().ServerSideApply; choice != nil {
		return *choice
	}
	return !r.Helm3
}

// installPolicy is what an install does with the definitions in crds/.
func (r *Runner) installPolicy() string {
	spec := r.installSpec()
	if spec.SkipCRDs && spec.CRDs == "" {
		return crdSkip
	}
	return cmp.Or(spec.CRDs, crdCreate)
}

// InstallWith installs a chart.
func (r *Runner) InstallWith(ctx context.Context, c *chart.Chart, values map[string]any, replace bool) (*helm.Release, error) {
	spec, ssa := r.installSpec(), r.installsOnServer()
	if err := r.definitions(ctx, c, values, r.installPolicy(), ssa); err != nil {
		return nil, err
	}
	config, err := r.configuration(ctx, mode{serverSide: ssa, adopt: !spec.DisableTakeOwnership, validate: !spec.DisableOpenAPIValidation, noWait: spec.DisableWait})
	if err != nil {
		return nil, err
	}
	a := sdk.NewInstall(config)
	a.ReleaseName, a.Namespace, a.Timeout = r.Name, r.Namespace, Timeout(r.Object, spec.Timeout)
	a.WaitStrategy, a.WaitForJobs = strategy, !spec.DisableWaitForJobs
	a.DisableHooks, a.DisableOpenAPIValidation, a.SkipSchemaValidation = spec.DisableHooks, spec.DisableOpenAPIValidation, spec.DisableSchemaValidation
	a.ServerSideApply, a.ForceConflicts = ssa, ssa
	a.TakeOwnership, a.Replace = !spec.DisableTakeOwnership, spec.Replace || replace
	a.CreateNamespace = spec.CreateNamespace && r.Object.Spec.TargetNamespace != ""
	a.SkipCRDs, a.Devel, a.EnableDNS = true, true, r.DNS
	a.PostRenderer, a.PostRenderStrategy = postrender.New(r.Object), r.postRenderStrategy()
	return asRelease(a.RunWithContext(context.WithoutCancel(ctx), c, values))
}

// UpgradeWith upgrades to a chart; last is the newest revision in storage.
func (r *Runner) UpgradeWith(ctx context.Context, last *helm.Release, c *chart.Chart, values map[string]any) (*helm.Release, error) {
	spec := r.upgradeSpec()
	ssa := serverSide(spec.ServerSideApply, last.ApplyMethod)
	if err := r.definitions(ctx, c, values, cmp.Or(spec.CRDs, crdCreate), ssa); err != nil {
		return nil, err
	}
	config, err := r.configuration(ctx, mode{
		serverSide: ssa, adopt: !spec.DisableTakeOwnership, validate: !spec.DisableOpenAPIValidation, noWait: spec.DisableWait,
		former: r.former(last),
	})
	if err != nil {
		return nil, err
	}
	a := sdk.NewUpgrade(config)
	a.Namespace, a.Timeout = r.Namespace, Timeout(r.Object, spec.Timeout)
	a.WaitStrategy, a.WaitForJobs = strategy, !spec.DisableWaitForJobs
	a.DisableHooks, a.DisableOpenAPIValidation, a.SkipSchemaValidation = spec.DisableHooks, spec.DisableOpenAPIValidation, spec.DisableSchemaValidation
	a.ServerSideApply, a.ForceConflicts, a.ForceReplace = boolText(ssa), ssa, spec.Force && !ssa
	a.TakeOwnership, a.CleanupOnFail = !spec.DisableTakeOwnership, spec.CleanupOnFail
	a.ResetValues, a.ReuseValues = !spec.PreserveValues, spec.PreserveValues
	a.MaxHistory = maxHistory(r.Object)
	a.SkipCRDs, a.Devel, a.EnableDNS = true, true, r.DNS
	a.PostRenderer, a.PostRenderStrategy = postrender.New(r.Object), r.postRenderStrategy()
	return asRelease(a.RunWithContext(context.WithoutCancel(ctx), r.Name, c, values))
}

// former returns the manifest that an upgrade starts from: of the deployed revision, else of the last.
func (r *Runner) former(last *helm.Release) string {
	if last.Info != nil && last.Info.Status.String() == "deployed" {
		return last.Manifest
	}
	found, err := r.Storage.Query(map[string]string{"name": r.Name, "owner": "helm", "status": "deployed"})
	if err != nil {
		return last.Manifest
	}
	newest := last
	for i, one := range found {
		if rel, ok := one.(*helm.Release); ok && (i == 0 || rel.Version > newest.Version) {
			newest = rel
		}
	}
	return newest.Manifest
}

const defaultMaxHistory = 5

func maxHistory(hr *helmv2.HelmRelease) int {
	if hr.Spec.MaxHistory == nil {
		return defaultMaxHistory
	}
	return *hr.Spec.MaxHistory
}

// RollbackTo goes back to a revision.
func (r *Runner) RollbackTo(ctx context.Context, last, target *helm.Release) error {
	spec := helmv2.Rollback{}
	if r.Object.Spec.Rollback != nil {
		spec = *r.Object.Spec.Rollback
	}
	ssa := serverSide(spec.ServerSideApply, target.ApplyMethod)
	config, err := r.configuration(ctx, mode{serverSide: ssa, adopt: true, validate: false, noWait: spec.DisableWait})
	if err != nil {
		return err
	}
	a := sdk.NewRollback(config)
	a.Version, a.Timeout = target.Version, Timeout(r.Object, spec.Timeout)
	a.WaitStrategy, a.WaitForJobs = strategy, !spec.DisableWaitForJobs
	a.DisableHooks, a.CleanupOnFail = spec.DisableHooks, spec.CleanupOnFail
	a.ServerSideApply, a.ForceConflicts, a.ForceReplace = boolText(ssa), ssa, spec.Force && !ssa
	a.MaxHistory = maxHistory(r.Object)
	return a.Run(r.Name)
}

// UninstallNow uninstalls the release.
func (r *Runner) UninstallNow(ctx context.Context) (*helm.Release, error) {
	spec := helmv2.Uninstall{}
	if r.Object.Spec.Uninstall != nil {
		spec = *r.Object.Spec.Uninstall
	}
	config, err := r.configuration(ctx, mode{uninstalling: true, serverSide: true, noWait: spec.DisableWait})
	if err != nil {
		return nil, err
	}
	a := sdk.NewUninstall(config)
	a.Timeout, a.WaitStrategy = Timeout(r.Object, spec.Timeout), strategy
	a.DisableHooks, a.KeepHistory = spec.DisableHooks, spec.KeepHistory
	a.DeletionPropagation = "background"
	if spec.DeletionPropagation != nil {
		a.DeletionPropagation = *spec.DeletionPropagation
	}
	res, err := a.Run(r.Name)
	if err == nil && !spec.KeepHistory {
		err = r.Storage.DeleteBroken(0)
	}
	if res == nil {
		return nil, causeOf(err, config.KubeClient)
	}
	return asRelease(res.Release, err)
}

// causeOf adds to the error of an uninstall why objects were not deleted, which Helm only logs.
func causeOf(err error, client helmkube.Interface) error {
	c, ok := client.(*kube.Client)
	if err == nil || !ok || c.Undeleted() == nil {
		return err
	}
	return fmt.Errorf("%w: %w", err, c.Undeleted())
}

// TestNow runs the tests of the release.
func (r *Runner) TestNow(ctx context.Context, last *helm.Release) (*helm.Release, error) {
	spec := helmv2.Test{}
	if r.Object.Spec.Test != nil {
		spec = *r.Object.Spec.Test
	}
	config, err := r.configuration(ctx, mode{serverSide: last.ApplyMethod == string(helm.ApplyMethodServerSideApply), adopt: true})
	if err != nil {
		return nil, err
	}
	a := sdk.NewReleaseTesting(config)
	a.Namespace, a.Timeout = r.Namespace, Timeout(r.Object, spec.Timeout)
	if spec.Filters != nil {
		for _, f := range *spec.Filters {
			key := sdk.IncludeNameFilter
			if f.Exclude {
				key = sdk.ExcludeNameFilter
			}
			a.Filters[key] = append(a.Filters[key], f.Name)
		}
	}
	found, cleanUp, err := a.Run(r.Name)
	if cleanUp != nil {
		if cleanErr := cleanUp(); cleanErr != nil && err == nil {
			err = cleanErr
		}
	}
	return asRelease(found, err)
}

// Unlock marks a revision that an action left pending as failed.
func (r *Runner) Unlock(rel *helm.Release) error {
	old := rel.Info.Status
	rel.SetStatus("failed", fmt.Sprintf("Release unlocked from stale '%s' state", old))
	return r.Storage.Update(store.Key(rel.Name, rel.Version), rel)
}
