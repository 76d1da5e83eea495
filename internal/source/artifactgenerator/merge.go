package artifactgenerator

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"

	"go.yaml.in/yaml/v3"

	"github.com/gitops-toolkit/flux/internal/artifact/archive"
)

// maxMergeBytes bounds a file that is merged, and what comes of it.
const maxMergeBytes = 10 << 20

// merge merges a file of a source into one that is there: maps deep, everything else replaced.
func (c *composition) merge(o operation, from, to string, there archive.ListFile) error {
	source := archive.NewListTree()
	sub := &composition{out: source}
	if err := sub.put(o.tree, from, from); err != nil {
		return err
	}
	overlay, _ := source.File(from)
	base, err := readYAML(there)
	if err != nil {
		return fmt.Errorf("merge into '%s': %w", to, err)
	}
	over, err := readYAML(overlay)
	if err != nil {
		return fmt.Errorf("merge '%s' into '%s': %w", from, to, err)
	}
	var out bytes.Buffer
	encoder := yaml.NewEncoder(&out)
	encoder.SetIndent(2)
	if err := errors.Join(encoder.Encode(deepMerge(base, over)), encoder.Close()); err != nil {
		return fmt.Errorf("merge '%s' into '%s': %w", from, to, err)
	}
	if out.Len() > maxMergeBytes {
		return fmt.Errorf("merge '%s' into '%s': the result has more than %d bytes", from, to, maxMergeBytes)
	}
	data := out.Bytes()
	sum := sha256.Sum256(data)
	return c.out.Add(to, archive.ListFile{
		Executable: there.Executable, Size: int64(len(data)), ID: hex.EncodeToString(sum[:]),
		Open: func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(data)), nil },
	})
}

// readYAML reads a file of maps; several documents are folded into one.
func readYAML(f archive.ListFile) (out map[string]any, err error) {
	if f.Size > maxMergeBytes {
		return nil, fmt.Errorf("the file has %d bytes, at most %d can be merged", f.Size, maxMergeBytes)
	}
	body, err := f.Open()
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, body.Close()) }()
	out = map[string]any{}
	for decoder := yaml.NewDecoder(io.LimitReader(body, maxMergeBytes)); ; {
		var doc map[string]any
		switch err := decoder.Decode(&doc); {
		case errors.Is(err, io.EOF):
			return out, nil
		case err != nil:
			return nil, fmt.Errorf("not a YAML map: %w", err)
		}
		out = deepMerge(out, doc)
	}
}

// deepMerge lays over on base, which it changes.
func deepMerge(base, over map[string]any) map[string]any {
	for key, value := range over {
		below, isMap := value.(map[string]any)
		under, wasMap := base[key].(map[string]any)
		if isMap && wasMap {
			value = deepMerge(under, below)
		}
		base[key] = value
	}
	return base
}
