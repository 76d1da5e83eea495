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
	base.merge(over)
	var out bytes.Buffer
	encoder := yaml.NewEncoder(&out)
	encoder.SetIndent(2)
	if err := errors.Join(encoder.Encode(base.node()), encoder.Close()); err != nil {
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
func readYAML(f archive.ListFile) (out *value, err error) {
	if f.Size > maxMergeBytes {
		return nil, fmt.Errorf("the file has %d bytes, at most %d can be merged", f.Size, maxMergeBytes)
	}
	body, err := f.Open()
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, body.Close()) }()
	out = &value{fields: map[string]field{}}
	read := &reading{left: maxValues}
	for decoder := yaml.NewDecoder(io.LimitReader(body, maxMergeBytes)); ; {
		var doc yaml.Node
		err := decoder.Decode(&doc)
		if errors.Is(err, io.EOF) {
			return out, nil
		}
		var v *value
		if err == nil {
			v, err = read.value(&doc, 0)
		}
		switch {
		case err != nil:
			return nil, fmt.Errorf("not a YAML map: %w", err)
		case v.fields != nil:
			out.merge(v)
		case v.scalar == nil || v.scalar.Tag != "!!null":
			return nil, fmt.Errorf("not a YAML map: line %d holds something else", max(doc.Line, 1))
		}
	}
}
