package sourcetest

import (
	"archive/tar"
	"compress/gzip"
	"errors"
	"io"
	"os"
	"path/filepath"
	"testing"

	"github.com/gitops-toolkit/flux/api/meta"
)

// GoldenFiles are made into an artifact of the digest Golden whether they come from Git, a registry or elsewhere: the same
// input gives the same bytes across kinds, runs and machines. A change of it is a change of the format.
var GoldenFiles = map[string]string{"app/deploy.yaml": "replicas: 1\n", "README.md": "hello\n", "logo.png": "png"}

// Golden is the digest of the artifact of GoldenFiles, of which the picture is left out.
const Golden = "sha256:115aae37a153f7f92c6f80753ecd3367153b4800d6255b374943877c4ccf80c2"

// File is one entry of an archive.
type File struct {
	Name string
	Mode int64
	Data string
}

// Files reads a stored artifact: what is in its files, by name.
func (l *Lab) Files(a *meta.Artifact) map[string]string {
	l.Helper()
	out := map[string]string{}
	for _, f := range ReadArchive(l.T, filepath.Join(l.Data, filepath.FromSlash(a.Path))) {
		if f.Mode&0o100 == 0 || f.Data != "" {
			out[f.Name] = f.Data
		}
	}
	return out
}

// ReadArchive reads all entries of a tar.gz.
func ReadArchive(t *testing.T, path string) (list []File) {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close() //nolint:errcheck // read only
	zr, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	for tr := tar.NewReader(zr); ; {
		h, err := tr.Next()
		if errors.Is(err, io.EOF) {
			return list
		}
		if err != nil {
			t.Fatal(err)
		}
		data, err := io.ReadAll(tr)
		if err != nil {
			t.Fatal(err)
		}
		list = append(list, File{h.Name, h.Mode, string(data)})
	}
}
