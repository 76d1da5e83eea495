package kustomize

import (
	"context"
	"errors"
	"fmt"

	"github.com/gitops-toolkit/flux/api/meta"
	untar "github.com/gitops-toolkit/flux/internal/artifact/unpack"
	"github.com/gitops-toolkit/flux/internal/kustomize/build"
)

// fetch makes sure that the unpacked artifact is at hand.
func (j *job) fetch(ctx context.Context) error {
	if j.tree != nil {
		return nil
	}
	j.progress("Fetching manifests for revision %s with a timeout of %s", j.t.revision(), j.t.timeout)
	tree, err := j.c.Artifacts(ctx, j.t.ref)
	if err != nil {
		return failed(meta.ArtifactFailedReason, j.explainArtifact(err))
	}
	j.tree = tree
	if err := build.CheckPath(tree.Dir(), j.t.spec().Path); err != nil {
		return failed(meta.ArtifactFailedReason, fmt.Errorf("%w; correct spec.path, or add the directory to %s", err, sourceReference(j.t.object)))
	}
	j.result.attempted = true
	j.progress("Building manifests for revision %s with a timeout of %s", j.t.revision(), j.t.timeout)
	return nil
}

// explainArtifact adds to the refusal of an archive which source it is from, and what to do.
func (j *job) explainArtifact(err error) error {
	source := sourceReference(j.t.object)
	switch {
	case errors.Is(err, untar.ErrUnsafe):
		return fmt.Errorf("%w; take the entry out of %s, and let it make a new artifact", err, source)
	case errors.Is(err, untar.ErrLimit):
		return fmt.Errorf("%w; leave files out of %s with spec.ignore or a file '.sourceignore'", err, source)
	}
	return err
}

// notServed is the message while the source is behind.
func (c *controller) notServed() string {
	return fmt.Sprintf("Source is not ready, artifact not found, retrying in %s", c.m.Settings().RequeueDependency)
}
