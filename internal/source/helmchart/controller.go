// Package helmchart is the controller of HelmCharts: it takes a chart from a Helm repository, a registry, or the artifact
// of a GitRepository or Bucket, and offers it as an artifact, packed anew where the object asks for other values or the
// chart is a directory.
//
// # One attempt
//
// A pass reads the source from the cache and starts one background job (poll.go): make sure that the stored chart is
// there, find out which version is meant, and, only if that is not what the artifact is, fetch or build it. Charts of
// repositories are in remote.go, those of registries in oci.go, those of other artifacts in local.go with their
// dependencies in depend.go. The job returns what it found; the pass that follows turns that into conditions, status and
// events (conclude.go). A source that changes meanwhile starts the job anew. Deletion is in finalize.go.
//
// # What costs nothing
//
// Versions are looked up in the stored index of the repository, where only the entries of the chart are read. A chart
// whose version is what the artifact has is not fetched; an exact version in a registry is not looked up again. A source
// artifact that the chart was made of is not unpacked again.
package helmchart

import (
	"context"
	"errors"
	"fmt"

	"sigs.k8s.io/controller-runtime/pkg/client"

	sourcev1 "github.com/gitops-toolkit/flux/api/source/v1"
	"github.com/gitops-toolkit/flux/internal/access"
	"github.com/gitops-toolkit/flux/internal/artifact/cache"
	"github.com/gitops-toolkit/flux/internal/artifact/store"
	"github.com/gitops-toolkit/flux/internal/charts/chart"
	"github.com/gitops-toolkit/flux/internal/charts/index"
	"github.com/gitops-toolkit/flux/internal/charts/repo"
	"github.com/gitops-toolkit/flux/internal/kernel"
	"github.com/gitops-toolkit/flux/internal/registry"
	"github.com/gitops-toolkit/flux/internal/source/attempt"
	"github.com/gitops-toolkit/flux/internal/source/helmaccess"
	"github.com/gitops-toolkit/flux/internal/source/trust"
	"github.com/gitops-toolkit/flux/internal/verify"
)

// Options of the controller. All but Limits, MaxIndex, Public and TempDir are required; most are shared by the process.
type Options struct {
	// Artifacts is where charts are kept and served from.
	Artifacts *store.Store
	// Fetcher gets artifacts of sources, those in Artifacts first; Unpacked keeps them unpacked.
	Fetcher  cache.Fetcher
	Unpacked *cache.Cache
	// Connections to Helm repositories, and Registries to registries.
	Connections *repo.Pool
	Registries  *registry.Pool
	// Cloud gets logins at registries of cloud providers.
	Cloud helmaccess.CloudLogin
	// Indexes that are known.
	Indexes *index.Known
	// Public is the trusted root of signatures without keys; one is made when nil.
	Public *verify.PublicRoot
	// Limits of a chart.
	Limits chart.Limits
	// MaxIndex is the size of an index that is fetched for a dependency, 50 MiB if zero.
	MaxIndex int64
	// TempDir takes indexes of dependencies while they are converted; that of the system when empty.
	TempDir string
}

// Register adds the kind to a manager.
func Register(m *kernel.Manager, o Options) error {
	if o.Artifacts == nil || o.Fetcher == nil || o.Unpacked == nil || o.Connections == nil || o.Registries == nil || o.Cloud == nil || o.Indexes == nil {
		return errors.New("helmchart: an option is missing")
	}
	if o.Public == nil {
		o.Public = verify.NewPublicRoot()
	}
	if o.MaxIndex <= 0 {
		o.MaxIndex = 50 << 20
	}
	o.Limits = o.Limits.WithDefaults()
	return kernel.Register(m, kind(), &controller{Options: o, cluster: m, objects: m.Client()})
}

// kind describes HelmCharts to the kernel.
func kind() kernel.Kind[*sourcev1.HelmChart] {
	gv := sourcev1.GroupVersion
	return kernel.Kind[*sourcev1.HelmChart]{
		GroupVersionKind: gv.WithKind(sourcev1.HelmChartKind),
		New:              func() *sourcev1.HelmChart { return &sourcev1.HelmChart{} },
		Conditions: []string{
			sourcev1.StorageOperationFailedCondition, sourcev1.FetchFailedCondition, sourcev1.BuildFailedCondition,
			sourcev1.ArtifactOutdatedCondition, sourcev1.ArtifactInStorageCondition, sourcev1.SourceVerifiedCondition,
		},
		Referents: []kernel.Referent{
			kernel.Refer(gv.WithKind(sourcev1.HelmRepositoryKind), func() *sourcev1.HelmRepository { return &sourcev1.HelmRepository{} }, nil, nil),
			kernel.Refer(gv.WithKind(sourcev1.GitRepositoryKind), func() *sourcev1.GitRepository { return &sourcev1.GitRepository{} }, nil, nil),
			kernel.Refer(gv.WithKind(sourcev1.BucketKind), func() *sourcev1.Bucket { return &sourcev1.Bucket{} }, nil, nil),
		},
		SuspendedMessage: "reconciliation is suspended for this object",
		Attempt:          attempt.Describe[*sourcev1.HelmChart],
	}
}

// controller reconciles HelmCharts.
type controller struct {
	Options
	cluster cluster
	// objects reads from the kernel's cache.
	objects client.Reader
}

// cluster reads Secrets, and tells their versions without a request; the kernel's Manager does.
type cluster interface {
	access.Secrets
	access.Versions
}

// request is one pass over a HelmChart.
type request = kernel.Request[*sourcev1.HelmChart]

// References returns the source, and the Secrets with what signatures are verified by.
func (c *controller) References(obj *sourcev1.HelmChart) []kernel.Reference {
	ref := obj.Spec.SourceRef
	wake := kernel.OnRevision
	if ref.Kind == sourcev1.HelmRepositoryKind {
		wake |= kernel.OnSpec // a registry has no revision
	}
	refs := []kernel.Reference{{Group: sourcev1.GroupVersion.Group, Kind: ref.Kind, Name: ref.Name, Wake: wake}}
	for _, name := range trust.OfChart(obj.Spec.Verify).Secrets() {
		refs = append(refs, kernel.Secret(name))
	}
	return refs
}

// Reconcile makes one attempt: it starts the job, or concludes from its result.
func (c *controller) Reconcile(ctx context.Context, req *request) kernel.Outcome {
	src, fail := c.source(ctx, req.Object)
	if fail == nil {
		fail = checkSpec(req.Object, src)
	}
	if fail != nil {
		return fail.Outcome(req, failConditions)
	}
	p := &poll{controller: c, req: req, obj: req.Object, src: src}
	key := fmt.Sprintf("poll/%s/%s", src.state, p.trustVersion())
	if req.Job != nil && !req.Job.Superseded && req.Job.Key == key {
		return conclude(req)
	}
	return kernel.Working(kernel.Job{Key: key, Lane: src.lane(), Run: p.run})
}
