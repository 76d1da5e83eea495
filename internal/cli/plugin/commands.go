package plugin

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"sigs.k8s.io/yaml"

	"github.com/gitops-toolkit/flux/internal/cli/session"
	"github.com/gitops-toolkit/flux/internal/cli/ui"
)

// receipt says what the installer put into the plugin directory.
type receipt struct {
	Name        string    `json:"name"`
	Version     string    `json:"version"`
	InstalledAt time.Time `json:"installedAt"`
	Platform    platform  `json:"platform"`
}

// manager installs plugins from a catalog into a directory.
type manager struct {
	*session.Session
	root *cobra.Command
}

// Command returns `flux plugin`, for the tree whose words plugins must not take.
func Command(s *session.Session, root *cobra.Command) *cobra.Command {
	m := &manager{Session: s, root: root}
	cmd := &cobra.Command{
		Use:   "plugin",
		Short: "Install and update plugins",
		Long:  "Plugins are programs called flux-<name>; 'flux <name>' runs them. They are kept in $HOME/.fluxcd/plugins, or the directory that " + dirEnv + " names.",
	}
	cmd.AddCommand(
		m.command("install <name>[@<version>|@<digest>]", "Install a plugin from the catalog", "flux plugin install operator", nil, cobra.ExactArgs(1), func(ctx context.Context, args []string) error {
			name, wanted, _ := strings.Cut(args[0], "@")
			return m.install(ctx, name, wanted)
		}),
		m.command("list", "List the plugins that are installed", "flux plugin list", []string{"ls"}, cobra.NoArgs, func(context.Context, []string) error { return m.list() }),
		m.command("search [query]", "Search the catalog", "flux plugin search operator", nil, cobra.MaximumNArgs(1), m.search),
		m.command("uninstall <name>", "Remove a plugin", "flux plugin uninstall operator", []string{"delete"}, cobra.ExactArgs(1), func(_ context.Context, args []string) error { return m.uninstall(args[0]) }),
		m.command("update [name]", "Update plugins that were installed from the catalog", "flux plugin update", []string{"upgrade"}, cobra.MaximumNArgs(1), m.update),
	)
	return cmd
}

func (m *manager) command(use, short, example string, aliases []string, args cobra.PositionalArgs, run func(context.Context, []string) error) *cobra.Command {
	return &cobra.Command{Use: use, Short: short, Example: "  " + example, Aliases: aliases, Args: args, RunE: func(cmd *cobra.Command, args []string) error {
		ctx, cancel := context.WithTimeout(cmd.Context(), m.Timeout)
		defer cancel()
		return run(ctx, args)
	}}
}

func (m *manager) check(name string) error {
	if !validName.MatchString(name) {
		return fmt.Errorf("invalid plugin name %q: lower case letters, digits and '-' only", name)
	}
	if slices.Contains(reserved, name) || builtIn(m.root, name) {
		return fmt.Errorf("%q is a word of flux itself and cannot be a plugin", name)
	}
	return nil
}

func (m *manager) install(ctx context.Context, name, wanted string) error {
	if err := m.check(name); err != nil {
		return err
	}
	c := newCatalog()
	described, err := c.plugin(ctx, name)
	if err != nil {
		return err
	}
	r, p, err := described.pick(wanted)
	if err != nil {
		return err
	}
	if err := put(ctx, c, name, r, p); err != nil {
		return err
	}
	m.Log.Successf("installed %s v%s", name, plainVersion(r.Version))
	return nil
}

// put replaces program and receipt; the old program stays until the new one is whole.
func put(ctx context.Context, c catalog, name string, r release, p platform) error {
	dir := pluginDir()
	if dir == "" {
		return errors.New("there is no home directory: set " + dirEnv)
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	temp, err := os.MkdirTemp(dir, ".install-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(temp)
	program, err := c.fetch(ctx, p, name, temp)
	if err != nil {
		return err
	}
	text, err := yaml.Marshal(receipt{Name: name, Version: plainVersion(r.Version), InstalledAt: time.Now().UTC().Truncate(time.Second), Platform: p})
	if err != nil {
		return err
	}
	note := filepath.Join(temp, "receipt")
	if err := os.WriteFile(note, text, 0o644); err != nil {
		return err
	}
	if err := os.Rename(program, filepath.Join(dir, fileName(name))); err != nil {
		return err
	}
	return os.Rename(note, receiptPath(name))
}

func receiptPath(name string) string { return filepath.Join(pluginDir(), prefix+name+".yaml") }

// readReceipt returns nil for a plugin that somebody put there by hand.
func readReceipt(name string) *receipt {
	text, err := os.ReadFile(receiptPath(name))
	if err != nil {
		return nil
	}
	r := &receipt{}
	if yaml.Unmarshal(text, r) != nil || r.Version == "" {
		return nil
	}
	return r
}

// installed names the plugins of the plugin directory.
func (m *manager) installed() (names []string) {
	entries, _ := os.ReadDir(pluginDir())
	for _, entry := range entries {
		name, ok := strings.CutPrefix(entry.Name(), prefix)
		if runtime.GOOS == "windows" {
			name = strings.TrimSuffix(name, ".exe")
		}
		if ok && m.check(name) == nil && executable(filepath.Join(pluginDir(), entry.Name())) {
			names = append(names, name)
		}
	}
	return names
}

func (m *manager) list() error {
	names := m.installed()
	if len(names) == 0 {
		fmt.Fprintln(m.Out, "No plugins found")
		return nil
	}
	table := &ui.Table{Header: []string{"Name", "Version", "Path"}}
	for _, name := range names {
		version := "manual"
		if r := readReceipt(name); r != nil {
			version = r.Version
		}
		table.Append(name, version, filepath.Join(pluginDir(), fileName(name)))
	}
	return table.Write(m.Out)
}

func (m *manager) search(ctx context.Context, args []string) error {
	all, err := newCatalog().list(ctx)
	if err != nil {
		return err
	}
	query := strings.ToLower(strings.Join(args, ""))
	table := &ui.Table{Header: []string{"Name", "Description", "Installed"}}
	for _, s := range all {
		if !strings.Contains(strings.ToLower(s.Name+" "+s.Description), query) {
			continue
		}
		installed := ""
		if slices.Contains(m.installed(), s.Name) {
			installed = "manual"
			if r := readReceipt(s.Name); r != nil {
				installed = r.Version
			}
		}
		table.Append(s.Name, s.Description, installed)
	}
	if len(table.Rows) == 0 {
		fmt.Fprintln(m.Out, "No plugins found")
		return nil
	}
	return table.Write(m.Out)
}

func (m *manager) uninstall(name string) error {
	if err := m.check(name); err != nil {
		return err
	}
	err := os.Remove(filepath.Join(pluginDir(), fileName(name)))
	if errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("plugin %q is not installed", name)
	}
	if err != nil {
		return err
	}
	if err := os.Remove(receiptPath(name)); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	m.Log.Successf("uninstalled %s", name)
	return nil
}

func (m *manager) update(ctx context.Context, args []string) error {
	names := m.installed()
	if len(args) == 1 {
		if !slices.Contains(names, args[0]) {
			return fmt.Errorf("plugin %q is not installed", args[0])
		}
		names = args
	}
	c := newCatalog()
	var errs []error
	for _, name := range names {
		if err := m.updateOne(ctx, c, name); err != nil {
			m.Log.Failuref("%s: %s", name, err)
			errs = append(errs, err)
		}
	}
	if len(errs) > 0 {
		return fmt.Errorf("%d of %d plugins could not be updated", len(errs), len(names))
	}
	return nil
}

func (m *manager) updateOne(ctx context.Context, c catalog, name string) error {
	now := readReceipt(name)
	if now == nil {
		m.Log.Warningf("skipping %s (manually installed)", name)
		return nil
	}
	described, err := c.plugin(ctx, name)
	if err != nil {
		return err
	}
	r, p, err := described.pick("")
	if err != nil {
		return err
	}
	if plainVersion(r.Version) == plainVersion(now.Version) {
		m.Log.Successf("%s already up to date (v%s)", name, plainVersion(now.Version))
		return nil
	}
	if err := put(ctx, c, name, r, p); err != nil {
		return err
	}
	m.Log.Successf("updated %s v%s → v%s", name, plainVersion(now.Version), plainVersion(r.Version))
	return nil
}
