package helmchart_test

import (
	"context"
	"io"

	"github.com/gitops-toolkit/flux/internal/artifact"
	"github.com/gitops-toolkit/flux/internal/artifact/archive"
)

type artifactRef = artifact.Ref

// archiver writes a directory as an archive.
func archiver(tree archive.Tree) func(io.Writer) error {
	return func(w io.Writer) error {
		_, err := archive.NewBuilder(archive.Options{}).Write(context.Background(), w, tree, archive.Ignore{})
		return err
	}
}
