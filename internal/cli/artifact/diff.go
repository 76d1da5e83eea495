package artifact

import (
	"context"
	"errors"

	"github.com/spf13/cobra"

	"github.com/gitops-toolkit/flux/internal/cli/session"
	"github.com/gitops-toolkit/flux/internal/registry"
)

// errDiffers is the finding of diff.
var errDiffers = errors.New("the remote artifact contents differs from the local one")

type diffFlags struct {
	fileFlags
	remoteFlags
}

func diffCommand(s *session.Session) *cobra.Command {
	f := &diffFlags{}
	cmd := &cobra.Command{
		Use:     "artifact",
		Short:   "Tell whether an artifact holds what is here",
		Long:    "The command archives local files and compares the archive with the first layer of an artifact. It fails when they differ.",
		Example: "  # is there something to push\n  flux diff artifact oci://ghcr.io/org/config/app:v1.0.0 --path ./deploy",
	}
	f.fileFlags.define(cmd.Flags(), "", false)
	f.remoteFlags.define(cmd.Flags(), true)
	cmd.RunE = run(s, func(ctx context.Context, url string) error { return f.diff(ctx, s, url) })
	return cmd
}

func (f *diffFlags) diff(ctx context.Context, s *session.Session, url string) error {
	if err := f.check(); err != nil {
		return err
	}
	l, err := registry.ParseLocation(url)
	if err != nil {
		return err
	}
	src, err := f.read(s.In)
	if err != nil {
		return err
	}
	repo, err := f.open(ctx, l)
	if err != nil {
		return err
	}
	remote := l.Digest
	if remote == "" {
		if remote, err = repo.Digest(ctx, l.Tag); err != nil {
			return err
		}
	}
	manifest, err := repo.Manifest(ctx, remote)
	if err != nil {
		return err
	}
	layer, err := manifest.Select("")
	if err != nil {
		return err
	}
	return f.withArchive(src, func(file string) error {
		digest, size, err := registry.DigestFile(file)
		if err != nil {
			return err
		}
		if digest != layer.Digest || size != layer.Size {
			return errDiffers
		}
		s.Log.Successf("no changes detected")
		return nil
	})
}
