package registry

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"regexp"
	"strings"

	"github.com/Masterminds/semver/v3"
	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
)

// DefaultTag is what a reference without any field means.
const DefaultTag = "latest"

// Reference says which artifact of a repository is meant. Digest wins over SemVer, SemVer over Tag.
type Reference struct {
	// Digest of the manifest, sha256:<hex>.
	Digest string
	// SemVer is a range of versions.
	SemVer string
	// SemverFilter is a regular expression; tags that it does not match are left out before SemVer sees them.
	SemverFilter string
	// Tag by name.
	Tag string
	// PlusTags reads an underscore in a tag as the plus of a version, as charts are tagged.
	PlusTags bool
}

// Revision is what a reference means at the moment.
type Revision struct {
	// Tag is empty for a reference by digest.
	Tag string
	// Digest of the manifest, or of the index.
	Digest string
}

// String is <tag>@<digest>, or <digest>.
func (v Revision) String() string {
	if v.Tag == "" {
		return v.Digest
	}
	return v.Tag + "@" + v.Digest
}

// SelectTag returns the tag that is meant, "" for a reference by digest. A range needs the list of all tags.
func (r *Repository) SelectTag(ctx context.Context, ref Reference) (string, error) {
	switch {
	case ref.Digest != "":
		return "", nil
	case ref.SemVer == "":
		if ref.Tag == "" {
			return DefaultTag, nil
		}
		return ref.Tag, nil
	}
	pick, err := newSelector(ref)
	if err != nil {
		return "", err
	}
	if err := r.Tags(ctx, pick.add); err != nil {
		return "", err
	}
	if pick.best == nil {
		return "", fmt.Errorf("%w for semver: %s", ErrNoMatch, ref.SemVer)
	}
	return pick.tag, nil
}

// selector keeps the highest version among the tags that it is shown.
type selector struct {
	constraint *semver.Constraints
	filter     *regexp.Regexp
	plus       bool
	best       *semver.Version
	tag        string
}

func newSelector(ref Reference) (*selector, error) {
	constraint, err := semver.NewConstraint(ref.SemVer)
	if err != nil {
		return nil, fmt.Errorf("semver range '%s': %w", ref.SemVer, err)
	}
	s := &selector{constraint: constraint, plus: ref.PlusTags}
	if ref.SemverFilter != "" {
		if s.filter, err = regexp.Compile(ref.SemverFilter); err != nil {
			return nil, fmt.Errorf("semver filter '%s': %w", ref.SemverFilter, err)
		}
	}
	return s, nil
}

func (s *selector) add(tag string) {
	if s.filter != nil && !s.filter.MatchString(tag) {
		return
	}
	text := tag
	if s.plus {
		text = strings.ReplaceAll(tag, "_", "+")
	}
	v, err := semver.NewVersion(text)
	if err != nil || !s.constraint.Check(v) {
		return
	}
	// Of equal versions, such as 1.0.0 and v1.0.0, one is always preferred, whatever the order of the list.
	if s.best == nil || v.GreaterThan(s.best) || v.Equal(s.best) && tag > s.tag {
		s.best, s.tag = v, tag
	}
}

// Tags calls f with each tag of the repository.
func (r *Repository) Tags(ctx context.Context, f func(tag string)) error {
	ctx, cancel := context.WithCancel(ctx) // lets go of a page that could not be parsed
	defer cancel()
	lister, err := r.puller.Lister(ctx, r.name)
	if err != nil {
		return r.clean(err)
	}
	seen := 0
	last := ""
	for lister.HasNext() {
		page, err := lister.Next(ctx)
		if err != nil {
			return r.clean(err)
		}
		if page.Next != "" && page.Next == last {
			return fmt.Errorf("%w: the list of tags of '%s' has no end", ErrLimit, r.Name())
		}
		last = page.Next
		// An endless list of empty pages ends too.
		if seen += len(page.Tags) + 1; seen > r.pool.opts.Limits.Tags {
			return fmt.Errorf("%w: '%s' has more than %d tags", ErrLimit, r.Name(), r.pool.opts.Limits.Tags)
		}
		for _, tag := range page.Tags {
			f(tag)
		}
	}
	return nil
}

// Digest returns the digest of what a tag names: one HEAD request, and a GET where the registry does not answer that.
func (r *Repository) Digest(ctx context.Context, tag string) (string, error) {
	ref, err := name.NewTag(r.Name()+":"+tag, r.nameOptions()...)
	if err != nil {
		return "", fmt.Errorf("tag '%s': %w", tag, err)
	}
	desc, err := r.puller.Head(ctx, ref)
	if err == nil {
		return desc.Digest.String(), nil
	}
	var throttle *ThrottledError
	if ctx.Err() != nil || errors.As(err, &throttle) || errors.Is(err, ErrPlain) {
		return "", r.clean(err)
	}
	got, err := r.puller.Get(ctx, ref)
	if err != nil {
		return "", r.clean(err)
	}
	return got.Digest.String(), nil
}

func (r *Repository) nameOptions() []name.Option {
	if r.remote.Insecure {
		return []name.Option{name.Insecure}
	}
	return nil
}

// CheckDigest tells what is wrong with the digest of a manifest.
func CheckDigest(digest string) error {
	h, err := v1.NewHash(digest)
	if err != nil {
		return fmt.Errorf("digest '%s': %w", digest, err)
	}
	if h.Algorithm != "sha256" {
		return fmt.Errorf("digest '%s': the algorithm must be sha256", digest)
	}
	return nil
}

// Check tells what is wrong with a reference, without asking the registry.
func (ref Reference) Check() error {
	if ref.Digest != "" {
		return CheckDigest(ref.Digest)
	}
	if ref.SemVer == "" {
		_, err := name.NewTag("registry.example/name:" + cmp.Or(ref.Tag, DefaultTag))
		return err
	}
	_, err := newSelector(ref)
	return err
}
