// Package setters writes images into YAML files, at the places that a comment marks:
//
//	image: ghcr.io/org/app:1.0.0 # {"$imagepolicy": "flux-system:app"}
//	tag: 1.0.0 # {"$imagepolicy": "flux-system:app:tag"}
//
// The marker names a policy by namespace and name, and with :name, :tag or :digest the part of its image that is
// wanted. Where values and comments are is asked of a YAML parser; what is changed is the bytes of the value and nothing
// else, so that layout, comments, quotes and line ends stay as somebody wrote them. The result is parsed again and held
// against the original before anybody sees it.
package setters

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"
)

// Text is in every file that has a marker.
const Text = `"$imagepolicy"`

// Image is what a policy has chosen. Digest may be empty.
type Image struct{ Name, Tag, Digest string }

// String is the image as it stands in a container.
func (i Image) String() string {
	s := i.Name + ":" + i.Tag
	if i.Digest != "" {
		s += "@" + i.Digest
	}
	return s
}

// Object is the Kubernetes object that a value belongs to. Not every file holds one.
type Object struct{ Name, Namespace, APIVersion, Kind string }

// Change is one value that is other than before.
type Change struct {
	Object Object
	// Line of the value, the first is 1.
	Line     int
	Old, New string
	// Setter is the text of the marker, Image what its policy has chosen.
	Setter string
	Image  Image
}

// Skipped is a marker that nothing was written to.
type Skipped struct {
	Line   int
	Setter string
	Why    string
	// Missing says that the policy is not known.
	Missing bool
}

// Result of Apply.
type Result struct {
	// Content with the changes; that of before if there are none.
	Content []byte
	Changes []Change
	Skipped []Skipped
}

// Lookup returns the image of a policy.
type Lookup func(namespace, policy string) (Image, bool)

// Apply writes images to all markers of a file, which may hold several documents. An error says that the file is no
// YAML; then nothing is changed.
func Apply(content []byte, lookup Lookup) (Result, error) {
	out := Result{Content: content}
	documents, err := parse(content)
	if err != nil {
		return out, err
	}
	w := &writer{source: newSource(content), lookup: lookup, result: &out}
	for _, d := range documents {
		w.object = objectOf(d)
		w.visit(d)
	}
	next := w.write(content)
	if check(documents, next, w.edits) != nil && w.onlyLines() {
		next = w.write(content)
	}
	if err := check(documents, next, w.edits); err != nil {
		return Result{Content: content}, err
	}
	out.Content = next
	for _, e := range w.edits {
		out.Changes = append(out.Changes, e.change)
	}
	return out, nil
}

func parse(content []byte) (documents []*yaml.Node, err error) {
	for d := yaml.NewDecoder(bytes.NewReader(content)); ; {
		node := &yaml.Node{}
		if err := d.Decode(node); errors.Is(err, io.EOF) {
			return documents, nil
		} else if err != nil {
			return nil, err
		}
		documents = append(documents, node)
	}
}

// marker is what a comment says.
type marker struct{ setter, namespace, policy, field string }

// readMarker finds a marker in the comments of a node.
func readMarker(comments ...string) (marker, bool) {
	for _, comment := range comments {
		for line := range strings.SplitSeq(comment, "\n") {
			text := strings.TrimSpace(strings.TrimLeft(strings.TrimSpace(line), "#"))
			if !strings.Contains(text, Text) {
				continue
			}
			var fields map[string]any
			if json.Unmarshal([]byte(text), &fields) != nil {
				continue
			}
			if setter, ok := fields["$imagepolicy"].(string); ok {
				m := marker{setter: setter}
				parts := strings.SplitN(setter, ":", 3)
				if len(parts) >= 2 {
					m.namespace, m.policy = parts[0], parts[1]
				}
				if len(parts) == 3 {
					m.field = parts[2]
				}
				return m, true
			}
		}
	}
	return marker{}, false
}

// value is what the marker wants of an image.
func (m marker) value(i Image) (string, bool) {
	switch m.field {
	case "":
		return i.String(), !strings.HasSuffix(m.setter, ":")
	case "name":
		return i.Name, true
	case "tag":
		return i.Tag, true
	case "digest":
		return i.Digest, true
	}
	return "", false
}

// edit replaces the bytes from at to end.
type edit struct {
	node    *yaml.Node
	at, end int
	text    string
	value   string
	// fewer is how many lines the value takes less than before, lines that it went over more than one.
	fewer int
	lines bool
	// change and marker are what is told of it.
	change Change
	marker marker
}

// writer collects the edits of one file.
type writer struct {
	source *source
	lookup Lookup
	object Object
	edits  []edit
	result *Result
}

func (w *writer) visit(n *yaml.Node) {
	switch n.Kind {
	case yaml.ScalarNode:
		if m, ok := readMarker(n.LineComment, n.HeadComment); ok {
			w.set(n, m)
		} else {
			w.misplaced(n.LineComment, n.Line, `the marker is not the only thing in its comment, or no JSON`)
		}
	case yaml.MappingNode:
		w.misplaced(n.LineComment, n.Line, behindMany)
		for i := 0; i+1 < len(n.Content); i += 2 {
			key, value := n.Content[i], n.Content[i+1]
			why := "the value begins below its marker; write both in one line"
			if value.Kind == yaml.ScalarNode && value.Tag == "!!null" {
				why = `there is no value to write to; write "" before the marker`
			}
			w.misplaced(key.LineComment, key.Line, why)
			w.visit(value)
		}
	case yaml.AliasNode: // What it stands for is visited at its anchor.
		w.misplaced(n.LineComment, n.Line, fmt.Sprintf("the value is an alias; write the marker behind its anchor, &%s", n.Value))
	default: // Documents and sequences.
		w.misplaced(n.LineComment, n.Line, behindMany)
		for _, c := range n.Content {
			w.visit(c)
		}
	}
}

// behindMany is said of a marker behind a list or a mapping.
const behindMany = "the marker is behind more than one value; write each value with a marker in a line of its own"

// misplaced reports a comment behind a line that looks like a marker and is none that could be written to.
func (w *writer) misplaced(comment string, line int, why string) {
	m, ok := readMarker(comment)
	if !ok {
		brace := strings.IndexByte(comment, '{')
		if brace < 0 || !strings.Contains(comment[brace:], Text) {
			return
		}
		m.setter = comment[brace:]
	}
	_, known := w.lookup(m.namespace, m.policy)
	w.result.Skipped = append(w.result.Skipped, Skipped{Line: line, Setter: m.setter, Missing: m.policy != "" && !known, Why: why})
}

func (w *writer) skip(line int, m marker, why string) {
	w.result.Skipped = append(w.result.Skipped, Skipped{Line: line, Setter: m.setter, Why: why})
}

// set writes one value.
func (w *writer) set(n *yaml.Node, m marker) {
	if m.policy == "" || m.namespace == "" {
		w.skip(n.Line, m, "the marker is not of the form <namespace>:<policy>[:name|:tag|:digest]")
		return
	}
	image, ok := w.lookup(m.namespace, m.policy)
	if !ok {
		w.result.Skipped = append(w.result.Skipped, Skipped{Line: n.Line, Setter: m.setter, Missing: true,
			Why: fmt.Sprintf("there is no ImagePolicy '%s/%s' with a latest image", m.namespace, m.policy)})
		return
	}
	value, ok := m.value(image)
	if !ok {
		w.skip(n.Line, m, fmt.Sprintf("'%s' is none of name, tag and digest", m.field))
		return
	}
	if value == n.Value && n.Tag != "!!null" {
		return
	}
	e, why := w.source.replace(n, value)
	if why != "" {
		w.skip(n.Line, m, why)
		return
	}
	e.marker = m
	e.change = Change{Object: w.object, Line: n.Line, Old: n.Value, New: value, Setter: m.setter, Image: image}
	w.edits = append(w.edits, e)
}

// onlyLines leaves out the values that go over several lines, where the file would mean something else otherwise.
func (w *writer) onlyLines() (some bool) {
	w.edits = slices.DeleteFunc(w.edits, func(e edit) bool {
		if e.lines {
			w.skip(e.node.Line, e.marker, "the value goes over several lines; write it in one")
			some = true
		}
		return e.lines
	})
	return some
}

// encode writes a value in the style of the one before. A plain one that would be no string is put in quotes.
func encode(value string, style yaml.Style) string {
	if style&yaml.SingleQuotedStyle != 0 {
		return "'" + strings.ReplaceAll(value, "'", "''") + "'"
	}
	if style&yaml.DoubleQuotedStyle == 0 {
		if plain, err := yaml.Marshal(value); err == nil && strings.TrimSuffix(string(plain), "\n") == value {
			return value
		}
	}
	quoted, _ := json.Marshal(value) // A string always encodes.
	return string(quoted)
}

// write makes the edits.
func (w *writer) write(content []byte) []byte {
	slices.SortFunc(w.edits, func(a, b edit) int { return a.at - b.at })
	var b bytes.Buffer
	at := 0
	for _, e := range w.edits {
		b.Write(content[at:e.at])
		b.WriteString(e.text)
		at = e.end
	}
	b.Write(content[at:])
	return b.Bytes()
}

// objectOf reads who a document is about.
func objectOf(document *yaml.Node) (o Object) {
	if len(document.Content) == 0 {
		return o
	}
	root := document.Content[0]
	o.APIVersion, o.Kind = field(root, "apiVersion"), field(root, "kind")
	if metadata := find(root, "metadata"); metadata != nil {
		o.Name, o.Namespace = field(metadata, "name"), field(metadata, "namespace")
	}
	return o
}

func find(n *yaml.Node, key string) *yaml.Node {
	if n.Kind == yaml.MappingNode {
		for i := 0; i+1 < len(n.Content); i += 2 {
			if n.Content[i].Value == key {
				return n.Content[i+1]
			}
		}
	}
	return nil
}

func field(n *yaml.Node, key string) string {
	if v := find(n, key); v != nil && v.Kind == yaml.ScalarNode {
		return v.Value
	}
	return ""
}
