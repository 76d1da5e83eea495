package artifact

import (
	"github.com/spf13/cobra"

	"github.com/gitops-toolkit/flux/internal/cli/session"
)

func buildCommand(s *session.Session) *cobra.Command {
	f := &fileFlags{}
	var output string
	cmd := &cobra.Command{
		Use:   "artifact",
		Short: "Make the archive that push would upload",
		Long:  "The command writes the manifests of a directory, a file or standard input into a tar.gz that is the same for the same files.",
		Example: "  # of a directory\n  flux build artifact --path ./deploy --output ./artifact.tgz\n\n" +
			"  # of what another program prints\n  kustomize build . | flux build artifact --path - --output ./artifact.tgz",
	}
	f.define(cmd.Flags(), "p", true)
	cmd.Flags().StringVarP(&output, "output", "o", "artifact.tgz", "path of the archive")
	cmd.RunE = func(*cobra.Command, []string) error {
		if err := f.check(); err != nil {
			return err
		}
		src, err := f.read(s.In)
		if err != nil {
			return err
		}
		s.Log.Actionf("building artifact from %s", src.label)
		if err := f.write(src, output); err != nil {
			return err
		}
		s.Log.Successf("artifact created at %s", output)
		return nil
	}
	return cmd
}
