package cli

import (
	"bytes"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/gitops-toolkit/flux/internal/cli/session"
)

// wantedCommand is a block of the table of commands.
type wantedCommand struct {
	aliases []string
	flags   map[string]wantedFlag
}

type wantedFlag struct {
	shorthand, kind, value string
	hidden                 bool
}

// TestCommandsAndFlags compares our tree of commands with the table. testdata/missing.txt lists
// what we lack, one `command` or `command --flag` a line; what is listed but there is an error,
// so that the list only shrinks. Commands and flags that the table does not have are listed in
// testdata/ours.txt.
func TestCommandsAndFlags(t *testing.T) {
	t.Setenv("FLUXCD_PLUGINS", t.TempDir())
	t.Setenv("HOME", "/home/someone")
	wanted := readTable(t)
	have := map[string]*cobra.Command{}
	root := newRoot(session.New(strings.NewReader(""), &bytes.Buffer{}, &bytes.Buffer{}))
	root.InitDefaultCompletionCmd("x")
	collect(root, have)
	missing, ours := readLines(t, "testdata/missing.txt"), readLines(t, "testdata/ours.txt")
	var lacking, extra []string
	for path, want := range wanted {
		cmd := have[path]
		if cmd == nil {
			lacking = append(lacking, path)
			continue
		}
		if got := slices.Sorted(slices.Values(cmd.Aliases)); !slices.Equal(got, want.aliases) {
			t.Errorf("%s: aliases %v, want %v", path, got, want.aliases)
		}
		l, e := compareFlags(t, path, cmd, want)
		lacking, extra = append(lacking, l...), append(extra, e...)
	}
	for path := range have {
		if _, ok := wanted[path]; !ok {
			extra = append(extra, path)
		}
	}
	compareList(t, "testdata/missing.txt", lacking, missing)
	compareList(t, "testdata/ours.txt", extra, ours)
}

func compareFlags(t *testing.T, path string, cmd *cobra.Command, want wantedCommand) (lacking, extra []string) {
	t.Helper()
	own := map[string]*pflag.Flag{}
	for _, set := range []*pflag.FlagSet{cmd.LocalNonPersistentFlags(), cmd.PersistentFlags()} {
		set.VisitAll(func(f *pflag.Flag) {
			if f.Name != "help" {
				own[f.Name] = f
			}
		})
	}
	for name, w := range want.flags {
		f := own[name]
		if f == nil {
			lacking = append(lacking, path+" --"+name)
			continue
		}
		// Our images come from a registry of our own (DESIGN section 2).
		w.value = strings.Replace(w.value, "ghcr.io/fluxcd", "ghcr.io/gitops-toolkit", 1)
		got := wantedFlag{f.Shorthand, f.Value.Type(), strings.Replace(f.DefValue, "/home/someone", "$HOME", 1), f.Hidden || f.Deprecated != ""}
		if got.hidden && !w.hidden {
			extra = append(extra, path+" --"+name+" (hidden)")
			got.hidden = false
		}
		if got != w {
			t.Errorf("%s --%s: %+v, want %+v", path, name, got, w)
		}
	}
	for name := range own {
		if _, ok := want.flags[name]; !ok {
			extra = append(extra, path+" --"+name)
		}
	}
	return lacking, extra
}

func compareList(t *testing.T, file string, got, listed []string) {
	t.Helper()
	for _, line := range got {
		if !slices.Contains(listed, line) {
			t.Errorf("not in %s: %s", file, line)
		}
	}
	for _, line := range listed {
		if !slices.Contains(got, line) {
			t.Errorf("take out of %s, it no longer holds: %s", file, line)
		}
	}
}

func collect(cmd *cobra.Command, into map[string]*cobra.Command) {
	if cmd.Name() == "help" {
		return
	}
	into[cmd.CommandPath()] = cmd
	for _, child := range cmd.Commands() {
		collect(child, into)
	}
}

var (
	flagLine  = regexp.MustCompile(`^  --(\S+)(?: -(\w))? \| (.+?) \| default="(.*?)"(.*)$`)
	tableFile = filepath.Join("..", "facts", "cli.txt")
)

// readTable parses the blocks of the table of commands.
func readTable(t *testing.T) map[string]wantedCommand {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(recorded(t), tableFile))
	if err != nil {
		t.Skipf("no table of commands: %v", err)
	}
	table := map[string]wantedCommand{}
	var path string
	for line := range strings.Lines(string(data)) {
		line = strings.TrimRight(line, "\n")
		if name, ok := strings.CutPrefix(line, "## "); ok {
			path = name
			if strings.HasPrefix(path, "(table)") {
				return table
			}
			table[path] = wantedCommand{flags: map[string]wantedFlag{}}
			continue
		}
		if list, ok := strings.CutPrefix(line, "aliases: "); ok {
			cmd := table[path]
			cmd.aliases = slices.Sorted(slices.Values(strings.Split(list, ", ")))
			table[path] = cmd
		}
		if m := flagLine.FindStringSubmatch(line); m != nil {
			table[path].flags[m[1]] = wantedFlag{m[2], m[3], m[4], strings.Contains(m[5], "hidden") || strings.Contains(m[5], "deprecated")}
		}
	}
	return table
}

func readLines(t *testing.T, file string) []string {
	t.Helper()
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var lines []string
	for line := range strings.Lines(string(data)) {
		if line = strings.TrimSpace(line); line != "" && !strings.HasPrefix(line, "#") {
			lines = append(lines, line)
		}
	}
	return lines
}

// TestHelp: every command explains itself, and every flag.
func TestHelp(t *testing.T) {
	have := map[string]*cobra.Command{}
	collect(newRoot(session.New(strings.NewReader(""), &bytes.Buffer{}, &bytes.Buffer{})), have)
	for path, cmd := range have {
		if cmd.Short == "" {
			t.Errorf("%s has no line of help", path)
		}
		if cmd.Runnable() && cmd.Example == "" && !cmd.Hidden && cmd.GroupID == "" {
			t.Errorf("%s has no example", path)
		}
		cmd.LocalFlags().VisitAll(func(f *pflag.Flag) {
			if f.Usage == "" {
				t.Errorf("%s --%s has no line of help", path, f.Name)
			}
		})
	}
}
