// Package plugin finds programs called flux-<name> and makes them words of the command line:
// `flux sandbox up` becomes `flux-sandbox up`. Looked at, in this order: the plugin directory,
// the directory of the flux program itself, PATH. Built-in words always win.
package plugin

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/gitops-toolkit/flux/internal/cli/ui"
)

const (
	// dirEnv names the plugin directory, $HOME/.fluxcd/plugins when unset.
	dirEnv = "FLUXCD_PLUGINS"
	prefix = "flux-"
	group  = "plugin"

	// Extends is the annotation of a built-in word that has some words of its own: all others are
	// those of the plugin of the same name.
	Extends = "gitops-toolkit.dev/extends-plugin"
)

// reserved names are programs of this toolkit, or words of cobra, that are no plugins.
var reserved = []string{"plugin", "help", "controller", "completion", cobra.ShellCompRequestCmd, cobra.ShellCompNoDescRequestCmd}

var validName = regexp.MustCompile(`^[a-z0-9][a-z0-9-]*$`)

// pluginDir returns the plugin directory, empty when there is no home.
func pluginDir() string {
	if dir := os.Getenv(dirEnv); dir != "" {
		return dir
	}
	home, err := os.UserHomeDir()
	if err != nil {
		return ""
	}
	return filepath.Join(home, ".fluxcd", "plugins")
}

// besides returns the directory of the running program.
func besides() string {
	self, err := os.Executable()
	if err != nil {
		return ""
	}
	if real, err := filepath.EvalSymlinks(self); err == nil {
		self = real
	}
	return filepath.Dir(self)
}

// Find returns the program of a plugin, empty when there is none.
func Find(name string) string {
	if !validName.MatchString(name) || slices.Contains(reserved, name) {
		return ""
	}
	for _, dir := range []string{pluginDir(), besides()} {
		if dir == "" {
			continue
		}
		if path := filepath.Join(dir, fileName(name)); executable(path) {
			return path
		}
	}
	path, err := exec.LookPath(fileName(name))
	if err != nil {
		return ""
	}
	return path
}

func fileName(name string) string {
	if runtime.GOOS == "windows" {
		return prefix + name + ".exe"
	}
	return prefix + name
}

func executable(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.Mode().IsRegular() && (runtime.GOOS == "windows" || info.Mode()&0o111 != 0)
}

// List shows the plugins of the plugin directory and beside the program in the help text. PATH
// is searched only when a word is used: its directories may be many and slow.
func List(root *cobra.Command) {
	seen := map[string]bool{}
	for _, dir := range []string{pluginDir(), besides()} {
		if dir == "" {
			continue
		}
		entries, err := os.ReadDir(dir)
		if err != nil {
			continue
		}
		for _, entry := range entries {
			name, ok := strings.CutPrefix(strings.TrimSuffix(entry.Name(), ".exe"), prefix)
			if ok && !seen[name] && !builtIn(root, name) && Find(name) != "" {
				seen[name] = true
				add(root, name)
			}
		}
	}
}

func add(root *cobra.Command, name string) {
	if !root.ContainsGroup(group) {
		root.AddGroup(&cobra.Group{ID: group, Title: "Plugin Commands:"})
	}
	root.AddCommand(&cobra.Command{
		Use:                name,
		Short:              "Runs the " + name + " plugin",
		GroupID:            group,
		DisableFlagParsing: true,
		RunE:               func(*cobra.Command, []string) error { return errors.New("plugins replace the process") },
	})
}

func builtIn(root *cobra.Command, name string) bool {
	return slices.ContainsFunc(root.Commands(), func(c *cobra.Command) bool {
		return c.GroupID != group && (c.Name() == name || c.HasAlias(name))
	})
}

// Run replaces the process with a plugin if that is what the arguments ask for, and says so
// with true if it could not.
func Run(root *cobra.Command, args []string, log *ui.Log) (code int, ran bool) {
	name, rest := word(args)
	if name == "" || builtIn(root, name) && !extends(root, name, rest) {
		return 0, false
	}
	path := Find(name)
	if path == "" {
		return 0, false
	}
	if err := replace(path, rest); err != nil {
		var exit *exec.ExitError
		if errors.As(err, &exit) {
			return exit.ExitCode(), true
		}
		log.Failuref("run plugin %s: %s", path, err)
		return 1, true
	}
	return 0, true
}

// extends tells whether a built-in word leaves these arguments to its plugin.
func extends(root *cobra.Command, name string, rest []string) bool {
	i := slices.IndexFunc(root.Commands(), func(c *cobra.Command) bool { return c.Name() == name })
	if i < 0 || root.Commands()[i].Annotations[Extends] == "" {
		return false
	}
	if len(rest) > 1 && (rest[0] == cobra.ShellCompRequestCmd || rest[0] == cobra.ShellCompNoDescRequestCmd) {
		rest = rest[1:]
	}
	if len(rest) == 0 || rest[0] == "--help" || rest[0] == "-h" {
		return false
	}
	return !slices.ContainsFunc(root.Commands()[i].Commands(), func(c *cobra.Command) bool { return c.Name() == rest[0] })
}

// word splits off the plugin's name; a completion request for a plugin is handed on to it.
func word(args []string) (string, []string) {
	if len(args) == 0 {
		return "", nil
	}
	first := args[0]
	if (first == cobra.ShellCompRequestCmd || first == cobra.ShellCompNoDescRequestCmd) && len(args) > 2 {
		return args[1], append([]string{first}, args[2:]...)
	}
	return first, args[1:]
}
