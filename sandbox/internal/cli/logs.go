package cli

import (
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"github.com/spf13/cobra"
)

func newLogs(o *options) *cobra.Command {
	return &cobra.Command{
		Use:   "logs [COMPONENT]",
		Short: "Print the log of a component, or of all",
		Args:  cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			dir, current, err := o.running()
			if err != nil {
				return err
			}
			components := names(current)
			if len(args) == 1 {
				if !slices.Contains(components, args[0]) {
					return fmt.Errorf("there is no component %q: choose one of %s", args[0], strings.Join(components, ", "))
				}
				components = args
			}
			if o.output == "json" {
				paths := map[string]string{}
				for _, name := range components {
					paths[name] = dir.Log(name)
				}
				return o.print(cmd.OutOrStdout(), paths, "")
			}
			for _, name := range components {
				if len(components) > 1 {
					fmt.Fprintf(cmd.OutOrStdout(), "==> %s <==\n", name)
				}
				if err := copyFile(cmd.OutOrStdout(), dir.Log(name)); err != nil {
					return err
				}
			}
			return nil
		},
	}
}

func copyFile(w io.Writer, path string) error {
	file, err := os.Open(path)
	if os.IsNotExist(err) {
		return nil
	}
	if err != nil {
		return err
	}
	defer file.Close()
	_, err = io.Copy(w, file)
	return err
}
