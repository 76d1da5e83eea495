package export

import (
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// TestOurFields: every optional field of spec that api/differences.txt has below a heading that does
// not speak of older versions is dropped by --portable, and no other.
func TestOurFields(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("../../../api/differences.txt")
	if err != nil {
		t.Fatal(err)
	}
	line := regexp.MustCompile(`^\w+_(\w+) v\d\w*: \+spec\.([\w.\[\]]+)`)
	listed := map[string]bool{}
	heading := ""
	for l := range strings.Lines(string(text)) {
		if strings.HasPrefix(l, "#") {
			heading = l
		}
		m := line.FindStringSubmatch(l)
		if m == nil || m[2] == "type" || !strings.Contains(heading, "ours") && !strings.Contains(heading, "Ours") && !strings.Contains(l, "dependsOn") && !strings.Contains(l, "notification_") {
			continue
		}
		listed[m[1]+" "+m[2]] = true
	}
	have := 0
	for kind, fields := range ours {
		for _, field := range fields {
			have++
			if !listed[strings.ToLower(kind)+" "+field] {
				t.Errorf("api/differences.txt has no %s of %s", field, kind)
			}
		}
	}
	if have != len(listed) || have < 5 {
		t.Errorf("%d fields here, %v there", have, listed)
	}
	if !slices.Contains(ours["Receiver"], "matchRepository") {
		t.Error("matchRepository is ours")
	}
}
