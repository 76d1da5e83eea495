package gitrepo

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/Masterminds/semver/v3"
	"github.com/go-git/go-git/v5/plumbing"

	"github.com/gitops-toolkit/flux/internal/gitrepo/wire"
)

// DefaultBranch is what an empty Reference means.
const DefaultBranch = "master"

// Reference says which commit is wanted. If several fields are set, Commit wins over Name, Name over Tag,
// Tag over SemVer, SemVer over Branch; Branch or Name beside Commit say where the commit belongs.
type Reference struct {
	Branch string
	Tag    string
	// SemVer is a range; the tag with the highest version in it is wanted.
	SemVer string
	// Name is any full ref name, such as refs/pull/1/head; the suffix ^{} means what an annotated tag
	// points at, which is what is taken anyway.
	Name string
	// Commit is a full SHA-1.
	Commit string
}

// Revision is a reference that was looked up.
type Revision struct {
	// Name is how the reference is called in the revision's text: "main", "v1.2.3", "refs/pull/1/head",
	// or "" for a commit alone.
	Name string
	// Commit is what it means.
	Commit Hash
	// Tag is the annotated tag's own object, and zero where there is none.
	Tag Hash

	ref    string   // the remote's name for it
	within []string // for a commit: prefixes of the refs one of which must reach it
}

// String is the text that the world knows, such as main@sha1:<40 digits>.
func (r Revision) String() string {
	hash := "sha1:" + r.Commit.String()
	if r.Name == "" {
		return hash
	}
	return r.Name + "@" + hash
}

// String describes the reference for messages.
func (r Reference) String() string {
	switch {
	case r.Commit != "":
		return "commit " + r.Commit
	case r.Name != "":
		return r.Name
	case r.Tag != "":
		return "tag " + r.Tag
	case r.SemVer != "":
		return "semver " + r.SemVer
	}
	return "branch " + cmp.Or(r.Branch, DefaultBranch)
}

// refName is the remote's name of the one ref that is meant, "" if that takes a choice.
func (r Reference) refName() string {
	switch {
	case r.Name != "":
		return strings.TrimSuffix(r.Name, "^{}")
	case r.Tag != "":
		return "refs/tags/" + r.Tag
	case r.SemVer != "":
		return ""
	}
	return "refs/heads/" + cmp.Or(r.Branch, DefaultBranch)
}

// title is the name in the revision's text.
func (r Reference) title() string {
	return cmp.Or(r.Name, r.Tag, r.Branch, DefaultBranch)
}

// fixed is the revision of a reference to a commit: it needs no look at the remote.
func (r Reference) fixed() (Revision, error) {
	if !plumbing.IsHash(r.Commit) || len(r.Commit) != 40 {
		return Revision{}, commitError{r.Commit, "it is not a full SHA-1 of 40 digits"}
	}
	rev := Revision{Name: cmp.Or(r.Name, r.Branch), Commit: plumbing.NewHash(r.Commit), ref: "commit"}
	switch {
	case r.Name != "":
		rev.within = []string{strings.TrimSuffix(r.Name, "^{}")}
	case r.Branch != "":
		rev.within = []string{"refs/heads/" + r.Branch}
	}
	return rev, nil
}

// safeRef tells whether a name can be a ref at all, and can stand on a line of the protocol.
func safeRef(name string) bool {
	return name != "" && len(name) < 1024 && !strings.ContainsFunc(name, func(r rune) bool { return r <= ' ' || r == 0x7f })
}

// refError has the wording that people know from the git program.
type refError struct{ ref string }

func (e refError) Error() string { return fmt.Sprintf("couldn't find remote ref %q", e.ref) }
func (refError) Unwrap() error   { return ErrReference }

// highest are the tags of a repository whose version is highest; more than one only if they differ in
// nothing but build metadata, or the way of writing.
func highest(refs []wire.Ref, semverRange string) ([]wire.Ref, error) {
	constraint, err := semver.NewConstraint(semverRange)
	if err != nil {
		return nil, fmt.Errorf("semver range '%s': %w", semverRange, err)
	}
	var best []wire.Ref
	var top *semver.Version
	for _, ref := range refs {
		v := parseVersion(strings.TrimPrefix(ref.Name, "refs/tags/"))
		if v == nil || !constraint.Check(v) {
			continue
		}
		switch c := compare(v, top); {
		case c > 0:
			top, best = v, []wire.Ref{ref}
		case c == 0:
			best = append(best, ref)
		}
	}
	if len(best) == 0 {
		return nil, noMatch(semverRange)
	}
	slices.SortFunc(best, func(a, b wire.Ref) int { return cmp.Compare(a.Name, b.Name) })
	return best, nil
}

type noMatch string

func (e noMatch) Error() string { return "no match found for semver: " + string(e) }
func (noMatch) Unwrap() error   { return ErrReference }

func compare(v, top *semver.Version) int {
	if top == nil {
		return 1
	}
	return v.Compare(top)
}

// parseVersion reads a version leniently: with or without v, leading zeros allowed, but of three parts.
func parseVersion(tag string) *semver.Version {
	core, _, _ := strings.Cut(tag, "+")
	core, _, _ = strings.Cut(core, "-")
	if strings.Count(core, ".") != 2 {
		return nil
	}
	v, err := semver.NewVersion(tag)
	if err != nil {
		return nil
	}
	return v
}
