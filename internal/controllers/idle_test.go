package controllers

import (
	"io"
	"slices"
	"strings"
	"testing"

	"github.com/go-logr/logr"
	"github.com/spf13/pflag"
)

// spy notes that the value of a flag was asked for.
type spy struct {
	pflag.Value
	asked map[string]bool
	name  string
}

func (s spy) String() string {
	s.asked[s.name] = true
	return s.Value.String()
}

// asked starts a controller as far as that goes without a cluster and returns the flags that it
// looked at.
func asked(t *testing.T, name string) map[string]bool {
	t.Helper()
	dir := t.TempDir()
	t.Setenv("TMPDIR", dir)
	args := []string{name, "--metrics-addr=0", "--health-addr=0"}
	if one, _ := Find(name); slices.ContainsFunc(one.Flags, func(f Flag) bool { return f.Name == "storage-path" }) {
		args = append(args, "--storage-path="+dir)
	}
	c := mustParse(t, args...)
	seen := map[string]bool{}
	c.chosen[0].values.flags.VisitAll(func(f *pflag.Flag) {
		if f.Value.Type() == "mapStringBool" {
			seen[f.Name] = true // read by type, never through its text
			return
		}
		f.Value = spy{f.Value, seen, f.Name}
	})
	if _, err := c.logger(io.Discard); err != nil {
		t.Fatal(err)
	}
	all, err := c.settings(logr.Discard())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.assemble(nowhere, all, logr.Discard()); err != nil {
		t.Fatal(err)
	}
	return seen
}

// A flag that nobody reads must say that it has no effect.
func TestFlagsWithoutEffectSaySo(t *testing.T) {
	for _, c := range All {
		read := asked(t, c.Name)
		for _, f := range c.Flags {
			said := strings.Contains(c.help(f), idleNote) || strings.Contains(f.Help, without)
			if !read[f.Name] && !said {
				t.Errorf("%s: nothing reads --%s, but its help does not say that it has no effect", c.Name, f.Name)
			}
		}
	}
}

func TestHelpNamesGates(t *testing.T) {
	kustomize, _ := Find("kustomize-controller")
	for _, f := range kustomize.Flags {
		if f.Name != "feature-gates" {
			continue
		}
		if text := kustomize.help(f); !strings.Contains(text, "DisableFailFastBehavior, DisableStatusPollerCache (no effect), ExternalArtifact") {
			t.Errorf("help of --feature-gates: %s", text)
		}
	}
}

func TestIdleNamesExist(t *testing.T) {
	t.Parallel()
	for _, c := range All {
		if c.Idle == nil || c.IdleGates == nil {
			t.Errorf("%s: Idle and IdleGates are required", c.Name)
		}
		if c.Register == nil {
			t.Errorf("%s serves nothing", c.Name)
		}
	}
}
