package gitrepository

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"path/filepath"
	"slices"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/gitops-toolkit/flux/api/meta"
	sourcev1 "github.com/gitops-toolkit/flux/api/source/v1"
	"github.com/gitops-toolkit/flux/internal/artifact"
	"github.com/gitops-toolkit/flux/internal/artifact/archive"
	"github.com/gitops-toolkit/flux/internal/artifact/cache"
	"github.com/gitops-toolkit/flux/internal/artifact/store"
	"github.com/gitops-toolkit/flux/internal/kernel"
	"github.com/gitops-toolkit/flux/internal/source/attempt"
)

// notFoundReason is the reason of IncludeUnavailable when the included object does not exist.
const notFoundReason = "NotFound"

// includeChanged is the message of ArtifactOutdated when another artifact is to be included.
const includeChanged = "included artifacts differ from last observed includes"

// Included objects are read from the kernel's cache, which wakes us when one of them changes.
func (c *controller) included(ctx context.Context, obj *sourcev1.GitRepository) ([]*meta.Artifact, *attempt.Failure) {
	var list []*meta.Artifact
	for _, in := range obj.Spec.Include {
		name := in.GitRepositoryRef.Name
		other := &sourcev1.GitRepository{}
		err := c.objects.Get(ctx, types.NamespacedName{Namespace: obj.Namespace, Name: name}, other)
		switch {
		case apierrors.IsNotFound(err):
			return nil, includeUnavailable(notFoundReason, fmt.Errorf("could not get resource for include '%s': %w; create it, or correct spec.include", name, err)).Wait()
		case err != nil:
			return nil, includeUnavailable(notFoundReason, fmt.Errorf("could not get resource for include '%s': %w", name, err))
		case other.Status.Artifact == nil:
			return nil, includeUnavailable(sourcev1.NoArtifactReason, fmt.Errorf("no artifact available for include '%s'; see why the GitRepository '%s/%s' is not ready", name, obj.Namespace, name)).Wait()
		}
		list = append(list, other.Status.Artifact.DeepCopy())
	}
	return list, nil
}

func includeUnavailable(reason string, err error) *attempt.Failure {
	return &attempt.Failure{Condition: sourcev1.IncludeUnavailableCondition, Reason: reason, Err: err}
}

// sameArtifacts compares what goes into an artifact, not where it is kept.
func sameArtifacts(a, b []*meta.Artifact) bool {
	return slices.EqualFunc(a, b, func(x, y *meta.Artifact) bool {
		return x != nil && y != nil && x.Revision == y.Revision && x.Digest == y.Digest
	})
}

// include mounts the included artifacts.
func (p *poll) include(ctx context.Context, t *tree, held *claims) *attempt.Failure {
	for i, in := range p.obj.Spec.Include {
		unpacked, err := p.Unpacked.Acquire(ctx, artifact.RefOf(p.includes[i]))
		if err != nil {
			return includeUnavailable(sourcev1.NoArtifactReason, fmt.Errorf(
				"no artifact available for include '%s': %w; see whether the GitRepository '%s/%s' is ready", in.GitRepositoryRef.Name, err, p.obj.Namespace, in.GitRepositoryRef.Name))
		}
		held.add(unpacked.Release)
		dir, err := archive.OpenDir(unpacked.Dir())
		if err != nil {
			return attempt.Storage(sourcev1.ReadOperationFailedReason, err)
		}
		held.add(func() { _ = dir.Close() })
		if err := mountInclude(ctx, t, unpacked, dir, in); err != nil {
			return includeUnavailable(sourcev1.IllegalPathReason, fmt.Errorf("failed to copy '%s' include from '%s' to '%s': %w",
				in.GitRepositoryRef.Name, in.FromPath, in.TargetPath(), err))
		}
	}
	return nil
}

func mountInclude(ctx context.Context, t *tree, unpacked *cache.Tree, dir *archive.DirTree, in sourcev1.GitRepositoryInclude) error {
	from, to := inside(in.FromPath), inside(in.TargetPath())
	if from == "." || unpacked.IsDir(from) {
		return explainMount(t.mount(ctx, to, dir, from))
	}
	entries, err := dir.ReadDir(ctx, path.Dir(from), "")
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	i := slices.IndexFunc(entries, func(e archive.Entry) bool { return e.Name == path.Base(from) })
	if i < 0 {
		return fmt.Errorf("'%s' is not in the included artifact; correct fromPath, or the ignore rules there", from)
	}
	return explainMount(t.put(ctx, to, file{Entry: entries[i], open: func(ctx context.Context) (io.ReadCloser, error) { return dir.Open(ctx, from, entries[i].ID) }}))
}

func explainMount(err error) error {
	if errors.Is(err, errExists) {
		return fmt.Errorf("%w in this repository; set toPath to a path that does not", err)
	}
	return err
}

// inside is a path below the root, however many dots try to lead out of it.
func inside(p string) string {
	if p = path.Clean("/" + filepath.ToSlash(p))[1:]; p == "" {
		return "."
	}
	return p
}

// LocalFirst reads artifacts from the store of this process, and fetches those that another process keeps.
func LocalFirst(s *store.Store, remote cache.Fetcher) cache.Fetcher { return localFirst{s, remote} }

type localFirst struct {
	store  *store.Store
	remote cache.Fetcher
}

// Fetch implements cache.Fetcher. The digest of a file in the store is known to be right only after a check.
func (l localFirst) Fetch(ctx context.Context, ref artifact.Ref, f *os.File) error {
	if _, err := l.store.Check(ctx, ref); err != nil {
		return l.remote.Fetch(ctx, ref, f)
	}
	stored, err := l.store.OpenFile(ref.Path)
	if err != nil {
		return l.remote.Fetch(ctx, ref, f)
	}
	defer stored.Close()
	_, err = f.ReadFrom(stored)
	return err
}

// includes are the references of spec.include. One that leads back to the object makes a circle, of which no member
// could ever be finished.
func includes(obj *sourcev1.GitRepository) (refs []kernel.Reference) {
	for _, in := range obj.Spec.Include {
		refs = append(refs, kernel.Reference{
			Group: sourcev1.GroupVersion.Group, Kind: sourcev1.GitRepositoryKind, Name: in.GitRepositoryRef.Name,
			Wake: kernel.OnRevision, DependsOn: true,
		})
	}
	return refs
}

// published is what wakes those who include the object: its revision, and what it includes itself, which changes
// its content without a new revision.
func published(obj *sourcev1.GitRepository) kernel.Published {
	a := obj.Status.Artifact
	if a == nil {
		return kernel.Published{}
	}
	p := kernel.Published{Revision: a.Revision, Digest: a.Digest}
	for _, in := range obj.Status.IncludedArtifacts {
		if in != nil {
			p.Revision += " " + in.Revision + " " + in.Digest
		}
	}
	return p
}

// reader is the part of a client that reads one object.
type reader interface {
	Get(ctx context.Context, key client.ObjectKey, obj client.Object, opts ...client.GetOption) error
}
