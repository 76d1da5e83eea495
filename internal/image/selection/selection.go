// Package selection picks the latest of many tags: a filter passes some over and tells what of each is compared, a
// policy orders what is left. The same tags always give the same answer, in whatever order they come.
package selection

import (
	"errors"
	"fmt"
	"math"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/Masterminds/semver/v3"
)

var (
	// ErrSpec is wrapped when no list of tags could have a latest one: the policy itself makes no sense.
	ErrSpec = errors.New("invalid policy")
	// ErrEmpty says that there is no tag to choose from.
	ErrEmpty = errors.New("version list argument cannot be empty")
	// ErrNoMatch says that no tag is in the range.
	ErrNoMatch = errors.New("unable to determine latest version from provided list")
)

// Filter passes over tags. The zero value passes over none.
type Filter struct {
	// Pattern is a regular expression, searched for anywhere in a tag.
	Pattern string
	// Extract is a template over the groups of Pattern; its result is what is compared. Empty: the tag.
	Extract string
}

// Policy says which tag is the latest. Exactly one field is set.
type Policy struct {
	// SemVer is a range of versions.
	SemVer string
	// Alphabetical and Numerical are asc (the greatest is the latest) or desc (the least is).
	Alphabetical, Numerical string
}

// Selector is a filter and a policy that were found to make sense.
type Selector struct {
	pattern *regexp.Regexp
	extract string
	latest  func(candidates []candidate) (candidate, error)
}

// candidate is a tag, and what of it is compared.
type candidate struct{ tag, text string }

// New checks filter and policy. Errors are ErrSpec.
func New(f Filter, p Policy) (*Selector, error) {
	s := &Selector{extract: f.Extract}
	var err error
	if s.latest, err = p.compile(); err != nil {
		return nil, err
	}
	if f.Pattern != "" {
		if s.pattern, err = regexp.Compile(f.Pattern); err != nil {
			return nil, specError{fmt.Errorf("failed to filter tags: invalid regular expression pattern '%s': %w", f.Pattern, err)}
		}
	}
	return s, nil
}

// specError is an ErrSpec with a text of its own.
type specError struct{ error }

func (e specError) Is(target error) bool { return target == ErrSpec }
func (e specError) Unwrap() error        { return e.error }

func (p Policy) compile() (func([]candidate) (candidate, error), error) {
	given := 0
	for _, field := range []string{p.SemVer, p.Alphabetical, p.Numerical} {
		if field != "" {
			given++
		}
	}
	if given != 1 {
		return nil, specError{errors.New("invalid policy: given ImagePolicyChoice object is invalid; set exactly one of semver, alphabetical and numerical in spec.policy")}
	}
	if p.SemVer != "" {
		constraint, err := semver.NewConstraint(p.SemVer)
		if err != nil {
			return nil, specError{fmt.Errorf("invalid policy: spec.policy.semver.range '%s': %w", p.SemVer, err)}
		}
		return func(list []candidate) (candidate, error) { return highest(constraint, list) }, nil
	}
	order := strings.ToLower(p.Alphabetical + p.Numerical)
	if order != "asc" && order != "desc" {
		return nil, specError{fmt.Errorf("invalid policy: order '%s' is neither asc nor desc", p.Alphabetical+p.Numerical)}
	}
	if p.Alphabetical != "" {
		return func(list []candidate) (candidate, error) { return alphabetical(order == "desc", list), nil }, nil
	}
	return func(list []candidate) (candidate, error) { return numerical(order == "desc", list) }, nil
}

// Latest returns the tag that the policy picks.
func (s *Selector) Latest(tags []string) (string, error) {
	list := s.candidates(tags)
	if len(list) == 0 {
		return "", ErrEmpty
	}
	best, err := s.latest(list)
	return best.tag, err
}

// candidates are sorted by tag, descending. Of several tags that are compared as the same, the first stands for all.
func (s *Selector) candidates(tags []string) []candidate {
	sorted := slices.Clone(tags)
	slices.SortFunc(sorted, func(a, b string) int { return strings.Compare(b, a) })
	list := make([]candidate, 0, len(sorted))
	if s.pattern == nil {
		for _, tag := range sorted {
			list = append(list, candidate{tag, tag})
		}
		return list
	}
	seen := map[string]bool{}
	for _, tag := range sorted {
		groups := s.pattern.FindStringSubmatchIndex(tag)
		if groups == nil {
			continue
		}
		text := tag
		if s.extract != "" {
			text = string(s.pattern.ExpandString(nil, s.extract, tag, groups))
		}
		if !seen[text] {
			seen[text] = true
			list = append(list, candidate{tag, text})
		}
	}
	return list
}

// highest is the highest version in the range; what is no version with three parts is passed over.
func highest(constraint *semver.Constraints, list []candidate) (best candidate, err error) {
	var top *semver.Version
	for _, c := range list {
		v := version(c.text)
		if v != nil && constraint.Check(v) && (top == nil || v.GreaterThan(top)) {
			top, best = v, c
		}
	}
	if top == nil {
		return best, ErrNoMatch
	}
	return best, nil
}

// version reads major.minor.patch, with a leading v and zeros before a number if need be.
func version(text string) *semver.Version {
	core, _, _ := strings.Cut(text, "+")
	core, _, _ = strings.Cut(core, "-")
	if strings.Count(core, ".") != 2 {
		return nil
	}
	v, err := semver.NewVersion(text)
	if err != nil {
		return nil
	}
	return v
}

func alphabetical(least bool, list []candidate) candidate {
	best := list[0]
	for _, c := range list[1:] {
		if least == (c.text < best.text) && c.text != best.text {
			best = c
		}
	}
	return best
}

func numerical(least bool, list []candidate) (best candidate, err error) {
	top := math.NaN()
	for _, c := range list {
		n, err := strconv.ParseFloat(c.text, 64)
		if err != nil || math.IsNaN(n) {
			return best, fmt.Errorf("failed to parse invalid numeric value '%s'; pass tags that are no numbers over with spec.filterTags", c.text)
		}
		if math.IsNaN(top) || n != top && least == (n < top) {
			top, best = n, c
		}
	}
	return best, nil
}
