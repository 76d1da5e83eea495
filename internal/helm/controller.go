// Package helm is the controller of HelmReleases: it installs and upgrades charts with Helm, and keeps the releases as
// their spec says.
//
// # One attempt
//
// A pass gathers what decides (gather.go, source.go, dependencies.go), all of it from caches. Where that is what the last
// success was for, nothing is done. Otherwise a background job makes an attempt (attempt.go): it reads the values, the
// chart and Helm's storage, and then goes round: observe (observe.go) what state the release is in; decide (decide.go, a
// pure function) on the next step; act (act.go) on it with the libraries below this package; record what happened in the
// status. The end of the attempt becomes the verdict in conclude.go; deletion is in finalize.go.
//
// A newer desire cancels the wait of an action, never the action itself: it is recorded in Helm's storage as failed, is
// no failure for the counters, and the next attempt upgrades.
//
// # What costs nothing
//
// The charts are parsed once per digest for the process (charts), discovery and clients are shared (kube), Helm's
// storage is listed once per attempt (store). A watch on the metadata of Helm's Secrets tells at the interval whether
// somebody touched the release: if not, and chart, values and spec are the same, no request is made and nothing rendered.
package helm

import (
	"context"
	"fmt"
	"sync"

	helmv2 "github.com/gitops-toolkit/flux/api/helm/v2"
	sourcev1 "github.com/gitops-toolkit/flux/api/source/v1"
	"github.com/gitops-toolkit/flux/internal/apply/health"
	"github.com/gitops-toolkit/flux/internal/apply/tracker"
	"github.com/gitops-toolkit/flux/internal/artifact"
	"github.com/gitops-toolkit/flux/internal/auth/cloud"
	"github.com/gitops-toolkit/flux/internal/auth/kubeconfig"
	"github.com/gitops-toolkit/flux/internal/helm/charts"
	"github.com/gitops-toolkit/flux/internal/helm/kube"
	"github.com/gitops-toolkit/flux/internal/kernel"
)

// Feature gates that only this controller has.
const (
	GateAllowDNSLookups            = "AllowDNSLookups"
	GateDisableChartDigestTracking = "DisableChartDigestTracking"
	GateUseHelm3Defaults           = "UseHelm3Defaults"
	GateDefaultToRetryOnFailure    = "DefaultToRetryOnFailure"
)

// Options configure the controller.
type Options struct {
	// Charts and Clusters are shared by the process.
	Charts   *charts.Cache
	Clusters *kube.Pool
	// Health watches the controller's own cluster while waiting; nil means polling.
	Health *health.Hub
	// DigestAlgorithm of snapshots (--snapshot-digest-algo), sha256 when empty.
	DigestAlgorithm artifact.Algorithm
	// OverrideManagers are field managers that are taken over (--override-manager).
	OverrideManagers []string
	// Clouds prove the identity of ServiceAccounts and of the controller to clusters.
	Clouds *cloud.Clouds
	// KubeConfigAccount is whose identity spec.kubeConfig.configMapRef uses where the ConfigMap names none
	// (--default-kubeconfig-service-account).
	KubeConfigAccount string
	// KubeConfig is what kubeconfigs in Secrets may contain.
	KubeConfig kubeconfig.Policy
	// Releases watches Helm's storage; nil lists it at each interval.
	Releases *Follower
}

// Register adds the kind to a manager.
func Register(m *kernel.Manager, o Options) error {
	algorithm, err := artifact.ParseAlgorithm(string(o.DigestAlgorithm))
	if err != nil {
		return fmt.Errorf("--snapshot-digest-algo: %w", err)
	}
	o.DigestAlgorithm = algorithm
	ctx, cancel := context.WithCancel(context.Background())
	m.AddCleanup(func() error {
		cancel()
		return nil
	})
	c := &controller{Options: o, m: m, ctx: ctx}
	if o.Releases != nil {
		m.Add(o.Releases.Run)
	}
	return kernel.Register(m, kind(m.Gate(kernel.GateExternalArtifact)), c)
}

// kind describes HelmReleases to the kernel.
func kind(externalArtifacts bool) kernel.Kind[*helmv2.HelmRelease] {
	return kernel.Kind[*helmv2.HelmRelease]{
		GroupVersionKind: helmv2.GroupVersion.WithKind(helmv2.HelmReleaseKind),
		New:              func() *helmv2.HelmRelease { return &helmv2.HelmRelease{} },
		Conditions:       []string{helmv2.ReleasedCondition, helmv2.TestSuccessCondition, helmv2.RemediatedCondition, helmv2.DriftedCondition},
		Publish: func(hr *helmv2.HelmRelease) kernel.Published {
			if latest := hr.Status.History.Latest(); latest != nil {
				return kernel.Published{Revision: latest.Digest}
			}
			return kernel.Published{}
		},
		Referents:        referents(externalArtifacts),
		SuspendedMessage: "reconciliation is suspended for this object",
		Attempt:          func(*helmv2.HelmRelease) string { return fulfilling },
	}
}

func referents(externalArtifacts bool) []kernel.Referent {
	gv := sourcev1.GroupVersion
	kinds := []kernel.Referent{
		kernel.Refer(gv.WithKind(sourcev1.HelmChartKind), func() *sourcev1.HelmChart { return &sourcev1.HelmChart{} }, nil, nil),
		kernel.Refer(gv.WithKind(sourcev1.OCIRepositoryKind), func() *sourcev1.OCIRepository { return &sourcev1.OCIRepository{} }, nil, nil),
	}
	if externalArtifacts {
		kinds = append(kinds, kernel.Refer(gv.WithKind(sourcev1.ExternalArtifactKind), func() *sourcev1.ExternalArtifact { return &sourcev1.ExternalArtifact{} }, nil, nil))
	}
	return kinds
}

// controller reconciles HelmReleases.
type controller struct {
	Options
	m *kernel.Manager
	// tracker finds drift in the controller's own cluster; it lives as long as ctx. It is nil before startTracker.
	ctx         context.Context
	trackerOnce sync.Once
	tracker     *tracker.Tracker
	notices     tracker.Notices
}

// request is one pass over a HelmRelease.
type request = kernel.Request[*helmv2.HelmRelease]

// Reconcile makes one attempt, or the next step of it.
func (c *controller) Reconcile(ctx context.Context, req *request) kernel.Outcome {
	mem := memoryOf(req)
	done := mem.take(req)
	t, stopped := c.gather(ctx, req)
	if stopped != nil {
		mem.settled = ""
		return *stopped
	}
	c.watchFor(req, t, mem)
	if done != nil && done.target.key() == t.key() {
		if mem.drift {
			c.m.Wake(groupKind, t.name()) // noticed after the attempt had looked
		}
		return c.conclude(req, mem, done)
	}
	if req.Running == t.key() {
		return kernel.Working(kernel.Job{Key: t.key(), Run: c.attempt(req, t, mem)})
	}
	if rest := c.rest(req, t, mem); rest != nil {
		return *rest
	}
	if stopped := c.checkDependencies(ctx, t); stopped != nil {
		return *stopped
	}
	mem.drift = false
	return kernel.Working(kernel.Job{Key: t.key(), Run: c.attempt(req, t, mem)})
}
