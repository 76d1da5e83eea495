package helmrepository

import (
	"context"
	"errors"
	"fmt"
	"hash"
	"io"
	"os"

	"github.com/gitops-toolkit/flux/api/meta"
	"github.com/gitops-toolkit/flux/internal/artifact"
	"github.com/gitops-toolkit/flux/internal/charts/repo"
	"github.com/gitops-toolkit/flux/internal/source/attempt"
)

// fetched is an index as the server has it.
type fetched struct {
	revision   artifact.Digest
	validators repo.Validators
	// file holds it, nil if it has not changed.
	file *os.File
}

func (f *fetched) remove() {
	if f.file != nil {
		_ = f.file.Close()
		_ = os.Remove(f.file.Name())
	}
}

// fetch asks for the index, on the condition that it has changed.
func (p *poll) fetch(ctx context.Context, r *repo.Repository, f *found) (*fetched, *attempt.Failure) {
	ctx, cancel := context.WithTimeout(ctx, p.obj.GetTimeout())
	defer cancel()
	file, err := os.CreateTemp(p.TempDir, "index-")
	if err != nil {
		return nil, attempt.Fetch(meta.FailedReason, fmt.Errorf("failed to create a temporary file for the index: %w", err))
	}
	out := &fetched{file: file}
	sums := p.sums()
	known := p.validators(f)
	out.validators, err = r.Index(ctx, known, p.MaxIndex, io.MultiWriter(append(sums.writers(), file)...))
	if errors.Is(err, repo.ErrNotModified) {
		out.remove()
		return &fetched{revision: artifact.Digest(f.Artifact.Revision), validators: known}, nil
	}
	if err == nil {
		_, err = file.Seek(0, io.SeekStart)
	}
	if err != nil {
		out.remove()
		return nil, p.unfetched(err)
	}
	out.revision = sums.revision(p.obj.Status.Artifact)
	return out, nil
}

// sums are the digests of an index: by the algorithm of today, and by that of the stored revision, so that the same
// index keeps its revision.
type sums struct {
	today  artifact.Algorithm
	hashes map[artifact.Algorithm]hash.Hash
}

func (p *poll) sums() sums {
	s := sums{p.Algorithm, map[artifact.Algorithm]hash.Hash{p.Algorithm: p.Algorithm.New()}}
	if a := p.obj.Status.Artifact; a != nil {
		if d, err := artifact.ParseDigest(a.Revision); err == nil && d.Algorithm() != s.today {
			s.hashes[d.Algorithm()] = d.Algorithm().New()
		}
	}
	return s
}

func (s sums) writers() (list []io.Writer) {
	for _, h := range s.hashes {
		list = append(list, h)
	}
	return list
}

// revision is that of before if the index is.
func (s sums) revision(before *meta.Artifact) artifact.Digest {
	if before != nil {
		a := artifact.Digest(before.Revision).Algorithm()
		if h := s.hashes[a]; h != nil && string(artifact.NewDigest(a, h)) == before.Revision {
			return artifact.Digest(before.Revision)
		}
	}
	return artifact.NewDigest(s.today, s.hashes[s.today])
}
