// Package kustomize is the controller of Kustomizations: it takes the artifact of a source, builds a directory of it,
// applies the objects and keeps them applied.
//
// # One attempt
//
// A pass gathers what decides (gather.go): expressions, source, artifact, dependencies. From that snapshot and from
// what runs or has ended, decide (decide.go) chooses the next step, a pure function. Work happens in background jobs,
// one after the other: the first fetches, builds, applies and prunes (work.go with fetch.go, build.go, apply.go and
// prune.go); where other Kustomizations may want what is to be pruned, two more wait for them and prune
// (handover.go); the last waits for health (health.go). The verdict becomes status and events in
// status.go and events.go; deletion is in finalize.go.
//
// A newer desire cancels the job that runs: kernel.Job keys name the artifact and the versions of the variables'
// sources. The apply then ends after the current object. A wait for health goes on when the newer artifact builds to
// the same objects, and keeps its deadline.
//
// # What costs nothing
//
// The tracker follows the metadata of all applied objects (tracking.go). At the interval, objects in step cost no
// request, build or write; a drift wakes its Kustomization at once. Two digests in the status let a restarted process
// resume without looking at anything.
//
// A build records what it read; a new artifact that would answer everything alike is not built. Built objects without
// Secrets are kept on disk, so that the pass at the interval neither fetches nor builds. An artifact that changes no
// object costs no request but the status patch and the event.
package kustomize

import (
	"context"
	"fmt"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime/schema"

	kustomizev1 "github.com/gitops-toolkit/flux/api/kustomize/v1"
	"github.com/gitops-toolkit/flux/api/meta"
	sourcev1 "github.com/gitops-toolkit/flux/api/source/v1"
	"github.com/gitops-toolkit/flux/internal/apply"
	"github.com/gitops-toolkit/flux/internal/apply/health"
	"github.com/gitops-toolkit/flux/internal/apply/tracker"
	"github.com/gitops-toolkit/flux/internal/artifact"
	"github.com/gitops-toolkit/flux/internal/auth/cloud"
	"github.com/gitops-toolkit/flux/internal/auth/kubeconfig"
	"github.com/gitops-toolkit/flux/internal/kernel"
	"github.com/gitops-toolkit/flux/internal/kustomize/build"
	"github.com/gitops-toolkit/flux/internal/kustomize/remote"
)

// Feature gates that only this controller has.
const (
	GateDisableFailFast   = "DisableFailFastBehavior"
	GateGroupChangeLog    = "GroupChangeLog"
	GateMigrateAPIVersion = "MigrateAPIVersion"
)

// Tree is an unpacked artifact.
type Tree interface {
	// Dir is its root, absolute, read-only.
	Dir() string
	// Release allows it to be deleted.
	Release()
}

// Artifacts fetches and unpacks an artifact, or takes it from a cache. An artifact that its server does not have is
// an error that wraps fetch.ErrNotFound.
type Artifacts func(ctx context.Context, ref artifact.Ref) (Tree, error)

// Options configure the controller.
type Options struct {
	// Artifacts is shared by the process.
	Artifacts Artifacts
	// Clients are shared by the process.
	Clients *apply.ClientPool
	// Health watches the controller's own cluster for health checks; nil means polling.
	Health *health.Hub
	// BuildDir is where built objects are kept, and BuildBytes how many bytes of them at most (0 means 256 MiB). An
	// empty BuildDir keeps none.
	BuildDir   string
	BuildBytes int64
	// BuildLimits bound each build.
	BuildLimits build.Limits
	// Remotes fetches remote bases, nil refuses them (--no-remote-bases).
	Remotes *remote.Fetcher
	// OverrideManagers are field managers that are taken over (--override-manager).
	OverrideManagers []string
	// ConcurrentSSA dry-runs at a time for each Kustomization (--concurrent-ssa).
	ConcurrentSSA int
	// StageKinds are applied before the rest (--custom-apply-stage-kinds).
	StageKinds []schema.GroupKind
	// CorrectAtInterval leaves drift until the interval (--drift-correction=interval).
	CorrectAtInterval bool
	// FullPassInterval is how often every object is looked at, drifted or not; 0 means 24 h (--full-pass-interval).
	FullPassInterval time.Duration
	// Clouds prove the identity of ServiceAccounts and of the controller, to key services and to clusters.
	Clouds *cloud.Clouds
	// Decryption is what the operator gives to all that decrypt.
	Decryption DecryptionDefaults
	// KubeConfigAccount is whose identity spec.kubeConfig.configMapRef uses where the ConfigMap names none
	// (--default-kubeconfig-service-account).
	KubeConfigAccount string
	// KubeConfig is what kubeconfigs in Secrets may contain.
	KubeConfig kubeconfig.Policy
}

// Register adds the kind to a manager.
func Register(m *kernel.Manager, o Options) error {
	builds, err := openBuilds(o.BuildDir, o.BuildBytes)
	if err != nil {
		return fmt.Errorf("open the directory of built objects: %w", err)
	}
	shard, err := labels.Parse(m.Settings().WatchLabelSelector)
	if err != nil {
		return fmt.Errorf("--watch-label-selector: %w", err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	m.AddCleanup(func() error {
		cancel()
		return nil
	})
	c := &controller{Options: o, m: m, builds: builds, desires: newDesires(), foreign: newForeignWatches(), shard: shard, ctx: ctx}
	return kernel.Register(m, kind(m.Gate(kernel.GateExternalArtifact)), c)
}

// kind describes Kustomizations to the kernel.
func kind(externalArtifacts bool) kernel.Kind[*kustomizev1.Kustomization] {
	return kernel.Kind[*kustomizev1.Kustomization]{
		GroupVersionKind: kustomizev1.GroupVersion.WithKind(kustomizev1.KustomizationKind),
		New:              func() *kustomizev1.Kustomization { return &kustomizev1.Kustomization{} },
		Conditions:       []string{meta.HealthyCondition, FieldsIgnoredCondition, RolledBackCondition, SharedCondition},
		Annotations:      []string{onErrorAnnotation, pruneBudgetAnnotation, driftCorrectionAnnotation, rollbackAnnotation},
		Publish: func(k *kustomizev1.Kustomization) kernel.Published {
			return kernel.Published{Revision: k.Status.LastAppliedRevision}
		},
		Referents:        referents(externalArtifacts),
		SuspendedMessage: "Reconciliation is suspended for this object",
	}
}

func referents(externalArtifacts bool) []kernel.Referent {
	gv := sourcev1.GroupVersion
	kinds := []kernel.Referent{
		kernel.Refer(gv.WithKind(sourcev1.GitRepositoryKind), func() *sourcev1.GitRepository { return &sourcev1.GitRepository{} }, nil, nil),
		kernel.Refer(gv.WithKind(sourcev1.OCIRepositoryKind), func() *sourcev1.OCIRepository { return &sourcev1.OCIRepository{} }, nil, nil),
		kernel.Refer(gv.WithKind(sourcev1.BucketKind), func() *sourcev1.Bucket { return &sourcev1.Bucket{} }, nil, nil),
	}
	if externalArtifacts {
		kinds = append(kinds, kernel.Refer(gv.WithKind(sourcev1.ExternalArtifactKind), func() *sourcev1.ExternalArtifact { return &sourcev1.ExternalArtifact{} }, nil, nil))
	}
	return kinds
}

// controller reconciles Kustomizations.
type controller struct {
	Options
	m      *kernel.Manager
	builds *builds
	// desires is what all Kustomizations of the process want, shard those that it reconciles.
	desires *desires
	shard   labels.Selector
	// tracker finds drift in the controller's own cluster; it lives as long as ctx. It is nil before startTracker.
	ctx         context.Context
	trackerOnce sync.Once
	tracker     *tracker.Tracker
	vigil       *health.Vigil // health after success, beside the tracker
	notices     tracker.Notices
	foreign     *foreignWatches
}

// groupKind is that of Kustomizations.
var groupKind = kustomizev1.GroupVersion.WithKind(kustomizev1.KustomizationKind).GroupKind()

// request is one pass over a Kustomization.
type request = kernel.Request[*kustomizev1.Kustomization]

// Reconcile makes one attempt, or the next step of it.
func (c *controller) Reconcile(ctx context.Context, req *request) kernel.Outcome {
	t, stop := c.gather(ctx, req)
	if stop != nil {
		return *stop
	}
	mem := memoryOf(req)
	c.track(req, t, mem)
	drift, fights := c.notices.Take(tracker.Key(t.name()))
	mem.drift = mem.drift || drift
	tellFights(req, t, fights)
	if resumed := c.resume(req, t, mem); resumed != nil {
		return *resumed
	}
	done := mem.take(req, t)
	if done != nil && done.key == t.applyKey() {
		tellCut(req, t, mem, done.applied)
	}
	c.judgeByVigil(req, t, mem, done)
	now := situationOf(req, t, mem, done, c.m.Gate(kernel.GatePeriodicEvents))
	opinion := c.opinion(req, t, now)
	now.ill = opinion.Err != nil
	now.rolledBack = c.standsRolledBack(req, t, mem)
	now.atHand = mem.good != nil
	if now.ended == now.healthKey && now.ended != "" {
		now.rollBack = c.mayRollBack(t, mem, done)
	}
	switch decide(now) {
	case stepRest:
		return kernel.Unchanged()
	case stepIll:
		return c.conclude(req, t, mem, c.fallenIll(t, mem, opinion))
	case stepInStep:
		return c.concludeInStep(req, t)
	case stepRun:
		return kernel.Working(kernel.Job{Key: req.Running, Run: c.work(req, t, mem, lookChanged)})
	case stepApply:
		mem.rollback = nil
		if stop := c.checkDependencies(ctx, req, t); stop != nil {
			c.desires.block(t)
			return *stop
		}
		return kernel.Working(kernel.Job{Key: t.applyKey(), Run: c.work(req, t, mem, mem.begin(req, t))})
	case stepHandOver:
		return kernel.Working(c.handOverJob(req, t, mem, done.applied))
	case stepPrune:
		return kernel.Working(c.pruneJob(req, t, mem, done.applied))
	case stepRollBack:
		return kernel.Working(c.rollbackJob(req, t, mem))
	case stepHealth:
		return kernel.Working(c.healthJob(req, t, mem, done.applied))
	default:
		return c.conclude(req, t, mem, done).WithEvents(c.judgeShared(ctx, req, t, appliedOf(done))...)
	}
}

// appliedOf is what an attempt did, never nil.
func appliedOf(d *done) *applied {
	if d == nil || d.applied == nil {
		return &applied{}
	}
	return d.applied
}
