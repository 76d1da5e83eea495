package chart

import (
	"archive/tar"
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/klauspost/compress/gzip"
	"sigs.k8s.io/yaml"
)

// Pack writes the chart as an archive.
func (c *Chart) Pack(out io.Writer) error {
	if schema, ok := c.read(schemaFile); ok && !json.Valid(schema) {
		return fmt.Errorf("%s is not valid JSON", schemaFile)
	}
	metadata, err := yaml.Marshal(c.metadata)
	if err != nil {
		return fmt.Errorf("write Chart.yaml: %w", err)
	}
	zw, err := gzip.NewWriterLevel(out, gzip.DefaultCompression)
	if err != nil {
		return err
	}
	tw := tar.NewWriter(zw)
	for _, f := range ordered(c.files) {
		if f.name == metadataFile {
			f.data = metadata
		}
		h := &tar.Header{Typeflag: tar.TypeReg, Name: c.Name + "/" + f.name, Mode: 0o644, Size: int64(len(f.data)), ModTime: time.Unix(0, 0)}
		if err := tw.WriteHeader(h); err != nil {
			return fmt.Errorf("pack '%s': %w", f.name, err)
		}
		if _, err := tw.Write(f.data); err != nil {
			return fmt.Errorf("pack '%s': %w", f.name, err)
		}
	}
	if err := tw.Close(); err != nil {
		return err
	}
	return zw.Close()
}

// ordered is the order in which Helm packs, and within that, that of the names.
func ordered(files []file) []file {
	list := slices.Clone(files)
	slices.SortStableFunc(list, func(a, b file) int {
		return cmp.Or(cmp.Compare(rank(a.name), rank(b.name)), slices.Compare(strings.Split(a.name, "/"), strings.Split(b.name, "/")))
	})
	return list
}

func rank(name string) int {
	switch {
	case name == metadataFile:
		return 0
	case name == lockFile:
		return 1
	case name == ValuesFile:
		return 2
	case name == schemaFile:
		return 3
	case strings.HasPrefix(name, templatesDir):
		return 4
	case strings.HasPrefix(name, chartsDir):
		return 6
	}
	return 5
}

// Packed is what Pack writes.
func (c *Chart) Packed() ([]byte, error) {
	var b bytes.Buffer
	err := c.Pack(&b)
	return b.Bytes(), err
}

// MergeValues merges values files: maps are merged, and of everything else the later file's wins.
func MergeValues(files [][]byte) ([]byte, error) {
	merged := map[string]any{}
	for i, data := range files {
		var values map[string]any
		if err := decode(data, &values); err != nil {
			return nil, fmt.Errorf("values file %d of %d: %w", i+1, len(files), err)
		}
		merge(merged, values)
	}
	return yaml.Marshal(merged)
}

func merge(into, from map[string]any) {
	for key, value := range from {
		inner, isMap := value.(map[string]any)
		have, wasMap := into[key].(map[string]any)
		if isMap && wasMap {
			merge(have, inner)
			continue
		}
		into[key] = value
	}
}
