package gitrepository

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/go-git/go-git/v5/plumbing"

	"github.com/gitops-toolkit/flux/internal/artifact/archive"
	"github.com/gitops-toolkit/flux/internal/gitrepo"

	sourcev1 "github.com/gitops-toolkit/flux/api/source/v1"
	"github.com/gitops-toolkit/flux/internal/source/attempt"
)

// shelf is where the artifacts of a repository stand.
func (c *controller) shelf(obj *sourcev1.GitRepository) attempt.Shelf {
	return attempt.Shelf{Store: c.Artifacts, Kind: "gitrepository", Namespace: obj.Namespace, Name: obj.Name}
}

// archive stores the files that the object asks for, but for those that are to be ignored.
func (p *poll) archive(ctx context.Context, remote gitrepo.Remote, snap *gitrepo.Snapshot, f *found) *attempt.Failure {
	files, release, fail := p.compose(ctx, remote, snap)
	defer release()
	if fail != nil {
		return fail
	}
	ignore := archive.Ignore{SourceIgnore: true, Defaults: true}
	if p.obj.Spec.Ignore != nil {
		ignore.Spec = *p.obj.Spec.Ignore
	}
	rev := snap.Revision()
	err := p.shelf(p.obj).PutOnce(ctx, &p.made, p.contentKey(files, ignore), rev.Commit.String()+".tar.gz", rev.String(), metadataOf(p.obj), &f.Found, func(w io.Writer) error {
		sum, err := p.Archives.Write(ctx, w, files, ignore)
		attempt.LeftOut(p.req.Log, sum.Links)
		return err
	})
	var unread *treeError
	switch {
	case err == nil:
		return nil
	case errors.As(err, &unread):
		return p.gitFailed(unread)
	case errors.Is(err, gitrepo.ErrTree), errors.Is(err, gitrepo.ErrDamaged), errors.Is(err, gitrepo.ErrLargeFile):
		return p.gitFailed(err)
	}
	return attempt.Unstored(attempt.Archived, err)
}

// contentKey names what goes into the archive, for other objects on the same repository that want the same; "" if more
// than a tree of Git makes it up.
func (p *poll) contentKey(files *tree, ignore archive.Ignore) string {
	root := files.Root()
	if root == "" {
		return ""
	}
	return fmt.Sprintf("%q %s %q", p.obj.Spec.URL, root, ignore.Spec)
}

// compose puts together what goes into the archive. release must be called when it has been read.
func (p *poll) compose(ctx context.Context, remote gitrepo.Remote, snap *gitrepo.Snapshot) (t *tree, release func(), fail *attempt.Failure) {
	t, held := newTree(commitTree{snap}), &claims{}
	if fail = p.sparse(ctx, t); fail != nil {
		return t, held.release, fail
	}
	if fail = p.large(ctx, remote, snap, ".", t, held); fail != nil {
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
	case gitrepo.ModeSymlink:
		return archive.Link
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
