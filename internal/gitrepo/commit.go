package gitrepo

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/go-git/go-git/v5/plumbing"

	"github.com/gitops-toolkit/flux/internal/gitrepo/pack"
	"github.com/gitops-toolkit/flux/internal/gitrepo/signature"
)

// ErrNoChange is returned for a change that leaves every file as it is.
var ErrNoChange = errors.New("nothing to commit")

// Edit writes or deletes one file.
type Edit struct {
	// Path from the root, with slashes.
	Path    string
	Content []byte
	// Mode is ModeFile, ModeExecutable or ModeSymlink; 0 keeps that of the file, or means ModeFile.
	Mode Mode
	// Delete removes the file or directory, with directories that become empty.
	Delete bool
}

// Person is an author or a committer.
type Person struct {
	Name, Email string
	When        time.Time
}

// Draft describes a commit to make.
type Draft struct {
	// Base is the parent; nil makes the first commit of a repository or a branch of its own.
	Base  *Snapshot
	Edits []Edit
	// Author and Committer; an empty Committer is the Author.
	Author, Committer Person
	Message           string
	// Signer signs the commit, if set.
	Signer signature.Signer
}

// NewCommit is a commit with the objects that are new in it.
type NewCommit struct {
	Hash Hash
	// Tree is what its files are.
	Tree    Hash
	objects []pack.Object
}

// Existing is a commit that the remote has already, to move another ref to it.
func Existing(hash Hash) *NewCommit { return &NewCommit{Hash: hash} }

// Make makes the commit. Nothing is written anywhere.
func (d Draft) Make() (*NewCommit, error) {
	m := &maker{base: d.Base, seen: map[Hash]bool{}}
	root := plumbing.ZeroHash
	if d.Base != nil {
		root = d.Base.Root()
	}
	edits := map[string]Edit{}
	for _, e := range d.Edits {
		if err := checkPath(e.Path); err != nil {
			return nil, err
		}
		edits[e.Path] = e
	}
	tree, err := m.tree(root, edits)
	if err != nil {
		return nil, err
	}
	if tree == plumbing.ZeroHash {
		tree = m.add(plumbing.TreeObject, nil)
	}
	if d.Base != nil && tree == root {
		return nil, ErrNoChange
	}
	data, err := d.encode(tree)
	if err != nil {
		return nil, err
	}
	hash := m.add(plumbing.CommitObject, data)
	return &NewCommit{Hash: hash, Tree: tree, objects: m.objects}, nil
}

func checkPath(p string) error {
	for part := range strings.SplitSeq(p, "/") {
		if err := checkName(part); err != nil {
			return err
		}
	}
	return nil
}

// maker collects new objects.
type maker struct {
	base    *Snapshot
	objects []pack.Object
	seen    map[Hash]bool
}

func (m *maker) add(t pack.Type, data []byte) Hash {
	hash := plumbing.ComputeHash(t, data)
	if !m.seen[hash] {
		m.seen[hash] = true
		m.objects = append(m.objects, pack.Object{Type: t, Data: data})
	}
	return hash
}

// tree applies edits, by path relative to a directory, to the tree of that directory. The result is zero for an empty
// directory.
func (m *maker) tree(old Hash, edits map[string]Edit) (Hash, error) {
	var entries []Entry
	if old != plumbing.ZeroHash {
		var err error
		if entries, err = m.base.Tree(old); err != nil {
			return old, err
		}
	}
	below := map[string]map[string]Edit{}
	changed := false
	for p, e := range edits {
		name, rest, deeper := strings.Cut(p, "/")
		if deeper {
			if below[name] == nil {
				below[name] = map[string]Edit{}
			}
			below[name][rest] = e
			continue
		}
		var did bool
		entries, did = m.file(entries, name, e)
		changed = changed || did
	}
	for name, inner := range below {
		at := slices.IndexFunc(entries, func(e Entry) bool { return e.Name == name })
		dir := Hash{}
		if at >= 0 && entries[at].Mode == ModeDir {
			dir = entries[at].Hash
		}
		next, err := m.tree(dir, inner)
		if err != nil {
			return old, err
		}
		if next == dir {
			continue
		}
		changed = true
		entries = set(entries, Entry{Name: name, Mode: ModeDir, Hash: next})
	}
	switch {
	case !changed:
		return old, nil
	case len(entries) == 0:
		return plumbing.ZeroHash, nil
	}
	return m.add(plumbing.TreeObject, encodeTree(entries)), nil
}

// file applies one edit to the entries of its directory.
func (m *maker) file(entries []Entry, name string, e Edit) ([]Entry, bool) {
	at := slices.IndexFunc(entries, func(e Entry) bool { return e.Name == name })
	if e.Delete {
		return slices.DeleteFunc(entries, func(e Entry) bool { return e.Name == name }), at >= 0
	}
	next := Entry{Name: name, Mode: e.Mode, Hash: plumbing.ComputeHash(plumbing.BlobObject, e.Content)}
	if next.Mode == 0 && at >= 0 && entries[at].Mode == ModeExecutable {
		next.Mode = ModeExecutable
	}
	next.Mode = cmp.Or(next.Mode, ModeFile)
	if at >= 0 && entries[at] == next {
		return entries, false
	}
	m.add(plumbing.BlobObject, e.Content)
	return set(entries, next), true
}

// set replaces an entry, adds it, or, with a zero hash, removes it.
func set(entries []Entry, e Entry) []Entry {
	entries = slices.DeleteFunc(entries, func(o Entry) bool { return o.Name == e.Name })
	if e.Hash == plumbing.ZeroHash {
		return entries
	}
	return append(entries, e)
}

// encodeTree writes a tree in Git's order, in which directories are compared as if they ended in a slash.
func encodeTree(entries []Entry) []byte {
	key := func(e Entry) string {
		if e.Mode == ModeDir {
			return e.Name + "/"
		}
		return e.Name
	}
	slices.SortFunc(entries, func(a, b Entry) int { return strings.Compare(key(a), key(b)) })
	var b bytes.Buffer
	for _, e := range entries {
		fmt.Fprintf(&b, "%o %s\x00", uint32(e.Mode), e.Name)
		b.Write(e.Hash[:])
	}
	return b.Bytes()
}

// encode writes the commit, signed if wanted.
func (d Draft) encode(tree Hash) ([]byte, error) {
	if strings.ContainsRune(d.Message, 0) || strings.TrimSpace(d.Message) == "" {
		return nil, errors.New("a commit needs a message, without zero bytes")
	}
	var head strings.Builder
	fmt.Fprintf(&head, "tree %s\n", tree)
	if d.Base != nil {
		fmt.Fprintf(&head, "parent %s\n", d.Base.Revision().Commit)
	}
	committer := d.Committer
	if committer.Name == "" && committer.Email == "" {
		committer = d.Author
	}
	fmt.Fprintf(&head, "author %s\ncommitter %s\n", d.Author, committer)
	body := "\n" + strings.TrimRight(d.Message, "\n") + "\n"
	if d.Signer == nil {
		return []byte(head.String() + body), nil
	}
	sig, err := d.Signer.Sign([]byte(head.String() + body))
	if err != nil {
		return nil, err
	}
	sig = strings.ReplaceAll(strings.TrimRight(sig, "\n"), "\n", "\n ")
	return []byte(head.String() + "gpgsig " + sig + "\n" + body), nil
}

// String is the person as a commit has it.
func (p Person) String() string {
	clean := func(s string) string {
		return strings.TrimSpace(strings.Map(func(r rune) rune {
			if r < ' ' || r == '<' || r == '>' {
				return -1
			}
			return r
		}, s))
	}
	return fmt.Sprintf("%s <%s> %d %s", clean(p.Name), clean(p.Email), p.When.Unix(), p.When.Format("-0700"))
}
