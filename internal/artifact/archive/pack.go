package archive

import (
	"crypto/sha256"
	"fmt"
	"hash"
)

// packer packs the units of one directory into members.
type packer struct {
	planner *planner
	entries int
	bytes   int64

	// run holds the units since the last large subdirectory, cuts where its members end.
	run     []unit
	cuts    []int
	open    int64
	members []member
}

func (k *packer) add(u unit) {
	k.entries++
	k.bytes += u.bytes
	k.open += u.bytes
	k.run = append(k.run, u)
	if k.open >= maxMember || k.open >= MemberSize && cutAfter(u) {
		k.cuts = append(k.cuts, len(k.run))
		k.open = 0
	}
}

// splice puts in a large directory, which has members of its own.
func (k *packer) splice(n node) {
	k.flush()
	k.entries += n.entries
	k.bytes += n.bytes
	k.members = append(k.members, n.members...)
}

// flush turns the run into members. A rest that is too small joins the member before it.
func (k *packer) flush() {
	if n := len(k.cuts); k.open > 0 && k.open < MemberSize && n > 0 {
		k.cuts = k.cuts[:n-1]
	}
	if k.open > 0 {
		k.cuts = append(k.cuts, len(k.run))
	}
	start := 0
	for _, end := range k.cuts {
		k.members = append(k.members, k.member(k.run[start:end:end]))
		start = end
	}
	k.run, k.cuts, k.open = nil, nil, 0
}

// member names a member, and lets go of its units if the cache has it.
func (k *packer) member(units []unit) member {
	m := member{key: contentOf(units)}
	if !k.planner.pin(m.key) {
		m.units = units
	}
	return m
}

// close returns what the directory came to. A small one is named but not packed.
func (k *packer) close(large bool) node {
	n := node{record: record{entries: k.entries, bytes: k.bytes}}
	if k.bytes < MemberSize && !large {
		n.content = contentOf(k.run)
		return n
	}
	k.flush()
	n.members = k.members
	n.record.members = make([]sum, len(k.members))
	for i, m := range k.members {
		n.record.members[i] = m.key
	}
	return n
}

// contentOf names a sequence of units: everything that the compressed bytes depend on.
func contentOf(units []unit) sum {
	h := sha256.New()
	fmt.Fprintln(h, formatVersion)
	for _, u := range units {
		u.hash(h)
	}
	return sum(h.Sum(nil))
}

func (u unit) hash(h hash.Hash) {
	if u.whole {
		fmt.Fprintf(h, "whole %q %x\n", u.path, u.content)
		return
	}
	fmt.Fprintf(h, "%d %q %d %q\n", u.entry.Kind, u.path, u.entry.Size, u.entry.ID)
}
