// Package artifactgenerator is the controller of ArtifactGenerators: it composes artifacts from those of other sources,
// or splits one source into several, and publishes each as an ExternalArtifact.
//
// # One attempt
//
// A pass checks the spec (validate.go), reads the sources from the cache (sources.go) and starts one background job
// (job.go). The job looks whether anything has drifted; if so it unpacks the sources, expands the path pattern
// (expand.go), lays out the files of each artifact (compose.go, glob.go, merge.go, extract.go) and publishes what has
// changed (publish.go). The pass that follows turns the result into conditions and events (conclude.go).
//
// # What costs nothing
//
// Files are not copied: an artifact is a list of files of the unpacked sources, whose digests are known. A digest over
// the list names the file in the store, so a part that a change does not touch is neither read nor packed, keeps its
// revision, and wakes nobody.
package artifactgenerator

import (
	"context"
	"errors"
	"fmt"
	"time"

	"sigs.k8s.io/controller-runtime/pkg/client"

	extensionsv1 "github.com/gitops-toolkit/flux/api/extensions/v1beta1"
	sourcev1 "github.com/gitops-toolkit/flux/api/source/v1"
	"github.com/gitops-toolkit/flux/internal/artifact/archive"
	"github.com/gitops-toolkit/flux/internal/artifact/cache"
	"github.com/gitops-toolkit/flux/internal/artifact/store"
	"github.com/gitops-toolkit/flux/internal/kernel"
)

// Options of the controller. All but Timeout and TempDir are required.
type Options struct {
	// Artifacts is where the archives of the generated artifacts are kept and served from.
	Artifacts *store.Store
	// Archives writes them.
	Archives *archive.Builder
	// Unpacked holds the artifacts of the sources.
	Unpacked *cache.Cache
	// Timeout limits one attempt (--reconciliation-timeout); 10 minutes if zero.
	Timeout time.Duration
	// TempDir takes what is extracted; that of the system when empty.
	TempDir string
}

// Register adds the kind to a manager.
func Register(m *kernel.Manager, o Options) error {
	if o.Artifacts == nil || o.Archives == nil || o.Unpacked == nil {
		return errors.New("artifactgenerator: an option is missing")
	}
	if o.Timeout <= 0 {
		o.Timeout = 10 * time.Minute
	}
	return kernel.Register(m, kind(), &controller{Options: o, m: m})
}

// inProgress is what an attempt says of itself.
const inProgress = "reconciliation in progress"

// kind describes ArtifactGenerators to the kernel.
func kind() kernel.Kind[*extensionsv1.ArtifactGenerator] {
	return kernel.Kind[*extensionsv1.ArtifactGenerator]{
		GroupVersionKind: extensionsv1.GroupVersion.WithKind(extensionsv1.ArtifactGeneratorKind),
		New:              func() *extensionsv1.ArtifactGenerator { return &extensionsv1.ArtifactGenerator{} },
		Finalizer:        extensionsv1.Finalizer,
		Referents:        referents(),
		Annotations:      []string{extensionsv1.ReconcileAnnotation},
		SuspendedMessage: "Reconciliation is disabled",
		Attempt:          func(*extensionsv1.ArtifactGenerator) string { return inProgress },
	}
}

func referents() []kernel.Referent {
	gv := sourcev1.GroupVersion
	return []kernel.Referent{
		kernel.Refer(gv.WithKind(sourcev1.GitRepositoryKind), func() *sourcev1.GitRepository { return &sourcev1.GitRepository{} }, nil, nil),
		kernel.Refer(gv.WithKind(sourcev1.OCIRepositoryKind), func() *sourcev1.OCIRepository { return &sourcev1.OCIRepository{} }, nil, nil),
		kernel.Refer(gv.WithKind(sourcev1.BucketKind), func() *sourcev1.Bucket { return &sourcev1.Bucket{} }, nil, nil),
		kernel.Refer(gv.WithKind(sourcev1.HelmChartKind), func() *sourcev1.HelmChart { return &sourcev1.HelmChart{} }, nil, nil),
		kernel.Refer(gv.WithKind(sourcev1.ExternalArtifactKind), func() *sourcev1.ExternalArtifact { return &sourcev1.ExternalArtifact{} }, nil, nil),
	}
}

// controller reconciles ArtifactGenerators.
type controller struct {
	Options
	m *kernel.Manager
}

// request is one pass over an ArtifactGenerator.
type request = kernel.Request[*extensionsv1.ArtifactGenerator]

// References returns the sources.
func (c *controller) References(obj *extensionsv1.ArtifactGenerator) (refs []kernel.Reference) {
	for _, s := range obj.Spec.Sources {
		refs = append(refs, referenceOf(obj, s))
	}
	return refs
}

func referenceOf(obj *extensionsv1.ArtifactGenerator, s extensionsv1.SourceReference) kernel.Reference {
	ref := kernel.Reference{Group: sourcev1.GroupVersion.Group, Kind: s.Kind, Namespace: s.Namespace, Name: s.Name, Wake: kernel.OnRevision}
	if ref.Namespace == "" {
		ref.Namespace = obj.Namespace
	}
	return ref
}

// Reconcile makes one attempt: it starts the job, or concludes from its result.
func (c *controller) Reconcile(ctx context.Context, req *request) kernel.Outcome {
	if f := c.check(req.Object); f != nil {
		return f.outcome()
	}
	sources, f := c.sources(ctx, req.Object)
	if f != nil {
		return f.outcome()
	}
	observed := digestOf(sources)
	key := "generate/" + observed
	if req.Job != nil && !req.Job.Superseded && req.Job.Key == key {
		return conclude(req, observed)
	}
	j := &job{controller: c, req: req, obj: req.Object, sources: sources, observed: observed}
	return kernel.Working(kernel.Job{Key: key, Run: j.run, Timeout: c.Timeout})
}

// reader reads sources: from the cache, or from the API server with the gate DirectSourceFetch.
func (c *controller) reader() client.Reader {
	if c.m.Gate(kernel.GateDirectSourceFetch) {
		return c.m.Live()
	}
	return c.m.Client()
}

// Finalize removes what was generated, from the cluster and from the store. What cannot be removed is logged; the object
// goes all the same.
func (c *controller) Finalize(ctx context.Context, req *request) kernel.Outcome {
	for _, entry := range req.Object.Status.Inventory {
		if err := c.drop(ctx, req.Object, entry.Namespace, entry.Name); err != nil {
			req.Log.Error(err, "a generated artifact could not be removed", "artifact", fmt.Sprintf("%s/%s", entry.Namespace, entry.Name))
		}
	}
	return kernel.Done("", "")
}
