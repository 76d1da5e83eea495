package index

import (
	"fmt"
	"slices"

	"github.com/Masterminds/semver/v3"
)

// Pick returns the version that is meant: the one of exactly that name, or else the highest in the range. Of versions
// that differ in build metadata only, the one made last wins. An empty range is every stable version.
func Pick(chart, want string, list []Version) (Version, error) {
	for _, v := range list {
		if v.Version == want && want != "" {
			return v, nil
		}
	}
	if want == "" {
		want = "*"
	}
	rng, err := semver.NewConstraint(want)
	if err != nil {
		return Version{}, fmt.Errorf("version '%s': %w", want, err)
	}
	var best *semver.Version
	var found Version
	for _, v := range list {
		parsed, err := semver.NewVersion(v.Version)
		if err != nil || !rng.Check(parsed) {
			continue
		}
		if best == nil || parsed.GreaterThan(best) || parsed.Equal(best) && v.Created.After(found.Created.Time) {
			best, found = parsed, v
		}
	}
	if best == nil {
		return Version{}, &NoMatchError{Chart: chart, Version: want}
	}
	return found, nil
}

// NoMatchError says that no version of a chart is in a range.
type NoMatchError struct{ Chart, Version string }

// Error has the text that upstream's users know.
func (e *NoMatchError) Error() string {
	return fmt.Sprintf("no '%s' chart with version matching '%s' found", e.Chart, e.Version)
}

// PickTag is Pick for names alone, such as the tags of a registry.
func PickTag(chart, want string, tags []string) (string, error) {
	list := make([]Version, 0, len(tags))
	for _, t := range slices.Sorted(slices.Values(tags)) {
		list = append(list, Version{Version: t})
	}
	v, err := Pick(chart, want, list)
	return v.Version, err
}
