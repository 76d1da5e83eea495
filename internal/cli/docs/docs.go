// Package docs writes the reference pages of the command line from its own tree of commands.
package docs

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// Command returns `flux docgen`, which is for the repository's own build.
func Command() *cobra.Command {
	var path string
	cmd := &cobra.Command{
		Use:    "docgen",
		Short:  "Write the reference pages of all commands",
		Hidden: true,
		Args:   cobra.NoArgs,
		RunE:   func(cmd *cobra.Command, _ []string) error { return Write(cmd.Root(), path) },
	}
	cmd.Flags().StringVar(&path, "path", "./docs/cmd", "directory to write to")
	return cmd
}

// Write makes one page for each command in dir, and removes pages of commands that are gone.
func Write(root *cobra.Command, dir string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	old, err := filepath.Glob(filepath.Join(dir, fileName(root.Name())+"*.md"))
	if err != nil {
		return err
	}
	for _, page := range old {
		if err := os.Remove(page); err != nil {
			return err
		}
	}
	return writeTree(root, dir)
}

func writeTree(cmd *cobra.Command, dir string) error {
	name := filepath.Join(dir, fileName(cmd.CommandPath())+".md")
	if err := os.WriteFile(name, []byte(page(cmd)), 0o644); err != nil {
		return err
	}
	for _, child := range documented(cmd) {
		if err := writeTree(child, dir); err != nil {
			return err
		}
	}
	return nil
}

// pluginGroup holds commands that other programs bring; they are no part of these pages.
const pluginGroup = "plugin"

func documented(cmd *cobra.Command) []*cobra.Command {
	var list []*cobra.Command
	for _, child := range cmd.Commands() {
		if child.IsAvailableCommand() && child.Name() != "help" && child.GroupID != pluginGroup {
			list = append(list, child)
		}
	}
	return list
}

func fileName(commandPath string) string { return strings.ReplaceAll(commandPath, " ", "_") }

func page(cmd *cobra.Command) string {
	var b strings.Builder
	fmt.Fprintf(&b, "# %s\n\n%s.\n\n", cmd.CommandPath(), strings.TrimSuffix(cmd.Short, "."))
	if cmd.Long != "" {
		fmt.Fprintf(&b, "%s\n\n", cmd.Long)
	}
	if cmd.Runnable() {
		fmt.Fprintf(&b, "```\n%s\n```\n\n", cmd.UseLine())
	}
	if len(cmd.Aliases) > 0 {
		fmt.Fprintf(&b, "Also: `%s`\n\n", strings.Join(cmd.Aliases, "`, `"))
	}
	if cmd.Example != "" {
		fmt.Fprintf(&b, "## Examples\n\n```\n%s\n```\n\n", cmd.Example)
	}
	flagTable(&b, "Flags", cmd.NonInheritedFlags())
	if cmd.HasParent() {
		flagTable(&b, "Inherited flags", cmd.InheritedFlags())
		fmt.Fprintf(&b, "## Up\n\n- [%s](%s.md)\n\n", cmd.Parent().CommandPath(), fileName(cmd.Parent().CommandPath()))
	}
	if children := documented(cmd); len(children) > 0 {
		b.WriteString("## Commands\n\n")
		for _, child := range children {
			fmt.Fprintf(&b, "- [%s](%s.md): %s\n", child.CommandPath(), fileName(child.CommandPath()), child.Short)
		}
		b.WriteString("\n")
	}
	return strings.TrimRight(b.String(), "\n") + "\n"
}

func flagTable(b *strings.Builder, title string, flags *pflag.FlagSet) {
	var rows []string
	flags.VisitAll(func(flag *pflag.Flag) {
		if flag.Hidden || flag.Name == "help" {
			return
		}
		name := "`--" + flag.Name + "`"
		if flag.Shorthand != "" {
			name = "`-" + flag.Shorthand + "`, " + name
		}
		rows = append(rows, fmt.Sprintf("| %s | %s | %s | %s |", name, flag.Value.Type(), defaultOf(flag), cell(flag.Usage)))
	})
	if len(rows) == 0 {
		return
	}
	fmt.Fprintf(b, "## %s\n\n| flag | type | default | meaning |\n|---|---|---|---|\n%s\n\n", title, strings.Join(rows, "\n"))
}

// defaultOf hides what depends on the machine that the pages are made on.
func defaultOf(flag *pflag.Flag) string {
	value := flag.DefValue
	if home, err := os.UserHomeDir(); err == nil && home != "/" {
		value = strings.Replace(value, home, "$HOME", 1)
	}
	if value == "" || value == "[]" {
		return ""
	}
	return "`" + strings.ReplaceAll(value, "|", "\\|") + "`"
}

// inTable makes text safe for a table of Markdown.
var inTable = strings.NewReplacer("|", "\\|", "<", "&lt;", ">", "&gt;")

func cell(text string) string { return inTable.Replace(text) }
