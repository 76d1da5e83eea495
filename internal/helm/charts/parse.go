package charts

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"errors"
	"io"
	"strings"

	"github.com/Masterminds/semver/v3"
	chart "helm.sh/helm/v4/pkg/chart/v2"
	"helm.sh/helm/v4/pkg/chart/v2/loader"
)

func parseVersion(v string) (*semver.Version, error) { return semver.NewVersion(v) }

// parseArchive lets Helm's loader read the archive, whose checks of paths and sizes hold for hostile archives too.
func parseArchive(content []byte) (*chart.Chart, error) {
	if !isGzip(content) {
		return nil, errors.New("the artifact is no chart archive: it is not compressed with gzip")
	}
	root, err := atRoot(content)
	if err != nil {
		return nil, err
	}
	if !root {
		return loader.LoadArchive(bytes.NewReader(content))
	}
	pr, pw := io.Pipe()
	go func() { pw.CloseWithError(nest(content, pw)) }()
	defer pr.Close() //nolint:errcheck // ends the writer
	return loader.LoadArchive(pr)
}

// atRoot tells whether Chart.yaml stands at the root of the archive.
func atRoot(content []byte) (bool, error) {
	zr, err := gzip.NewReader(bytes.NewReader(content))
	if err != nil {
		return false, err
	}
	defer zr.Close() //nolint:errcheck // only read
	for tr, n := tar.NewReader(io.LimitReader(zr, maxScan)), 0; n < maxEntries; n++ {
		h, err := tr.Next()
		if err != nil {
			return false, nil // the loader says what is wrong with it
		}
		if strings.TrimPrefix(h.Name, "./") == "Chart.yaml" {
			return true, nil
		}
		if strings.Count(strings.TrimPrefix(h.Name, "./"), "/") == 1 && strings.HasSuffix(h.Name, "/Chart.yaml") {
			return false, nil
		}
	}
	return false, nil
}

// Limits on the search for Chart.yaml; the loader has its own.
const (
	maxScan    = 100 << 20
	maxEntries = 100_000
)

// nest writes the archive again with every file below a directory, as the loader wants it.
func nest(content []byte, w io.Writer) error {
	zr, err := gzip.NewReader(bytes.NewReader(content))
	if err != nil {
		return err
	}
	zw, err := gzip.NewWriterLevel(w, gzip.NoCompression)
	if err != nil {
		return err
	}
	tw := tar.NewWriter(zw)
	for tr := tar.NewReader(zr); ; {
		h, err := tr.Next()
		if errors.Is(err, io.EOF) {
			return errors.Join(tw.Close(), zw.Close())
		}
		if err != nil {
			return err
		}
		if h.Typeflag != tar.TypeReg {
			continue
		}
		h.Name = "chart/" + strings.TrimPrefix(h.Name, "./")
		if err := tw.WriteHeader(h); err != nil {
			return err
		}
		if _, err := io.Copy(tw, tr); err != nil { //nolint:gosec // the loader at the other end has a limit
			return err
		}
	}
}
