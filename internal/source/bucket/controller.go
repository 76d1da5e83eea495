// Package bucket is the controller of Buckets: it looks at a bucket at an interval and offers the objects in it as an
// artifact of ours.
//
// # One attempt
//
// A pass checks the spec and starts one background job (poll.go): make sure that the stored artifact is there, connect
// to the storage (remote.go; s3.go, azure.go and gcp.go), list the objects, and, only if the listing means another
// revision than the artifact, fetch what is new and store it (store.go). The job returns what it found; the pass that
// follows turns that into conditions, status and events (conclude.go). Deletion is in finalize.go.
//
// # The revision
//
// It is a digest over sorted lines of key and etag of the objects that are not left out (index.go). An object that
// changes between listing and fetching counts with the etag that it was fetched with, one that vanishes not at all.
//
// # What costs nothing
//
// A look that finds nothing new is one listing. What was fetched is kept beside the store (mirror.go), by content: after
// a change only objects with a new etag are fetched, and the members of the archive that hold others are spliced.
package bucket

import (
	"context"
	"errors"
	"net/http"

	sourcev1 "github.com/gitops-toolkit/flux/api/source/v1"
	"github.com/gitops-toolkit/flux/internal/access"
	"github.com/gitops-toolkit/flux/internal/artifact"
	"github.com/gitops-toolkit/flux/internal/artifact/archive"
	"github.com/gitops-toolkit/flux/internal/artifact/store"
	"github.com/gitops-toolkit/flux/internal/auth/cloud"
	"github.com/gitops-toolkit/flux/internal/kernel"
	"github.com/gitops-toolkit/flux/internal/source/attempt"
)

// Options of the controller. Artifacts, Archives, Clouds and Mirrors are required.
type Options struct {
	// Artifacts is where archives are kept and served from.
	Artifacts *store.Store
	// Archives writes them.
	Archives *archive.Builder
	// Algorithm of the digests of revisions; that of the artifacts. SHA-256 if empty.
	Algorithm artifact.Algorithm
	// Clouds gets identities of cloud providers.
	Clouds *cloud.Clouds
	// Mirrors is the directory where fetched objects are kept.
	Mirrors string
	// Transport replaces the network in tests.
	Transport http.RoundTripper
}

// Register adds the kind to a manager.
func Register(m *kernel.Manager, o Options) error {
	if o.Artifacts == nil || o.Archives == nil || o.Clouds == nil || o.Mirrors == "" {
		return errors.New("bucket: an option is missing")
	}
	return kernel.Register(m, kind(), &controller{Options: o, cluster: m, fallback: m.Settings().DefaultServiceAccount})
}

// kind describes Buckets to the kernel.
func kind() kernel.Kind[*sourcev1.Bucket] {
	return kernel.Kind[*sourcev1.Bucket]{
		GroupVersionKind: sourcev1.GroupVersion.WithKind(sourcev1.BucketKind),
		New:              func() *sourcev1.Bucket { return &sourcev1.Bucket{} },
		Conditions: []string{
			sourcev1.StorageOperationFailedCondition, sourcev1.FetchFailedCondition, sourcev1.ArtifactOutdatedCondition,
			sourcev1.ArtifactInStorageCondition,
		},
		SuspendedMessage: "reconciliation is suspended for this object",
		Attempt:          attempt.Describe[*sourcev1.Bucket],
	}
}

// controller reconciles Buckets.
type controller struct {
	Options
	cluster cluster
	// fallback is --default-service-account.
	fallback string
}

// cluster reads what holds credentials, and tells versions without a request; the kernel's Manager does.
type cluster interface {
	access.Secrets
	access.Versions
	access.Accounts
}

// request is one pass over a Bucket.
type request = kernel.Request[*sourcev1.Bucket]

// References returns the Secrets that the object names.
func (c *controller) References(obj *sourcev1.Bucket) (refs []kernel.Reference) {
	for _, name := range secretRefs(obj) {
		refs = append(refs, kernel.Secret(name))
	}
	return refs
}

// Reconcile makes one attempt: it starts the job, or concludes from its result.
func (c *controller) Reconcile(_ context.Context, req *request) kernel.Outcome {
	if f := checkSpec(req.Object); f != nil {
		return f.Outcome(req, failConditions)
	}
	if err := c.cluster.CheckCloudAccount(req.Object.Spec.ServiceAccountName, "spec.serviceAccountName", "provider"); err != nil {
		return attempt.GateDisabled(err).Outcome(req, failConditions)
	}
	if req.Job != nil && !req.Job.Superseded {
		return conclude(req)
	}
	p := c.newPoll(req)
	return kernel.Working(kernel.Job{Key: p.key(), Lane: p.lane(), Run: p.run})
}
