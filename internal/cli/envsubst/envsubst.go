// Package envsubst is `flux envsubst`: the substitution of variables as Kustomizations do it,
// from the environment.
package envsubst

import (
	"bufio"
	"fmt"
	"os"

	"github.com/spf13/cobra"

	"github.com/gitops-toolkit/flux/internal/cli/session"
	"github.com/gitops-toolkit/flux/internal/kustomize/substitute"
)

// maxLine bounds a line of input, in bytes.
const maxLine = 16 << 20

// Command returns `flux envsubst`.
func Command(s *session.Session) *cobra.Command {
	var strict bool
	cmd := &cobra.Command{
		Use:     "envsubst",
		Short:   "Replace variables in stdin by their values in the environment",
		Long:    "The envsubst command replaces ${variables} line by line, with the grammar of a Kustomization's postBuild.",
		Example: "  # see what a Kustomization would apply\n  export cluster_region=eu-central-1\n  kustomize build . | flux envsubst --strict",
		Args:    cobra.NoArgs,
	}
	cmd.Flags().BoolVar(&strict, "strict", false, "fail for a variable that is not set and has no default")
	cmd.RunE = func(*cobra.Command, []string) error {
		scanner := bufio.NewScanner(s.In)
		scanner.Buffer(make([]byte, 64<<10), maxLine)
		for scanner.Scan() {
			line, err := substitute.Expand(scanner.Text(), os.LookupEnv, strict)
			if err != nil {
				return err
			}
			if _, err := fmt.Fprintln(s.Out, line); err != nil {
				return err
			}
		}
		return scanner.Err()
	}
	return cmd
}
