package helmchart

import (
	"context"
	"errors"
	"fmt"
	"io"
	"path"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/gitops-toolkit/flux/api/meta"
	sourcev1 "github.com/gitops-toolkit/flux/api/source/v1"
	"github.com/gitops-toolkit/flux/internal/artifact"
	"github.com/gitops-toolkit/flux/internal/artifact/store"
	"github.com/gitops-toolkit/flux/internal/kernel"
)

const (
	// storeKind is the first part of an artifact's path.
	storeKind = "helmchart"
	// latestFile is the name beside the artifacts that leads to the one advertised.
	latestFile = "latest.tar.gz"
)

// poll is one look at the source, with what follows from it. It is a background job.
type poll struct {
	*controller
	req *request
	obj *sourcev1.HelmChart
	src *source
}

// found is what a poll came to; it is filled as far as the poll got.
type found struct {
	// artifact is to be advertised: the one of before, a new one, or none.
	artifact *meta.Artifact
	// url is the stable address of the artifact.
	url string
	// source is the revision of the source that was looked at.
	source string
	// name and version of the chart that is meant, "" if they are not known.
	name, version string
	// outdated says that the chart is another than the artifact of before.
	outdated bool
	// stored says that artifact was made by this poll, packaged that the chart was packed by us, values which files were
	// merged.
	stored, packaged bool
	values           []string
	verified         *verdict
}

// run is the job. The value is always a *found, the error a *failure.
func (p *poll) run(ctx context.Context) (any, error) {
	f := &found{url: p.obj.Status.URL, source: p.src.revision()}
	if fail := p.look(ctx, f); fail != nil {
		if ctx.Err() != nil && errors.Is(context.Cause(ctx), kernel.ErrSuperseded) {
			return f, context.Cause(ctx)
		}
		return f, fail
	}
	return f, nil
}

func (p *poll) look(ctx context.Context, f *found) *failure {
	progress, fail := p.checkStored(ctx, f)
	if fail != nil {
		return fail
	}
	if f.artifact == nil {
		p.req.Progress(kernel.Progress{Message: progress, Ready: progress})
	}
	switch {
	case p.src.isRegistry():
		fail = p.fromRegistry(ctx, f)
	case p.src.repository != nil:
		fail = p.fromRepository(ctx, f)
	default:
		fail = p.fromArtifact(ctx, f)
	}
	if fail != nil {
		return fail
	}
	return p.offer(ctx, f)
}

// checkStored looks whether the artifact that the status advertises is still what it says. It returns what to tell of the
// progress if it is not.
func (p *poll) checkStored(ctx context.Context, f *found) (progress string, fail *failure) {
	if p.obj.Status.Artifact == nil {
		return "building artifact", nil
	}
	ref, err := p.Artifacts.Check(ctx, refOf(p.obj.Status.Artifact))
	var damage *store.IntegrityError
	switch {
	case err == nil:
		f.artifact = p.obj.Status.Artifact.DeepCopy()
		f.artifact.URL = ref.URL
		return "", nil
	case errors.As(err, &damage):
		p.req.Event(kernel.Warning("ArtifactVerificationFailed", fmt.Sprintf("failed to verify integrity of artifact: %s", err), nil))
		return "building artifact: disappeared from storage", nil
	case errors.Is(err, store.ErrMissing), errors.Is(err, store.ErrName):
		return "building artifact: disappeared from storage", nil
	}
	f.artifact = p.obj.Status.Artifact
	return "", storageFailed(sourcev1.StatOperationFailedReason, fmt.Errorf("unable to check the stored artifact: %w", err))
}

// current tells whether the artifact is the chart of this version, made as the spec now says: ArtifactInStorage tells of
// which generation the last success was.
func (p *poll) current(f *found) bool {
	return f.artifact != nil && f.artifact.Revision == f.version && path.Base(f.artifact.Path) == fileOf(f.name, f.version) && p.madeNow()
}

func (p *poll) madeNow() bool {
	c := p.obj.Status.Conditions.Get(sourcev1.ArtifactInStorageCondition)
	return c != nil && c.Status == metav1.ConditionTrue && c.ObservedGeneration == p.obj.Generation
}

// announce notes which chart is meant, and tells that it is on its way, for the case that it takes long.
func (p *poll) announce(f *found, name, version string) {
	f.name, f.version = name, version
	f.outdated = p.obj.Status.Artifact == nil || p.obj.Status.Artifact.Revision != version || path.Base(p.obj.Status.Artifact.Path) != fileOf(name, version)
	if !f.outdated {
		return
	}
	message := building(f)
	p.req.Progress(kernel.Progress{Message: message, Ready: message, Conditions: outdatedConditions(f)})
}

func fileOf(name, version string) string { return name + "-" + version + ".tgz" }

// keep stores the chart.
func (p *poll) keep(ctx context.Context, f *found, data []byte) *failure {
	name := store.Name{Kind: storeKind, Namespace: p.obj.Namespace, Name: p.obj.Name, File: fileOf(f.name, f.version)}
	ref, err := p.Artifacts.Put(ctx, name, f.version, nil, func(w io.Writer) error {
		_, err := w.Write(data)
		return err
	})
	switch {
	case errors.Is(err, store.ErrDirectory):
		return storageFailed(sourcev1.DirectoryCreationFailedReason, err)
	case err != nil:
		return storageFailed(sourcev1.ArchiveOperationFailedReason, fmt.Errorf("unable to copy Helm chart to storage: %w; check the free space and the permissions of the controller's storage", err))
	}
	f.artifact, f.stored = artifactOf(ref), true
	return nil
}

// offer makes the stable address lead to the artifact and removes artifacts that were superseded. Only the first can fail
// the poll.
func (p *poll) offer(ctx context.Context, f *found) *failure {
	url, err := p.Artifacts.Link(refOf(f.artifact), latestFile)
	if err != nil {
		return storageFailed(sourcev1.SymlinkUpdateFailedReason, fmt.Errorf("failed to update status URL symlink: %w", err))
	}
	f.url = url
	removed, err := p.Artifacts.Collect(ctx, refOf(f.artifact))
	if err != nil {
		p.req.Event(kernel.Warning(sourcev1.GarbageCollectionFailedReason, fmt.Sprintf("garbage collection failed: %s", err), nil))
	}
	if n := len(removed); n > 0 {
		p.req.Event(kernel.Trace("GarbageCollectionSucceeded", fmt.Sprintf("garbage collected %d artifacts", n), nil))
	}
	return nil
}

// refOf and artifactOf translate between the status and the store.
func refOf(a *meta.Artifact) artifact.Ref {
	ref := artifact.Ref{
		Path: a.Path, URL: a.URL, Revision: a.Revision, Digest: artifact.Digest(a.Digest),
		LastUpdateTime: a.LastUpdateTime.Time.Time, Metadata: a.Metadata,
	}
	if a.Size != nil {
		ref.Size = *a.Size
	}
	return ref
}

func artifactOf(ref artifact.Ref) *meta.Artifact {
	return &meta.Artifact{
		Path: ref.Path, URL: ref.URL, Revision: ref.Revision, Digest: string(ref.Digest),
		LastUpdateTime: meta.NewTime(ref.LastUpdateTime), Size: &ref.Size, Metadata: ref.Metadata,
	}
}
