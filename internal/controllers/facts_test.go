package controllers

import (
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/spf13/pflag"
)

const facts = "/work/shared/facts/controllers.txt"

// factFlag is a row of the table: type and default as they stand there.
type factFlag struct{ kind, def, env string }

// readFacts returns the flags and the gates of every controller in the table.
func readFacts(t *testing.T) (flags map[string]map[string]factFlag, gates map[string]map[string]bool) {
	t.Helper()
	data, err := os.ReadFile(facts)
	if os.IsNotExist(err) {
		t.Skip("the tables are not on this machine")
	}
	if err != nil {
		t.Fatal(err)
	}
	groups := map[string]map[string]factFlag{}
	flags, gates = map[string]map[string]factFlag{}, map[string]map[string]bool{}
	members := map[string][]string{}
	var at map[string]factFlag
	group := regexp.MustCompile(`^## flag group (\w+)`)
	controller := regexp.MustCompile(`^## ([a-z-]+(?:-controller|-watcher))   \(([^)]*)\)`)
	gate := regexp.MustCompile(`^([a-z-]+): (\w+=(?:true|false).*)$`)
	for line := range strings.Lines(string(data)) {
		line = strings.TrimRight(line, "\n")
		switch {
		case group.MatchString(line):
			at = map[string]factFlag{}
			groups[group.FindStringSubmatch(line)[1]] = at
		case controller.MatchString(line):
			m := controller.FindStringSubmatch(line)
			at = map[string]factFlag{}
			flags[m[1]], members[m[1]] = at, strings.FieldsFunc(m[2], func(r rune) bool { return r == ' ' || r == ';' || r == ',' })
		case strings.HasPrefix(line, "## "):
			at = nil
		case strings.HasPrefix(line, "--") && at != nil:
			cols := strings.SplitN(line, "|", 3)
			at[strings.TrimSpace(cols[0])[2:]] = parseFact(cols[1], cols[2])
		case gate.MatchString(line):
			m := gate.FindStringSubmatch(line)
			gates[m[1]] = map[string]bool{}
			for _, g := range strings.Split(m[2], ", ") {
				name, on, _ := strings.Cut(g, "=")
				gates[m[1]][name] = on == "true"
			}
		}
	}
	for name, list := range members {
		for _, member := range list {
			if flag, isFlag := strings.CutPrefix(member, "--"); isFlag {
				flags[name][flag] = groups["WATCH"][flag]
			}
			for flag, f := range groups[member] {
				if _, own := flags[name][flag]; !own {
					flags[name][flag] = f
				}
			}
		}
	}
	return flags, gates
}

func parseFact(kind, def string) factFlag {
	f := factFlag{kind: strings.Fields(kind)[0]}
	fields := strings.Fields(def)
	f.def = strings.Trim(fields[0], `"`)
	if f.kind == "string(duration)" {
		f.kind = "string"
	}
	if m := environment.FindStringSubmatch(def); m != nil {
		f.env = m[1]
	}
	return f
}

var environment = regexp.MustCompile(`\[([A-Z_]+)\]`)

// ours are flags that the table does not have.
var ours = []string{"kubeconfig", "version", "drift-correction", "full-pass-interval", publicAddressesOnly.Name}

func TestFlagsEqualTheTable(t *testing.T) {
	want, gates := readFacts(t)
	if len(want) != len(All) {
		t.Fatalf("the table has %d controllers, we %d", len(want), len(All))
	}
	for _, c := range All {
		command, err := parse([]string{"/bin/" + c.Name}, os.Stdout)
		if err != nil {
			t.Fatal(err)
		}
		fs := command.chosen[0].values.flags
		for name, f := range want[c.Name] {
			got := fs.Lookup(name)
			if got == nil {
				t.Errorf("%s: no flag --%s", c.Name, name)
				continue
			}
			if got.Value.Type() != f.kind || got.DefValue != f.def && got.DefValue != "["+f.def+"]" {
				t.Errorf("%s: --%s is %s %q, the table says %s %q", c.Name, name, got.Value.Type(), got.DefValue, f.kind, f.def)
			}
			if i := slices.IndexFunc(c.Flags, func(x Flag) bool { return x.Name == name }); c.Flags[i].Env != f.env {
				t.Errorf("%s: --%s reads the variable %q, the table says %q", c.Name, name, c.Flags[i].Env, f.env)
			}
		}
		fs.VisitAll(func(f *pflag.Flag) {
			if _, known := want[c.Name][f.Name]; !known && !slices.Contains(ours, f.Name) {
				t.Errorf("%s: the table has no flag --%s", c.Name, f.Name)
			}
		})
		for name, on := range gates[c.Name] {
			if got, ok := c.Gates[name]; !ok || got != on {
				t.Errorf("%s: gate %s is %v (known %v), the table says %v", c.Name, name, got, ok, on)
			}
		}
		if len(gates[c.Name]) != len(c.Gates) {
			t.Errorf("%s: %d gates, the table has %s", c.Name, len(c.Gates), strconv.Itoa(len(gates[c.Name])))
		}
	}
}
