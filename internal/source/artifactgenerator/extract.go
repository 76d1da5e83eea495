package artifactgenerator

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"github.com/gitops-toolkit/flux/internal/artifact/archive"
	"github.com/gitops-toolkit/flux/internal/artifact/unpack"
)

// maxExtractBytes bounds what is extracted from one archive.
const maxExtractBytes = 100 << 20

func isTarball(name string) bool {
	name = strings.ToLower(name)
	return strings.HasSuffix(name, ".tar.gz") || strings.HasSuffix(name, ".tgz")
}

// extract unpacks the archives that are named or matched. Globs are recursive here, and pass by what is no archive.
func (c *composition) extract(ctx context.Context, o operation) error {
	if !isGlob(o.pattern) {
		switch {
		case o.pattern == "" || o.tree.IsDir(o.pattern):
			return fmt.Errorf("extract strategy requires tarball file (.tar.gz or .tgz), got directory '%s'", orRoot(o.pattern))
		case o.tree.Digest(o.pattern) == "":
			return fmt.Errorf("source '%s' does not exist", o.pattern)
		case !isTarball(o.pattern):
			return fmt.Errorf("extract strategy requires tarball file (.tar.gz or .tgz), got '%s'", o.pattern)
		case o.exclude.excluded(o.pattern):
			return nil
		}
		return c.extractOne(ctx, o, o.pattern)
	}
	names := slices.DeleteFunc(o.tree.Files("."), func(name string) bool { return !deep(o.pattern, name) })
	if len(names) == 0 {
		return fmt.Errorf("no files match pattern '%s' in source '%s'", o.pattern, o.alias)
	}
	names = slices.DeleteFunc(names, o.exclude.excluded)
	if len(names) == 0 {
		return fmt.Errorf("all files matching pattern '%s' in source '%s' were excluded", o.pattern, o.alias)
	}
	for _, name := range names {
		if !isTarball(name) {
			continue
		}
		if err := c.extractOne(ctx, o, name); err != nil {
			return err
		}
	}
	return nil
}

func (c *composition) extractOne(ctx context.Context, o operation, name string) (err error) {
	dir, err := c.temp()
	if err != nil {
		return err
	}
	f, err := os.Open(filepath.Join(o.tree.Dir(), filepath.FromSlash(name)))
	if err != nil {
		return fmt.Errorf("source '%s': %w", name, errors.Unwrap(err))
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	result, err := unpack.TarGz(ctx, f, dir, unpack.Limits{Bytes: maxExtractBytes, FileBytes: maxExtractBytes})
	if err != nil {
		return fmt.Errorf("extract '%s': %w", name, err)
	}
	if len(result.Skipped) > 0 {
		return fmt.Errorf("extract '%s': the archive holds the link '%s'; links are not extracted", name, result.Skipped[0])
	}
	for _, one := range result.Files {
		at := filepath.Join(dir, filepath.FromSlash(one.Path))
		if err := c.out.Add(path.Join(o.to, one.Path), archive.ListFile{
			Executable: one.Executable, Size: one.Size, ID: hex.EncodeToString(one.SHA256[:]),
			Open: func() (io.ReadCloser, error) { return os.Open(at) },
		}); err != nil {
			return fmt.Errorf("extract '%s': %w", name, err)
		}
	}
	return nil
}
