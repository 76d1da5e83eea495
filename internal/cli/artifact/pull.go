package artifact

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"

	"github.com/spf13/cobra"

	"github.com/gitops-toolkit/flux/internal/artifact/unpack"
	"github.com/gitops-toolkit/flux/internal/cli/session"
	"github.com/gitops-toolkit/flux/internal/registry"
)

func pullCommand(s *session.Session) *cobra.Command {
	f := &remoteFlags{}
	var output string
	cmd := &cobra.Command{
		Use:   "artifact",
		Short: "Pull an artifact and unpack it",
		Long:  "The command unpacks the first layer of an artifact into a directory, which must exist. Links in it are left out.",
		Example: "  # what a tag names\n  flux pull artifact oci://ghcr.io/org/config/app:v1.0.0 --output ./deploy\n\n" +
			"  # what a digest names, from a registry without TLS\n  flux pull artifact oci://localhost:5000/app@sha256:<hex> --output ./deploy --insecure-registry",
	}
	f.define(cmd.Flags(), true)
	cmd.Flags().StringVarP(&output, "output", "o", "", "directory to unpack into")
	cmd.RunE = run(s, func(ctx context.Context, url string) error {
		if output == "" {
			return errors.New("output path cannot be empty")
		}
		info, err := os.Stat(output)
		if err == nil && !info.IsDir() {
			err = errors.New("it is not a directory")
		}
		if err != nil {
			return fmt.Errorf("invalid output path %q: %w", output, err)
		}
		return f.pull(ctx, s, url, output)
	})
	return cmd
}

func (f *remoteFlags) pull(ctx context.Context, s *session.Session, url, output string) error {
	l, err := registry.ParseLocation(url)
	if err != nil {
		return err
	}
	repo, err := f.open(ctx, l)
	if err != nil {
		return err
	}
	s.Log.Actionf("pulling artifact from %s", l.Text)
	digest := l.Digest
	if digest == "" {
		if digest, err = repo.Digest(ctx, l.Tag); err != nil {
			return err
		}
	}
	manifest, err := repo.Manifest(ctx, digest)
	if err != nil {
		return err
	}
	if err := unpackInto(ctx, repo, manifest, output); err != nil {
		return err
	}
	if source := manifest.Annotations[registry.AnnotationSource]; source != "" {
		s.Log.Successf("source %s", source)
	}
	if revision := manifest.Annotations[registry.AnnotationRevision]; revision != "" {
		s.Log.Successf("revision %s", revision)
	}
	s.Log.Successf("digest %s@%s", repo.Name(), digest)
	s.Log.Successf("artifact content extracted to %s", output)
	return nil
}

// unpackInto unpacks the first layer aside, and moves the files only when the whole of it was verified.
func unpackInto(ctx context.Context, repo *registry.Repository, m *registry.Manifest, output string) (err error) {
	layer, err := m.Select("")
	if err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "flux-artifact-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	body, err := repo.Blob(ctx, layer)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, body.Close()) }()
	result, err := unpack.Layer(ctx, body, dir, unpack.Limits{})
	if err != nil {
		return fmt.Errorf("unpack the artifact: %w", err)
	}
	return place(dir, output, result)
}

// place copies files below output. Nothing outside of it is written, whatever links it holds.
func place(dir, output string, result unpack.Result) error {
	from, err := os.OpenRoot(dir)
	if err != nil {
		return err
	}
	defer from.Close() //nolint:errcheck // read only
	to, err := os.OpenRoot(output)
	if err != nil {
		return err
	}
	defer to.Close() //nolint:errcheck // a directory
	for _, d := range result.Dirs {
		if err := to.MkdirAll(d, 0o755); err != nil {
			return err
		}
	}
	for _, f := range result.Files {
		if err := placeFile(from, to, f); err != nil {
			return fmt.Errorf("write '%s': %w", path.Join(output, f.Path), err)
		}
	}
	return nil
}

func placeFile(from, to *os.Root, f unpack.File) (err error) {
	in, err := from.Open(f.Path)
	if err != nil {
		return err
	}
	defer in.Close() //nolint:errcheck // read only
	mode := fs.FileMode(0o644)
	if f.Executable {
		mode = 0o755
	}
	if err := to.Remove(f.Path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	out, err := to.OpenFile(f.Path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, mode)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, out.Close()) }()
	_, err = io.Copy(out, in)
	return err
}
