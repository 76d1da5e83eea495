// Package ocirepository is the controller of OCIRepositories: it looks at a repository of an OCI registry at an
// interval and offers one layer of an artifact in it, unpacked or as it is, as an artifact of ours.
//
// # One attempt
//
// A pass checks the spec and starts one background job (poll.go): make sure that the stored artifact is there, build
// the repository from spec and Secrets (remote.go), find out what the reference means, and, only if that is not what
// the artifact was made of, read the manifest, fetch the layer and store it (store.go). The digest that was found is
// used for all that follows; a tag that moves meanwhile changes nothing. The job returns what it found; the pass that
// follows turns that into conditions, status and events (conclude.go). Deletion is in finalize.go.
//
// # What costs nothing
//
// A look that finds nothing new is one HEAD request: what the registry said about authentication is kept with the
// object, credentials are read again only when their Secret has changed, and nothing is written. A reference by digest
// is not looked up at all once its artifact is stored. A ServiceAccount is read at each look, as it is not followed.
//
// # Signatures
//
// With spec.verify a revision is fetched only after its signature was found good (verify.go). That is remembered in the
// condition SourceVerified, and asked again when the revision, the spec or a Secret with keys changes. A signature that
// is not good leaves the artifact of before where it is.
//
// # Clouds
//
// With spec.provider and no pull secret the login is that of an identity at the cloud, the ServiceAccount's or
// the controller's own, and renewed in time.
package ocirepository

import (
	"context"
	"errors"

	sourcev1 "github.com/gitops-toolkit/flux/api/source/v1"
	"github.com/gitops-toolkit/flux/internal/access"
	"github.com/gitops-toolkit/flux/internal/artifact/archive"
	"github.com/gitops-toolkit/flux/internal/artifact/store"
	"github.com/gitops-toolkit/flux/internal/auth/cloud"
	"github.com/gitops-toolkit/flux/internal/kernel"
	"github.com/gitops-toolkit/flux/internal/registry"
	"github.com/gitops-toolkit/flux/internal/source/attempt"
	"github.com/gitops-toolkit/flux/internal/verify"
)

// Options of the controller. Artifacts, Archives and Registries are shared by the process, and required.
type Options struct {
	// Artifacts is where archives are kept and served from.
	Artifacts *store.Store
	// Archives writes them.
	Archives *archive.Builder
	// Registries keeps the connections.
	Registries *registry.Pool
	// Clouds gets identities of cloud providers; a cache of the controller's own when nil.
	Clouds *cloud.Clouds
	// Public is the trusted root of signatures without keys; one is made when nil.
	Public *verify.PublicRoot
	// TempDir takes layers while they are unpacked and archived again; that of the system when empty.
	TempDir string
}

// Register adds the kind to a manager.
func Register(m *kernel.Manager, o Options) error {
	if o.Artifacts == nil || o.Archives == nil || o.Registries == nil {
		return errors.New("ocirepository: an option is missing")
	}
	if o.Public == nil {
		o.Public = verify.NewPublicRoot()
	}
	if o.Clouds == nil {
		o.Clouds = cloud.New(cloud.Options{Mint: m.RequestToken})
	}
	return kernel.Register(m, kind(), &controller{Options: o, registries: access.Registries{
		Cluster: m, Pool: o.Registries, Clouds: o.Clouds, DefaultAccount: m.Settings().DefaultServiceAccount,
	}})
}

// kind describes OCIRepositories to the kernel.
func kind() kernel.Kind[*sourcev1.OCIRepository] {
	return kernel.Kind[*sourcev1.OCIRepository]{
		GroupVersionKind: sourcev1.GroupVersion.WithKind(sourcev1.OCIRepositoryKind),
		New:              func() *sourcev1.OCIRepository { return &sourcev1.OCIRepository{} },
		Conditions: []string{
			sourcev1.StorageOperationFailedCondition, sourcev1.FetchFailedCondition, sourcev1.ArtifactOutdatedCondition,
			sourcev1.ArtifactInStorageCondition, sourcev1.SourceVerifiedCondition,
		},
		SuspendedMessage: "reconciliation is suspended for this object",
		Attempt:          attempt.Describe[*sourcev1.OCIRepository],
	}
}

// controller reconciles OCIRepositories.
type controller struct {
	Options
	registries access.Registries
}

// request is one pass over an OCIRepository.
type request = kernel.Request[*sourcev1.OCIRepository]

// References returns the Secrets that the object names.
func (c *controller) References(obj *sourcev1.OCIRepository) (refs []kernel.Reference) {
	for _, ref := range append(wayTo(obj).Secrets(), trusted(obj).Secrets()...) {
		refs = append(refs, kernel.Secret(ref))
	}
	return refs
}

// Reconcile makes one attempt: it starts the job, or concludes from its result.
func (c *controller) Reconcile(_ context.Context, req *request) kernel.Outcome {
	if f := checkSpec(req.Object); f != nil {
		return f.Outcome(req, failConditions)
	}
	if cloudProvider(req.Object) != "" {
		if err := c.registries.Cluster.CheckCloudAccount(req.Object.Spec.ServiceAccountName, "spec.serviceAccountName", "provider"); err != nil {
			return attempt.GateDisabled(err).Outcome(req, failConditions)
		}
	}
	if req.Job != nil && !req.Job.Superseded {
		return conclude(req)
	}
	p := c.newPoll(req)
	return kernel.Working(kernel.Job{Key: p.key(), Lane: p.lane(), Run: p.run})
}
