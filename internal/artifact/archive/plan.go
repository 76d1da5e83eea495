package archive

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"fmt"

	"github.com/gitops-toolkit/flux/internal/artifact/ignore"
)

// The sizes of members, in bytes of tar. Changing one changes every digest.
const (
	// MemberSize is what a member holds at least, except where a large directory begins or ends.
	MemberSize = 256 << 10
	// maxMember is where a run of small entries is cut at the latest.
	maxMember = 2 << 20
	// cutWithin is how many bytes pass, on average, before an entry whose path asks for a cut. At
	// most every second entry does: were it each, members would be counted from the start of the
	// directory, and a new entry would move all those after it.
	cutWithin = 64 << 10

	tarBlock = 512
	tarEnd   = 2 * tarBlock
)

// unit is what the planner packs: one entry, or a small directory with all that it holds.
type unit struct {
	path  string
	entry Entry
	// whole says that the unit stands for all of a directory, read again when it is compressed.
	whole bool
	// rules in effect in the directory that holds the unit.
	rules   *ignore.Rules
	bytes   int64
	content sum
}

// member is a part of the archive that is compressed on its own. Units are nil if the cache has it.
type member struct {
	key   sum
	units []unit
}

// node is what a directory came to.
type node struct {
	record
	// members is nil for a small directory.
	members []member
}

// planner decides which members make up the archive of a tree.
type planner struct {
	tree       Tree
	records    *records
	members    *Members
	useFiles   bool
	maxEntries int
	maxBytes   int64

	entries int
	bytes   int64
	pinned  []sum
	links   []string
}

func (p *planner) plan(ctx context.Context, rules *ignore.Rules) ([]member, error) {
	root := unit{path: ".", entry: Entry{Kind: Dir, ID: p.tree.Root()}, rules: rules}
	n, err := p.dir(ctx, root, nil)
	return n.members, err
}

// release ends the claim on cached members.
func (p *planner) release() {
	for _, key := range p.pinned {
		p.members.release(key)
	}
	p.pinned = nil
}

// dir plans one directory. elements are those of its path; the root has none and is never small.
func (p *planner) dir(ctx context.Context, d unit, elements []string) (node, error) {
	key := p.recordKey(d)
	if n, found := p.recall(key, d, len(elements) > 0); found {
		return n, p.count(d.path, n.entries, n.bytes)
	}
	n, err := p.walk(ctx, d, elements)
	if err == nil && p.members != nil && d.entry.ID != "" {
		p.records.dirs.put(key, n.record)
	}
	return n, err
}

func (p *planner) walk(ctx context.Context, d unit, elements []string) (node, error) {
	children, err := p.children(ctx, d, elements)
	if err != nil {
		return node{}, err
	}
	if err := p.count(d.path, 1, tarBlock); err != nil {
		return node{}, err
	}
	pack := packer{planner: p}
	pack.add(header(d))
	for _, u := range children {
		if err := p.entry(ctx, &pack, u, append(elements[:len(elements):len(elements)], u.entry.Name)); err != nil {
			return node{}, err
		}
	}
	return pack.close(len(elements) == 0), nil
}

// header is the unit of a directory's own entry.
func header(d unit) unit {
	return unit{path: d.path, entry: Entry{Kind: Dir}, bytes: tarBlock}
}

// children returns what a directory holds and is not left out, in archive order.
func (p *planner) children(ctx context.Context, d unit, elements []string) ([]unit, error) {
	entries, err := readDir(ctx, p.tree, d.path, d.entry.ID, len(elements))
	if err != nil {
		return nil, err
	}
	rules, err := p.enter(ctx, d, entries)
	if err != nil {
		return nil, err
	}
	units := make([]unit, 0, len(entries))
	for _, e := range entries {
		here := append(elements[:len(elements):len(elements)], e.Name)
		switch {
		case e.Kind == Other, rules.Excluded(here, e.Kind == Dir):
		case e.Kind != Link:
			units = append(units, unit{path: join(d.path, e.Name), entry: e, rules: rules})
		case len(p.links) < maxLinks:
			p.links = append(p.links, join(d.path, e.Name))
		}
	}
	return units, nil
}

// enter returns the rules in effect in directory d.
func (p *planner) enter(ctx context.Context, d unit, entries []Entry) (*ignore.Rules, error) {
	if !p.useFiles {
		return d.rules, nil
	}
	patterns, err := patternsIn(ctx, p.tree, d.path, entries)
	if err != nil {
		return nil, fmt.Errorf("cannot read ignore rules: %w", err)
	}
	return d.rules.Enter(d.path, patterns), nil
}

// entry plans one entry of a directory.
func (p *planner) entry(ctx context.Context, pack *packer, u unit, elements []string) error {
	if u.entry.Kind == Dir {
		n, err := p.dir(ctx, u, elements)
		if err != nil {
			return err
		}
		if n.members != nil {
			pack.splice(n)
			return nil
		}
		u.whole, u.bytes, u.content = true, n.bytes, n.content
		pack.entries += n.entries - 1
		pack.add(u)
		return nil
	}
	if err := p.size(ctx, &u); err != nil {
		return err
	}
	u.bytes = tarBlock + (u.entry.Size+tarBlock-1)/tarBlock*tarBlock
	if err := p.count(u.path, 1, u.bytes); err != nil {
		return err
	}
	pack.add(u)
	return nil
}

// size makes sure that the size of a file is known.
func (p *planner) size(ctx context.Context, u *unit) error {
	if u.entry.Size >= 0 {
		return nil
	}
	if size, known := p.records.sizes.get(u.entry.ID); known {
		u.entry.Size = size
		return nil
	}
	size, err := p.tree.Size(ctx, u.path, u.entry.ID)
	if err != nil {
		return fmt.Errorf("cannot read file '%s': %w", clip(u.path), err)
	}
	u.entry.Size = size
	p.records.sizes.put(u.entry.ID, size)
	return nil
}

// count adds to the totals and holds them against the limits.
func (p *planner) count(path string, entries int, bytes int64) error {
	p.entries += entries
	p.bytes += bytes
	if p.entries > p.maxEntries {
		return fmt.Errorf("%w: more than %d entries at '%s'; exclude some with ignore rules", ErrLimit, p.maxEntries, clip(path))
	}
	if p.bytes > p.maxBytes {
		return fmt.Errorf("%w: more than %d bytes uncompressed at '%s'; exclude some with ignore rules", ErrLimit, p.maxBytes, clip(path))
	}
	return nil
}

func (p *planner) recordKey(d unit) sum {
	h := sha256.New()
	rules := d.rules.Key()
	fmt.Fprintf(h, "%s\n%q %q %x %v", formatVersion, d.path, d.entry.ID, rules, p.useFiles)
	return sum(h.Sum(nil))
}

// recall returns what is remembered of a directory, provided that the cache has all its members.
func (p *planner) recall(key sum, d unit, maySmall bool) (node, bool) {
	if p.members == nil || d.entry.ID == "" {
		return node{}, false
	}
	r, found := p.records.dirs.get(key)
	if !found || (r.members == nil && !maySmall) {
		return node{}, false
	}
	n := node{record: r}
	for _, k := range r.members {
		if !p.pin(k) {
			return node{}, false
		}
		n.members = append(n.members, member{key: k})
	}
	return n, true
}

// pin claims a cached member until release.
func (p *planner) pin(key sum) bool {
	if p.members == nil || !p.members.acquire(key) {
		return false
	}
	p.pinned = append(p.pinned, key)
	return true
}

// cutAfter reports whether an entry asks for a member to end with it.
func cutAfter(u unit) bool {
	h := sha256.Sum256([]byte(u.path))
	return int64(binary.BigEndian.Uint32(h[:])%cutWithin) < min(u.bytes, cutWithin/2)
}
