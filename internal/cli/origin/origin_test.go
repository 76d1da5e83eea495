package origin

import "testing"

func TestSame(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		a, b string
		same bool
	}{
		{"ssh://git@github.com/org/fleet", "https://github.com/org/fleet.git", true},
		{"git@github.com:org/fleet.git", "ssh://git@GitHub.com:22/org/fleet", true},
		{"https://user@github.com/org/fleet/", "https://github.com/org/fleet", true},
		{"https://github.com/org/fleet", "https://github.com/org/apps", false},
		{"", "", false},
	} {
		if Same(c.a, c.b) != c.same {
			t.Errorf("%s and %s: want %t", c.a, c.b, c.same)
		}
	}
}
