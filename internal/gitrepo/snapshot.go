package gitrepo

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync/atomic"
	"time"

	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/object"

	"github.com/gitops-toolkit/flux/internal/gitrepo/pack"
)

// objects is what reading needs of a pack.DB.
type objects interface {
	Has(Hash) bool
	Get(Hash) (pack.Type, []byte, error)
}

// Commit is what a commit says of itself.
type Commit struct {
	Hash    Hash
	Tree    Hash
	Author  string // with the address: Jo <jo@example.com>
	Time    time.Time
	Message string
	// Raw is the object as it is hashed and signed.
	Raw []byte
}

// Subject is the first line of the message.
func (c Commit) Subject() string {
	subject, _, _ := strings.Cut(strings.TrimSpace(c.Message), "\n")
	return strings.TrimSpace(subject)
}

// Snapshot is one commit for reading. It is safe for concurrent use, and must be closed.
type Snapshot struct {
	g       *generation
	rev     Revision
	commit  Commit
	left    atomic.Int64 // tree entries that may yet be handed out
	release func()
}

func newSnapshot(g *generation, rev Revision, entries int64) (*Snapshot, error) {
	commit, err := readCommit(g.db, rev.Commit)
	if err != nil {
		return nil, err
	}
	if !g.acquire() {
		return nil, ErrDamaged
	}
	s := &Snapshot{g: g, rev: rev, commit: commit, release: g.release}
	s.left.Store(entries)
	return s, nil
}

// Close lets go of the mirror.
func (s *Snapshot) Close() {
	if s.release != nil {
		s.release()
		s.release = nil
	}
}

// Revision is what was fetched.
func (s *Snapshot) Revision() Revision { return s.rev }

// Commit is what the commit says.
func (s *Snapshot) Commit() Commit { return s.commit }

// Root is the name of the root tree.
func (s *Snapshot) Root() Hash { return s.commit.Tree }

// Tag returns the annotated tag's own object, as it is hashed and signed; nil if there is none.
func (s *Snapshot) Tag() ([]byte, error) {
	if s.rev.Tag == plumbing.ZeroHash {
		return nil, nil
	}
	t, data, err := s.g.db.Get(s.rev.Tag)
	if err == nil && t != plumbing.TagObject {
		err = fmt.Errorf("%s is a %s, not a tag: %w", s.rev.Tag, t, pack.ErrCorrupt)
	}
	return data, s.check(err)
}

// Tree returns the entries of one directory in Git's order. Names that must not reach a disk are
// refused with ErrTree.
func (s *Snapshot) Tree(h Hash) ([]Entry, error) {
	t, data, err := s.g.db.Get(h)
	if err == nil && t != plumbing.TreeObject {
		err = fmt.Errorf("%s is a %s, not a tree: %w", h, t, pack.ErrCorrupt)
	}
	if err != nil {
		return nil, s.check(err)
	}
	entries, err := parseTree(data)
	if err != nil {
		return nil, s.check(err)
	}
	if s.left.Add(-int64(len(entries))) < 0 {
		return nil, fmt.Errorf("%w: too many entries", ErrTree)
	}
	return entries, nil
}

// Size returns the size of a blob without reading it.
func (s *Snapshot) Size(h Hash) (int64, error) {
	n, err := s.g.db.Stat(h)
	return n, s.check(err)
}

// Blob returns content and size of a file. Large files are streamed if the pack has them whole.
func (s *Snapshot) Blob(h Hash) (io.ReadCloser, int64, error) {
	t, size, r, err := s.g.db.Open(h)
	if err == nil && t != plumbing.BlobObject {
		_ = r.Close()
		err = fmt.Errorf("%s is a %s, not a blob: %w", h, t, pack.ErrCorrupt)
	}
	if err != nil {
		return nil, 0, s.check(err)
	}
	return &blobReader{ReadCloser: r, s: s}, size, nil
}

type blobReader struct {
	io.ReadCloser
	s *Snapshot
}

func (b *blobReader) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if err != nil && !errors.Is(err, io.EOF) {
		err = b.s.check(err)
	}
	return n, err
}

// check notes damage, so that the next fetch builds the mirror anew.
func (s *Snapshot) check(err error) error {
	if !damaged(err) {
		return err
	}
	s.g.damaged.Store(true)
	return fmt.Errorf("%w, the next attempt builds it anew: %w", ErrDamaged, err)
}

func readCommit(db objects, h Hash) (Commit, error) {
	c, data, err := decodeCommit(db, h)
	if err != nil {
		return Commit{}, err
	}
	return Commit{
		Hash: h, Tree: c.TreeHash, Author: fmt.Sprintf("%s <%s>", c.Author.Name, c.Author.Email),
		Time: c.Committer.When, Message: c.Message, Raw: bytes.Clone(data),
	}, nil
}

// decodeCommit reads a commit with go-git's parser; data is the object as it is hashed.
func decodeCommit(db objects, h Hash) (c object.Commit, data []byte, err error) {
	t, data, err := db.Get(h)
	if err != nil {
		return c, nil, err
	}
	if t != plumbing.CommitObject {
		return c, nil, fmt.Errorf("%w: %s is a %s, not a commit", ErrReference, h, t)
	}
	if plumbing.ComputeHash(t, data) != h {
		return c, nil, fmt.Errorf("commit %s reads as another: %w", h, pack.ErrCorrupt)
	}
	obj := &plumbing.MemoryObject{}
	obj.SetType(t)
	if _, err := obj.Write(data); err != nil {
		return c, nil, err
	}
	if err := c.Decode(obj); err != nil {
		return c, nil, fmt.Errorf("commit %s: %w", h, err)
	}
	return c, data, nil
}
