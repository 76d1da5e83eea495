package gitrepository

import (
	"context"
	"errors"
	"fmt"
	"io"
	"path"
	"strings"

	sourcev1 "github.com/gitops-toolkit/flux/api/source/v1"
	"github.com/gitops-toolkit/flux/internal/artifact/archive"
	"github.com/gitops-toolkit/flux/internal/gitrepo"
	"github.com/gitops-toolkit/flux/internal/source/attempt"
)

// largeAnnotation asks for the files that Git LFS keeps beside the repository. It is an annotation because upstream,
// which leaves the pointers where they are, has no such field. The artifact's metadata tell under the same name whether
// it was made so.
const (
	largeAnnotation = "gitops-toolkit.dev/git-lfs"
	largeEnabled    = "enabled"
	largeDisabled   = "disabled"
)

// invalidAnnotationReason is the reason of Stalled for an annotation that says nothing that we know.
const invalidAnnotationReason = "InvalidAnnotation"

func checkAnnotations(obj *sourcev1.GitRepository) *attempt.Failure {
	switch text := obj.Annotations[largeAnnotation]; strings.ToLower(text) {
	case "", largeEnabled, largeDisabled:
		return nil
	default:
		return attempt.Stall(invalidAnnotationReason, fmt.Errorf("annotation '%s' must be '%s' or '%s', not '%.50s'", largeAnnotation, largeEnabled, largeDisabled, text))
	}
}

// wantsLarge tells whether large files are asked for, hasLarge whether the artifact was made with them.
func wantsLarge(obj *sourcev1.GitRepository) bool {
	return strings.EqualFold(obj.Annotations[largeAnnotation], largeEnabled)
}

func hasLarge(obj *sourcev1.GitRepository) bool {
	a := obj.Status.Artifact
	return a != nil && a.Metadata[largeAnnotation] == largeEnabled
}

// metadata of the artifact.
func metadataOf(obj *sourcev1.GitRepository) map[string]string {
	if wantsLarge(obj) {
		return map[string]string{largeAnnotation: largeEnabled}
	}
	return nil
}

// large puts the files that Git LFS keeps in the place of their pointers, in the repository at a directory of the tree.
// What is not checked out, or ignored, or packed from an earlier revision already, is never fetched.
func (p *poll) large(ctx context.Context, remote gitrepo.Remote, snap *gitrepo.Snapshot, dir string, t *tree, held *claims) *attempt.Failure {
	if !wantsLarge(p.obj) {
		return nil
	}
	files, err := p.Git.LargeFiles(remote, snap)
	if err != nil {
		return p.gitFailed(inSubmodule(dir, err))
	}
	held.add(func() {
		if err := files.Close(); err != nil {
			p.req.Log.Error(err, "large files that nobody uses could not be removed")
		}
	})
	for _, f := range files.List {
		at := path.Join(dir, f.Path)
		if _, found, err := t.lookup(ctx, at); err != nil {
			return p.gitFailed(err)
		} else if !found {
			continue
		}
		n, name, err := t.parent(ctx, at)
		if err != nil {
			return p.gitFailed(err)
		}
		n.setFile(file{
			Entry: archive.Entry{Name: name, Kind: kindOf(f.Mode), Size: f.Size, ID: f.ID},
			open: func(ctx context.Context) (io.ReadCloser, error) {
				r, err := p.openLarge(ctx, files, f)
				return r, inSubmodule(dir, err)
			},
		})
	}
	return nil
}

// openLarge opens a large file within spec.timeout.
func (p *poll) openLarge(ctx context.Context, files *gitrepo.LargeFiles, f gitrepo.LargeFile) (io.ReadCloser, error) {
	ctx, cancel := context.WithTimeout(ctx, p.obj.GetTimeout())
	defer cancel() // It is a file of ours when Open returns.
	r, err := files.Open(ctx, f)
	if err != nil && errors.Is(ctx.Err(), context.DeadlineExceeded) {
		err = fmt.Errorf("%w '%s': no answer within the time allowed: %w", gitrepo.ErrLargeFile, f.Path, context.DeadlineExceeded)
	}
	return r, err
}

// inSubmodule names the submodule that an error is about; "." is none.
func inSubmodule(dir string, err error) error {
	if err == nil || dir == "." {
		return err
	}
	return submoduleError{fmt.Errorf("submodule '%s': %w", dir, err)}
}
