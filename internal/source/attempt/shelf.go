package attempt

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/go-logr/logr"

	"github.com/gitops-toolkit/flux/api/meta"
	sourcev1 "github.com/gitops-toolkit/flux/api/source/v1"
	"github.com/gitops-toolkit/flux/internal/artifact"
	"github.com/gitops-toolkit/flux/internal/artifact/archive"
	"github.com/gitops-toolkit/flux/internal/artifact/store"
	"github.com/gitops-toolkit/flux/internal/kernel"
)

// Shelf is where the artifacts of one object stand.
type Shelf struct {
	Store *store.Store
	// Kind in lower case, Namespace and Name are the directory.
	Kind, Namespace, Name string
	// Link is the name beside the artifacts that leads to the one advertised; "" for none.
	Link string
}

// Check looks whether the artifact that the status advertises is still what it says, and puts it into f if it is.
func (s Shelf) Check(ctx context.Context, req Request, advertised *meta.Artifact, f *Found) *Failure {
	missing := func(progress string) *Failure {
		req.Progress(kernel.Progress{Message: progress, Ready: progress})
		return nil
	}
	if advertised == nil {
		return missing(building)
	}
	ref, err := s.Store.Check(ctx, artifact.RefOf(advertised))
	var damage *store.IntegrityError
	switch {
	case err == nil:
		f.Artifact = advertised.DeepCopy()
		f.Artifact.URL = ref.URL
		return nil
	case errors.As(err, &damage):
		req.Event(kernel.Warning("ArtifactVerificationFailed", fmt.Sprintf("failed to verify integrity of artifact: %s", err), nil))
		return missing(disappeared)
	case errors.Is(err, store.ErrMissing), errors.Is(err, store.ErrName):
		return missing(disappeared)
	}
	f.Artifact = advertised
	return Storage(sourcev1.StatOperationFailedReason, fmt.Errorf("unable to check the stored artifact: %w", err))
}

// Put stores an artifact under a file name and puts it into f. doing says what failed if it does; errors of write are
// returned as they are.
func (s Shelf) Put(ctx context.Context, file, revision string, metadata map[string]string, f *Found, write func(io.Writer) error) error {
	name := store.Name{Kind: s.Kind, Namespace: s.Namespace, Name: s.Name, File: file}
	ref, err := s.Store.Put(ctx, name, revision, metadata, write)
	if err == nil {
		f.Artifact, f.Stored = ref.Status(), true
	}
	return err
}

// Unstored is the failure of Put where nothing but the storage is to blame.
func Unstored(doing string, err error) *Failure {
	if errors.Is(err, store.ErrDirectory) {
		return Storage(sourcev1.DirectoryCreationFailedReason, explain(err))
	}
	return Storage(sourcev1.ArchiveOperationFailedReason, fmt.Errorf("%s: %w", doing, explain(err)))
}

// Archived is what Unstored says was being done by kinds that make archives.
const Archived = "unable to archive artifact to storage"

// explain adds to an error of the storage what to do about it.
func explain(err error) error {
	if errors.Is(err, archive.ErrLimit) {
		return fmt.Errorf("%w; leave files out with spec.ignore or a file '.sourceignore'", err)
	}
	return fmt.Errorf("%w; check the free space and the permissions of the controller's storage", err)
}

// Offer makes the stable address lead to the artifact and removes artifacts that were superseded. Only the first can fail
// the attempt.
func (s Shelf) Offer(ctx context.Context, req Request, f *Found) *Failure {
	ref := artifact.RefOf(f.Artifact)
	if s.Link != "" {
		url, err := s.Store.Link(ref, s.Link)
		if err != nil {
			return Storage(sourcev1.SymlinkUpdateFailedReason, fmt.Errorf("failed to update status URL symlink: %w", explain(err)))
		}
		f.URL = url
	}
	removed, err := s.Store.Collect(ctx, ref)
	if err != nil {
		req.Event(kernel.Warning(sourcev1.GarbageCollectionFailedReason, fmt.Sprintf("garbage collection failed: %s", err), nil))
	}
	if n := len(removed); n > 0 {
		req.Event(kernel.Trace(collected, fmt.Sprintf("garbage collected %d artifacts", n), nil))
	}
	return nil
}

const collected = "GarbageCollectionSucceeded"

// Clear removes the artifacts of an object that goes away, and then what else was kept for it.
func (s Shelf) Clear(ctx context.Context, req Request, also ...func() error) kernel.Outcome {
	n, err := s.Store.Delete(ctx, s.Kind, s.Namespace, s.Name)
	for _, remove := range also {
		err = errors.Join(err, remove())
	}
	if err != nil {
		return kernel.Failed(sourcev1.GarbageCollectionFailedReason, fmt.Errorf("garbage collection for deleted resource failed: %w", err)).Backoff()
	}
	if n > 0 {
		req.Event(kernel.Trace(collected, "garbage collected artifacts for deleted resource", nil))
	}
	return kernel.Done("", "")
}

// LeftOut notes the symbolic links and other irregular files that an artifact does not hold. Their directories are read
// when they change, so that each is told once.
func LeftOut(log logr.Logger, paths []string) {
	if n := len(paths); n > 0 {
		log.Info("symbolic links and other irregular files are left out of the artifact", "count", n, "paths", strings.Join(paths[:min(n, 10)], ", "))
	}
}
