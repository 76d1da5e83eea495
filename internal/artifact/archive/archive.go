// Package archive turns a tree of files into a reproducible tar.gz whose cost follows the change.
//
// The tar stream is a pure function of what the tree holds and of the ignore rules: "." first, then
// all entries in lexical walk order, plain ustar where names allow, directories 0750, files 0600,
// executables 0700, owners and times zero, links and devices left out. It ends in two zero blocks.
//
// The gzip stream is a sequence of members, which is one valid gzip file. Where members begin is
// decided by the tree alone, never by history: a directory whose content takes MemberSize or more
// begins and ends its own members, smaller ones are packed together with their neighbours, and long
// runs of entries are cut where a hash of a path says so, so that a file that comes or goes moves
// only the cut next to it. A member is named by a hash over everything that it holds. A Builder
// keeps compressed members on disk and splices those that it has; for a tree that knows the ids of
// its directories (Git does) it also remembers what each directory came to, and so neither reads
// nor compresses what has not changed.
//
// The compressor is part of the format: see compress.go before you touch its version.
package archive

import (
	"context"
	"errors"
	"fmt"
	"io"
	"runtime"

	"github.com/gitops-toolkit/flux/internal/artifact/ignore"
)

// Kind says what an entry of a tree is.
type Kind uint8

// The kinds of entries.
const (
	// Other is what archives leave out: devices, submodules.
	Other Kind = iota
	File
	Executable
	Dir
	// Link is a symbolic link, which archives leave out too, and tell of.
	Link
)

// maxLinks is how many links a Summary names.
const maxLinks = 100

// Entry is one name in a directory of a tree.
type Entry struct {
	// Name within its directory.
	Name string
	Kind Kind
	// Size of a file in bytes, -1 if it takes work to know; Tree.Size is then asked when needed.
	Size int64
	// ID names the content: equal ids mean equal content, for a directory all the way down. It may
	// be empty for a directory, never for a file.
	ID string
}

// Tree is a tree of files to archive. Its content must not change meanwhile. Open and Size must be
// safe for concurrent use.
type Tree interface {
	// Root returns the id of the root directory, empty when unknown.
	Root() string
	// ReadDir lists a directory in any order. dir is a slash path, "." is the root; id is the id
	// that the directory has in its parent's listing.
	ReadDir(ctx context.Context, dir, id string) ([]Entry, error)
	// Size returns the size in bytes of a file.
	Size(ctx context.Context, path, id string) (int64, error)
	// Open returns the content of a file. A reader should fail rather than end early or give other
	// content than id names.
	Open(ctx context.Context, path, id string) (io.ReadCloser, error)
}

// Ignore says which files of a tree to leave out; see package ignore.
type Ignore struct {
	// Spec holds patterns that win over all others, as in spec.ignore.
	Spec string
	// SourceIgnore honours the .sourceignore files of the tree.
	SourceIgnore bool
	// Defaults leaves out files that deployments do not need, unless somebody wrote a pattern.
	Defaults bool
	// Nothing is left out, not even files of version control; it rules out the other fields.
	Nothing bool
}

// Options configure a Builder. The zero value works.
type Options struct {
	// Members caches compressed members; nil compresses everything each time.
	Members *Members
	// Workers is the number of members compressed at once, 0 for as many as there are CPUs but at
	// most 2. It needs Members.
	Workers int
	// MaxEntries limits the entries of one archive, 0 for DefaultMaxEntries.
	MaxEntries int
	// MaxBytes limits the uncompressed size of one archive, 0 for DefaultMaxBytes.
	MaxBytes int64
}

// Limits of an archive unless Options say otherwise.
const (
	DefaultMaxEntries = 250_000
	DefaultMaxBytes   = 16 << 30
	maxDepth          = 128
	maxPath           = 4096
)

// ErrLimit is wrapped by errors about a tree that is too large or too deep.
var ErrLimit = errors.New("archive limit exceeded")

// Summary tells what an archive holds and what it cost.
type Summary struct {
	// Entries of the archive, directories included.
	Entries int
	// Bytes of the tar stream, but for the extra headers of very long and foreign names.
	Bytes int64
	// Members of the gzip stream, and how many of them were spliced from the cache.
	Members, Reused int
	// Links are symbolic links that were left out of the directories that had to be read, at most a hundred.
	Links []string
}

// Builder writes archives. It is safe for concurrent use and meant to be shared by a process.
type Builder struct {
	opts    Options
	records *records
}

// NewBuilder returns a builder.
func NewBuilder(opts Options) *Builder {
	if opts.Workers <= 0 {
		opts.Workers = defaultWorkers()
	}
	if opts.MaxEntries <= 0 {
		opts.MaxEntries = DefaultMaxEntries
	}
	if opts.MaxBytes <= 0 {
		opts.MaxBytes = DefaultMaxBytes
	}
	return &Builder{opts: opts, records: newRecords()}
}

// Write writes the archive of a tree. When it fails, what it wrote is worthless. A limit or a bad
// name in the tree is named in the error with its path.
func (b *Builder) Write(ctx context.Context, w io.Writer, tree Tree, ig Ignore) (Summary, error) {
	rules, err := b.rules(ctx, tree, ig)
	if err != nil {
		return Summary{}, fmt.Errorf("cannot read ignore rules: %w", err)
	}
	p := &planner{tree: tree, records: b.records, members: b.opts.Members, useFiles: ig.SourceIgnore, maxEntries: b.opts.MaxEntries, maxBytes: b.opts.MaxBytes}
	defer p.release()
	plan, err := p.plan(ctx, rules)
	if err != nil {
		return Summary{}, err
	}
	s := &splicer{planner: p, members: b.opts.Members, workers: b.opts.Workers}
	if err := s.fill(ctx, plan); err != nil {
		return Summary{}, err
	}
	if err := s.write(ctx, w, plan); err != nil {
		return Summary{}, err
	}
	return Summary{Entries: p.entries, Bytes: p.bytes + tarEnd, Members: len(plan) + 1, Reused: s.reused, Links: p.links}, nil
}

// rules returns the rules in effect at the root of a tree.
func (b *Builder) rules(ctx context.Context, tree Tree, ig Ignore) (*ignore.Rules, error) {
	if ig.Nothing {
		return ignore.Only(nil), nil
	}
	spec, err := ignore.Parse(ig.Spec, ".")
	if err != nil {
		return nil, fmt.Errorf("spec.ignore: %w", err)
	}
	defaults := ig.Defaults && len(spec) == 0
	if defaults && ig.SourceIgnore {
		found, err := (&scanner{tree: tree, records: b.records}).anyPattern(ctx, ".", tree.Root(), 0)
		if err != nil {
			return nil, err
		}
		defaults = !found
	}
	return ignore.New(spec, defaults), nil
}

func defaultWorkers() int {
	return min(2, runtime.GOMAXPROCS(0))
}
