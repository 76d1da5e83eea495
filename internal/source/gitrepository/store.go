package gitrepository

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/go-git/go-git/v5/plumbing"

	"github.com/gitops-toolkit/flux/api/meta"
	"github.com/gitops-toolkit/flux/internal/artifact"
	"github.com/gitops-toolkit/flux/internal/artifact/archive"
	"github.com/gitops-toolkit/flux/internal/artifact/store"
	"github.com/gitops-toolkit/flux/internal/gitrepo"
	"github.com/gitops-toolkit/flux/internal/kernel"

	sourcev1 "github.com/gitops-toolkit/flux/api/source/v1"
)

// storeKind is the first part of an artifact's path.
const storeKind = "gitrepository"

// archive stores the files that the object asks for, but for those that are to be ignored.
func (p *poll) archive(ctx context.Context, remote gitrepo.Remote, snap *gitrepo.Snapshot) (*meta.Artifact, *failure) {
	files, release, fail := p.compose(ctx, remote, snap)
	defer release()
	if fail != nil {
		return nil, fail
	}
	ignore := archive.Ignore{SourceIgnore: true, Defaults: true}
	if p.obj.Spec.Ignore != nil {
		ignore.Spec = *p.obj.Spec.Ignore
	}
	rev := snap.Revision()
	name := store.Name{Kind: storeKind, Namespace: p.obj.Namespace, Name: p.obj.Name, File: rev.Commit.String() + ".tar.gz"}
	ref, err := p.Artifacts.Put(ctx, name, rev.String(), metadataOf(p.obj), func(w io.Writer) error {
		_, err := p.Archives.Write(ctx, w, files, ignore)
		return err
	})
	var unread *treeError
	switch {
	case err == nil:
		return artifactOf(ref), nil
	case errors.As(err, &unread):
		return nil, p.gitFailed(unread)
	case errors.Is(err, gitrepo.ErrTree), errors.Is(err, gitrepo.ErrDamaged), errors.Is(err, gitrepo.ErrLargeFile):
		return nil, p.gitFailed(err)
	case errors.Is(err, store.ErrDirectory):
		return nil, storageFailed(sourcev1.DirectoryCreationFailedReason, err)
	}
	return nil, storageFailed(sourcev1.ArchiveOperationFailedReason, fmt.Errorf("unable to archive artifact to storage: %w", explainArchive(err)))
}

// compose puts together what goes into the archive. release must be called when it has been read.
func (p *poll) compose(ctx context.Context, remote gitrepo.Remote, snap *gitrepo.Snapshot) (t *tree, release func(), fail *failure) {
	t, held := newTree(commitTree{snap}), &claims{}
	if fail = p.sparse(ctx, t); fail != nil {
		return t, held.release, fail
	}
	if fail = p.large(ctx, remote, snap, t, held); fail != nil {
		return t, held.release, fail
	}
	if fail = p.submodules(ctx, remote, snap, t, held); fail != nil {
		return t, held.release, fail
	}
	return t, held.release, p.include(ctx, t, held)
}

// claims are what must be let go of when an archive is written.
type claims []func()

func (c *claims) add(f func()) { *c = append(*c, f) }

func (c *claims) release() {
	for _, f := range *c {
		f()
	}
}

// collect removes artifacts that were superseded. It never fails the poll.
func (p *poll) collect(ctx context.Context, f *found) *failure {
	removed, err := p.Artifacts.Collect(ctx, refOf(f.artifact))
	if err != nil {
		p.req.Event(kernel.Warning(sourcev1.GarbageCollectionFailedReason, fmt.Sprintf("garbage collection failed: %s", err), nil))
	}
	if n := len(removed); n > 0 {
		p.req.Event(kernel.Trace("GarbageCollectionSucceeded", fmt.Sprintf("garbage collected %d artifacts", n), nil))
	}
	return nil
}

// commitTree shows a commit to the archiver. The ids of files and directories are their names in Git.
type commitTree struct{ snap *gitrepo.Snapshot }

// treeError is why a directory of a commit cannot be read. It says all that there is to say: whatever the archiver was
// doing at the time has no part in it.
type treeError struct {
	commit gitrepo.Hash
	dir    string
	err    error
}

func (e *treeError) Error() string {
	return fmt.Sprintf("commit '%s', directory '%s': %s", e.commit, e.dir, e.err)
}

func (e *treeError) Unwrap() error { return e.err }

func (t commitTree) Root() string { return t.snap.Root().String() }

func (t commitTree) ReadDir(_ context.Context, dir, id string) ([]archive.Entry, error) {
	entries, err := t.snap.Tree(plumbing.NewHash(id))
	if err != nil {
		return nil, &treeError{commit: t.snap.Revision().Commit, dir: dir, err: err}
	}
	out := make([]archive.Entry, len(entries))
	for i, e := range entries {
		out[i] = archive.Entry{Name: e.Name, Kind: kindOf(e.Mode), Size: -1, ID: e.Hash.String()}
	}
	return out, nil
}

func kindOf(m gitrepo.Mode) archive.Kind {
	switch m {
	case gitrepo.ModeDir:
		return archive.Dir
	case gitrepo.ModeFile:
		return archive.File
	case gitrepo.ModeExecutable:
		return archive.Executable
	}
	return archive.Other
}

func (t commitTree) Size(_ context.Context, _, id string) (int64, error) {
	return t.snap.Size(plumbing.NewHash(id))
}

func (t commitTree) Open(_ context.Context, _, id string) (io.ReadCloser, error) {
	r, _, err := t.snap.Blob(plumbing.NewHash(id))
	return r, err
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
