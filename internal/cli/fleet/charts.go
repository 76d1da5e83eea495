package fleet

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"sigs.k8s.io/yaml"

	"github.com/gitops-toolkit/flux/internal/charts/chart"
)

// packedChart is a chart of a directory as a repository serves it.
type packedChart struct {
	name, version, api string
	packed             []byte
	// root says that the directory is the chart.
	root bool
}

func (c packedChart) file() string { return c.name + "-" + c.version + ".tgz" }

// files are the files of a tree, sorted, below its root with slashes.
func (t *tree) files() ([]string, error) {
	names, err := listFiles(context.Background(), t.dir)
	for i := range names {
		names[i] = filepath.ToSlash(names[i])
	}
	slices.Sort(names)
	return names, err
}

// chartsIn packs the charts of a tree: directories with a Chart.yaml, but not those within another chart, and archives.
func chartsIn(t *tree) ([]packedChart, error) {
	names, err := t.files()
	if err != nil {
		return nil, err
	}
	var dirs []string
	for _, name := range names {
		if path.Base(name) == "Chart.yaml" {
			dirs = append(dirs, path.Dir(name))
		}
	}
	inside := func(name string) bool {
		return slices.ContainsFunc(dirs, func(d string) bool { return d != path.Dir(name) && within(d, path.Dir(name)) })
	}
	var charts []packedChart
	for _, name := range names {
		var c *packedChart
		switch {
		case inside(name) || slices.Contains(dirs, path.Dir(name)) && path.Base(name) != "Chart.yaml":
		case path.Base(name) == "Chart.yaml":
			c, err = packDir(t, path.Dir(name))
		case path.Ext(name) == ".tgz":
			c, err = packFile(t, name)
		}
		if err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		if c != nil {
			charts = append(charts, *c)
		}
	}
	return charts, nil
}

func packDir(t *tree, dir string) (*packedChart, error) {
	root, err := os.OpenRoot(t.dir)
	if err != nil {
		return nil, err
	}
	defer root.Close()
	c, err := chart.LoadDir(root, dir, chart.Limits{}.WithDefaults())
	if err != nil {
		return nil, err
	}
	packed, err := c.Packed()
	return &packedChart{name: c.Name, version: c.Version, api: c.APIVersion, packed: packed, root: dir == "."}, err
}

// packFile takes a packed chart as it is; another archive is none.
func packFile(t *tree, name string) (*packedChart, error) {
	content, err := readFile(t, name)
	if err != nil {
		return nil, err
	}
	c, err := chart.LoadArchive(bytes.NewReader(content), chart.Limits{}.WithDefaults())
	if errors.Is(err, chart.ErrNotChart) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return &packedChart{name: c.Name, version: c.Version, api: c.APIVersion, packed: content}, nil
}

// indexOf is the index of a repository of charts.
func indexOf(charts []packedChart) ([]byte, error) {
	entries := map[string][]any{}
	for _, c := range charts {
		sum := sha256.Sum256(c.packed)
		entries[c.name] = append(entries[c.name], map[string]any{
			"apiVersion": c.api, "name": c.name, "version": c.version, "urls": []string{c.file()}, "digest": hex.EncodeToString(sum[:]),
			"created": time.Unix(0, 0).UTC().Format(time.RFC3339),
		})
	}
	return yaml.Marshal(map[string]any{"apiVersion": "v1", "generated": time.Unix(0, 0).UTC().Format(time.RFC3339), "entries": entries})
}

// archive packs the regular files of a tree, as artifacts are packed.
func (t *tree) archive() ([]byte, error) {
	names, err := t.files()
	if err != nil {
		return nil, err
	}
	var out bytes.Buffer
	zipped := gzip.NewWriter(&out)
	packed := tar.NewWriter(zipped)
	for _, name := range names {
		info, err := os.Lstat(filepath.Join(t.dir, filepath.FromSlash(name)))
		if err != nil || !info.Mode().IsRegular() || strings.HasPrefix(name, ".git/") {
			continue
		}
		content, err := readFile(t, name)
		if err != nil {
			return nil, err
		}
		if err := packed.WriteHeader(&tar.Header{Name: name, Typeflag: tar.TypeReg, Mode: 0o644, Size: int64(len(content))}); err != nil {
			return nil, err
		}
		if _, err := packed.Write(content); err != nil {
			return nil, err
		}
	}
	err = errors.Join(packed.Close(), zipped.Close())
	return out.Bytes(), err
}
