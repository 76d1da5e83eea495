package selection_test

import (
	"errors"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/gitops-toolkit/flux/internal/image/selection"
)

func TestLatest(t *testing.T) {
	t.Parallel()
	semver := func(r string) selection.Policy { return selection.Policy{SemVer: r} }
	asc, desc := selection.Policy{Numerical: "asc"}, selection.Policy{Numerical: "desc"}
	for _, tc := range []struct {
		reason string
		filter selection.Filter
		policy selection.Policy
		tags   string
		want   string
		err    error
	}{
		{"the highest stable version", selection.Filter{}, semver(">=1.0.0"), "1.0.0 1.10.0 1.9.0 2.0.0-rc.1 latest", "1.10.0", nil},
		{"a range", selection.Filter{}, semver("5.0.x"), "5.0.1 5.0.3 5.1.0", "5.0.3", nil},
		{"prereleases where the range has one", selection.Filter{Pattern: ".*-rc.*"}, semver("^1.x-0"), "1.0.0 1.1.0-rc.1 1.1.0-rc.2 1.1.0", "1.1.0-rc.2", nil},
		{"two parts are no version", selection.Filter{}, semver("*"), "1.2 v1.1.0 9", "v1.1.0", nil},
		{"build metadata", selection.Filter{}, semver("*"), "1.0.0+a 0.9.0", "1.0.0+a", nil},
		{"nothing in the range", selection.Filter{}, semver(">=9.0.0"), "1.0.0", "", selection.ErrNoMatch},
		{"build tags", selection.Filter{Pattern: "^main-[a-fA-F0-9]+-(?P<ts>.*)", Extract: "$ts"}, asc, "main-abc-100 main-def-99 dev-abc-500", "main-abc-100", nil},
		{"the least number", selection.Filter{Pattern: "^n(.*)", Extract: "$1"}, desc, "n1.5 n-2 n1e3", "n-2", nil},
		{"a word is no number", selection.Filter{}, asc, "1 two", "", errAny},
		{"not a number is no number", selection.Filter{}, asc, "1 NaN", "", errAny},
		{"RFC 3339", selection.Filter{Pattern: `^RELEASE\.(?P<timestamp>.*)Z$`, Extract: "$timestamp"}, selection.Policy{Alphabetical: "asc"},
			"RELEASE.2020-01-01T00-00-00Z RELEASE.2021-01-01T00-00-00Z x", "RELEASE.2021-01-01T00-00-00Z", nil},
		{"the alphabet backwards, case of order ignored", selection.Filter{}, selection.Policy{Alphabetical: "DESC"}, "b a c", "a", nil},
		{"a suffix", selection.Filter{Pattern: `^(?P<semver>[0-9]*\.[0-9]*\.[0-9]*)-(alpine[0-9]*\.[0-9]*)`, Extract: "${semver}"}, semver(">=1.0.0"),
			"1.2.3-alpine3.18 1.2.4-alpine3.17 9.9.9", "1.2.4-alpine3.17", nil},
		{"two tags compared as the same", selection.Filter{Pattern: "^(1)-", Extract: "$1"}, asc, "1-a 1-b", "1-b", nil},
		{"no tags", selection.Filter{}, semver("*"), "", "", selection.ErrEmpty},
		{"none passes the filter", selection.Filter{Pattern: "^x"}, semver("*"), "1.0.0", "", selection.ErrEmpty},
	} {
		s, err := selection.New(tc.filter, tc.policy)
		if err != nil {
			t.Errorf("%s: %v", tc.reason, err)
			continue
		}
		list := strings.Fields(tc.tags)
		for range 5 {
			rand.Shuffle(len(list), func(i, j int) { list[i], list[j] = list[j], list[i] })
			before := slices.Clone(list)
			got, err := s.Latest(list)
			if got != tc.want && tc.err == nil || (err == nil) != (tc.err == nil) || tc.err != errAny && !errors.Is(err, tc.err) {
				t.Errorf("%s: %q, %v of %v", tc.reason, got, err, list)
			}
			if !slices.Equal(list, before) {
				t.Errorf("%s: the list was changed", tc.reason)
			}
		}
	}
}

var errAny = errors.New("any error")

func TestWhatMakesNoSense(t *testing.T) {
	t.Parallel()
	for reason, tc := range map[string]struct {
		filter selection.Filter
		policy selection.Policy
		want   string
	}{
		"no policy":    {selection.Filter{}, selection.Policy{}, "invalid policy: given ImagePolicyChoice object is invalid"},
		"two policies": {selection.Filter{}, selection.Policy{SemVer: "*", Numerical: "asc"}, "invalid policy: given ImagePolicyChoice object is invalid"},
		"a range":      {selection.Filter{}, selection.Policy{SemVer: "one"}, "range 'one'"},
		"an order":     {selection.Filter{}, selection.Policy{Alphabetical: "up"}, "order 'up'"},
		"a pattern":    {selection.Filter{Pattern: "("}, selection.Policy{SemVer: "*"}, "failed to filter tags: invalid regular expression pattern '('"},
	} {
		if _, err := selection.New(tc.filter, tc.policy); !errors.Is(err, selection.ErrSpec) || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%s: %v", reason, err)
		}
	}
}
