// Package helmrepository is the controller of HelmRepositories: it looks at the index of a Helm repository at an interval
// and offers it as an artifact, in the form that charts are looked up in.
//
// # One attempt
//
// A pass checks the spec and starts one background job (poll.go): make sure that the stored index is there, build the
// connection from spec and Secrets, and ask for the index on the condition that it has changed (fetch.go). An index that
// has is received into a file; if its digest is the one of the stored index, that is all. Otherwise it is converted as a
// stream and stored (store.go). The job returns what it found; the pass that follows turns that into conditions, status
// and events (conclude.go). Deletion is in finalize.go.
//
// # What costs nothing
//
// A look that finds nothing new is one conditional request, also after a restart: what the server gave to tell changes
// by is kept beside the artifacts (memo.go). Credentials are read again only when their Secret has changed, and nothing is
// written. The memory that an index takes does not depend on its size; see the package index.
//
// # Registries
//
// A repository of the type oci is nothing but data for charts: it gets neither finalizer nor status.
package helmrepository

import (
	"context"
	"errors"

	sourcev1 "github.com/gitops-toolkit/flux/api/source/v1"
	"github.com/gitops-toolkit/flux/internal/access"
	"github.com/gitops-toolkit/flux/internal/artifact"
	"github.com/gitops-toolkit/flux/internal/artifact/store"
	"github.com/gitops-toolkit/flux/internal/charts/index"
	"github.com/gitops-toolkit/flux/internal/charts/repo"
	"github.com/gitops-toolkit/flux/internal/kernel"
	"github.com/gitops-toolkit/flux/internal/source/attempt"
	"github.com/gitops-toolkit/flux/internal/source/helmaccess"
)

// Options of the controller. Artifacts, Connections and Indexes are shared by the process, and required.
type Options struct {
	// Artifacts is where indexes are kept and served from.
	Artifacts *store.Store
	// Connections to Helm repositories.
	Connections *repo.Pool
	// Indexes that are known.
	Indexes *index.Known
	// Algorithm of new revisions, SHA-256 if empty.
	Algorithm artifact.Algorithm
	// MaxIndex is the size of an index in bytes, 50 MiB if zero.
	MaxIndex int64
	// MemoDir keeps what tells whether an index has changed, over restarts; without it that is kept in memory only.
	MemoDir string
	// TempDir takes indexes while they are converted; that of the system when empty.
	TempDir string
}

// Register adds the kind to a manager.
func Register(m *kernel.Manager, o Options) error {
	if o.Artifacts == nil || o.Connections == nil || o.Indexes == nil {
		return errors.New("helmrepository: an option is missing")
	}
	algorithm, err := artifact.ParseAlgorithm(string(o.Algorithm))
	if err != nil {
		return err
	}
	o.Algorithm = algorithm
	if o.MaxIndex <= 0 {
		o.MaxIndex = 50 << 20
	}
	return kernel.Register(m, kind(), &controller{Options: o, cluster: m})
}

// kind describes HelmRepositories to the kernel.
func kind() kernel.Kind[*sourcev1.HelmRepository] {
	return kernel.Kind[*sourcev1.HelmRepository]{
		GroupVersionKind: sourcev1.GroupVersion.WithKind(sourcev1.HelmRepositoryKind),
		New:              func() *sourcev1.HelmRepository { return &sourcev1.HelmRepository{} },
		Conditions: []string{
			sourcev1.StorageOperationFailedCondition, sourcev1.FetchFailedCondition, sourcev1.ArtifactOutdatedCondition,
			sourcev1.ArtifactInStorageCondition,
		},
		Inert:            helmaccess.IsRegistry,
		SuspendedMessage: "reconciliation is suspended for this object",
		Attempt:          attempt.Describe[*sourcev1.HelmRepository],
	}
}

// controller reconciles HelmRepositories.
type controller struct {
	Options
	cluster cluster
}

// cluster reads Secrets, and tells their versions without a request; the kernel's Manager does.
type cluster interface {
	access.Secrets
	access.Versions
}

// request is one pass over a HelmRepository.
type request = kernel.Request[*sourcev1.HelmRepository]

// References returns the Secrets that the object names.
func (c *controller) References(obj *sourcev1.HelmRepository) (refs []kernel.Reference) {
	for _, name := range helmaccess.Secrets(obj) {
		refs = append(refs, kernel.Secret(name))
	}
	return refs
}

// Reconcile makes one attempt: it starts the job, or concludes from its result.
func (c *controller) Reconcile(_ context.Context, req *request) kernel.Outcome {
	if f := checkSpec(req.Object); f != nil {
		return f.Outcome(req, failConditions)
	}
	if req.Job != nil && !req.Job.Superseded {
		return conclude(req)
	}
	p := &poll{controller: c, req: req, obj: req.Object}
	made, _ := helmaccess.Versions(c.cluster, req.Object)
	// Other credentials overtake a poll that hangs on the old ones.
	return kernel.Working(kernel.Job{Key: "poll/" + made, Lane: helmaccess.Host(req.Object.Spec.URL), Run: p.run})
}
