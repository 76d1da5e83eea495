package cache

import (
	"bufio"
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/gitops-toolkit/flux/internal/artifact/unpack"
)

// index knows a digest for each path of a tree.
type index struct {
	nodes []node // sorted by path, in the order of a walk
}

type node struct {
	path   string
	kind   byte
	digest [sha256.Size]byte
}

// Kinds of nodes, as written to disk.
const (
	fileNode       = 'f'
	executableNode = 'x'
	dirNode        = 'd'
)

const indexHeader = "flux artifact index 1"

// newIndex returns the index of what was unpacked.
func newIndex(result unpack.Result) *index {
	x := &index{nodes: make([]node, 0, len(result.Files)+len(result.Dirs)+1)}
	x.nodes = append(x.nodes, node{path: ".", kind: dirNode})
	for _, dir := range result.Dirs {
		x.nodes = append(x.nodes, node{path: dir, kind: dirNode})
	}
	for _, f := range result.Files {
		n := node{path: f.Path, kind: fileNode, digest: f.SHA256}
		if f.Executable {
			n.kind = executableNode
		}
		x.nodes = append(x.nodes, n)
	}
	slices.SortFunc(x.nodes, func(a, b node) int { return comparePaths(a.path, b.path) })
	x.sum()
	return x
}

// comparePaths sorts a directory right before what is in it; the root comes first.
func comparePaths(a, b string) int {
	switch {
	case a == b:
		return 0
	case a == ".":
		return -1
	case b == ".":
		return 1
	}
	n := min(len(a), len(b))
	for i := range n {
		if a[i] != b[i] {
			return cmp.Compare(rank(a[i]), rank(b[i]))
		}
	}
	return cmp.Compare(len(a), len(b))
}

// rank puts the separator before any other byte.
func rank(c byte) int {
	if c == '/' {
		return -1
	}
	return int(c)
}

// sum computes the digest of each directory from those of its children.
func (x *index) sum() {
	type open struct {
		node int
		hash io.Writer
		sum  func([]byte) []byte
	}
	var stack []open
	closeTop := func() {
		top := stack[len(stack)-1]
		stack = stack[:len(stack)-1]
		n := &x.nodes[top.node]
		top.sum(n.digest[:0])
		if len(stack) > 0 {
			n.hashInto(stack[len(stack)-1].hash)
		}
	}
	for i := range x.nodes {
		n := &x.nodes[i]
		for len(stack) > 0 && !within(n.path, x.nodes[stack[len(stack)-1].node].path) {
			closeTop()
		}
		if n.kind == dirNode {
			h := sha256.New()
			stack = append(stack, open{i, h, h.Sum})
			continue
		}
		n.hashInto(stack[len(stack)-1].hash)
	}
	for len(stack) > 0 {
		closeTop()
	}
}

// hashInto adds a finished node to the hash of its directory.
func (n *node) hashInto(w io.Writer) {
	fmt.Fprintf(w, "%c %q %x\n", n.kind, path.Base(n.path), n.digest)
}

// within reports whether name is below dir.
func within(name, dir string) bool {
	return dir == "." || len(name) > len(dir) && name[len(dir)] == '/' && name[:len(dir)] == dir
}

func (x *index) find(name string) (int, bool) {
	return slices.BinarySearchFunc(x.nodes, name, func(n node, name string) int { return comparePaths(n.path, name) })
}

// below returns the nodes below a directory, itself left out.
func (x *index) below(dir string) []node {
	i, found := x.find(dir)
	if !found {
		return nil
	}
	end := i + 1
	for end < len(x.nodes) && within(x.nodes[end].path, dir) {
		end++
	}
	return x.nodes[i+1 : end]
}

// write writes the index to a new file: a header, a line for each node, and a sum over all of it.
func (x *index) write(name string) (err error) {
	f, err := os.OpenFile(name, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o400)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	h := sha256.New()
	b := bufio.NewWriter(f)
	w := io.MultiWriter(b, h)
	fmt.Fprintln(w, indexHeader)
	for _, n := range x.nodes {
		fmt.Fprintf(w, "%c %x %s\n", n.kind, n.digest, strconv.Quote(n.path))
	}
	fmt.Fprintf(b, "%x\n", h.Sum(nil))
	return b.Flush()
}

var errIndex = errors.New("index of an unpacked artifact is damaged")

// readIndex reads the index of a published tree.
func readIndex(dir string) (*index, error) {
	data, err := os.ReadFile(filepath.Join(dir, indexName))
	if err != nil {
		return nil, err
	}
	return parseIndex(string(data))
}

func parseIndex(text string) (*index, error) {
	end := strings.LastIndexByte(strings.TrimSuffix(text, "\n"), '\n') + 1
	if sum := sha256.Sum256([]byte(text[:end])); hex.EncodeToString(sum[:])+"\n" != text[end:] {
		return nil, fmt.Errorf("%w: its sum is wrong", errIndex)
	}
	header, lines, _ := strings.Cut(text[:end], "\n")
	if header != indexHeader {
		return nil, fmt.Errorf("%w: unknown format %q", errIndex, header)
	}
	x := &index{nodes: make([]node, 0, strings.Count(lines, "\n"))}
	for line := range strings.Lines(lines) {
		n, err := parseNode(strings.TrimSuffix(line, "\n"))
		if err != nil {
			return nil, err
		}
		x.nodes = append(x.nodes, n)
	}
	return x, nil
}

func parseNode(line string) (n node, err error) {
	const digits = 2 * sha256.Size
	if len(line) < digits+4 {
		return n, fmt.Errorf("%w: line %q", errIndex, line)
	}
	n.kind = line[0]
	_, herr := hex.Decode(n.digest[:], []byte(line[2:2+digits]))
	n.path, err = strconv.Unquote(line[3+digits:])
	if err = errors.Join(herr, err); err != nil {
		return n, fmt.Errorf("%w: line %q: %w", errIndex, line, err)
	}
	return n, nil
}

// verify holds each file of a published tree against its index.
func verify(ctx context.Context, dir string) (*index, error) {
	x, err := readIndex(dir)
	if err != nil {
		return nil, err
	}
	root, err := os.OpenRoot(treeDir(dir))
	if err != nil {
		return nil, err
	}
	defer root.Close() //nolint:errcheck // read only
	for _, n := range x.nodes {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		if err := n.verify(root); err != nil {
			return nil, err
		}
	}
	return x, nil
}

func (n *node) verify(root *os.Root) error {
	if n.kind == dirNode {
		info, err := root.Lstat(n.path)
		if err == nil && !info.IsDir() {
			err = fmt.Errorf("'%s' is no directory", n.path)
		}
		return err
	}
	f, err := root.Open(n.path)
	if err != nil {
		return err
	}
	defer f.Close() //nolint:errcheck // read only
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		return err
	}
	if [sha256.Size]byte(h.Sum(nil)) != n.digest {
		return fmt.Errorf("'%s' has changed", n.path)
	}
	return nil
}
