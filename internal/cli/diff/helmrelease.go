package diff

import (
	"context"
	"errors"

	"github.com/spf13/cobra"

	"github.com/gitops-toolkit/flux/internal/cli/kinds"
	"github.com/gitops-toolkit/flux/internal/cli/session"
	"github.com/gitops-toolkit/flux/internal/cli/value"
)

type releaseFlags struct {
	path, against string
	chart, root   string
	output        string
	kubeVersion   string
}

func addHelmRelease(s *session.Session, group *cobra.Command) {
	f := &releaseFlags{output: text}
	cmd := &cobra.Command{
		Use:     "helmrelease [name]",
		Aliases: []string{"hr"},
		Short:   "Show what installing or upgrading a HelmRelease would change",
		Long: "The command renders a HelmRelease with its real chart and values, as the controller would, and asks the API server with dry-runs what " +
			"the upgrade would change. The HelmRelease, its source and its values come from the files of --path, and what is not there from the cluster. " +
			"With --against both sides are rendered from files, and no cluster is asked. " +
			"Contents of Secrets are not shown. It exits with 1 if anything would change, and with 2 if it failed.",
		Example: `  # what would the next upgrade change, with the newest chart in the range
  flux diff helmrelease podinfo

  # what would my files change
  flux diff helmrelease podinfo --path ./apps/podinfo

  # the same with a chart that I am working on
  flux diff helmrelease podinfo --path ./apps/podinfo --chart ./charts/podinfo

  # what do two checkouts differ in, without a cluster, as a comment for the pull request
  flux diff helmrelease podinfo --path ./new/apps --against ./old/apps --output markdown`,
		Args:              cobra.ExactArgs(1),
		ValidArgsFunction: session.CompleteNames(s, kinds.HelmRelease.Resource),
	}
	cmd.Flags().StringVar(&f.path, "path", "", "file or directory with the HelmRelease, and with its source, ConfigMaps and Secrets if they change too")
	cmd.Flags().StringVar(&f.against, "against", "", "file or directory to compare with instead of the cluster")
	cmd.Flags().StringVar(&f.chart, "chart", "", "directory or archive to use as the chart")
	cmd.Flags().StringVar(&f.root, "root", "", "directory that stands for the GitRepository or Bucket of the chart")
	cmd.Flags().StringVar(&f.kubeVersion, "kube-version", "", "version of Kubernetes that templates see, with --against")
	cmd.Flags().VarP(value.OneOf(&f.output, "output", text, "json", "markdown"), "output", "o", "text, json or markdown")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		ctx, cancel := context.WithTimeout(cmd.Context(), s.Timeout)
		defer cancel()
		report, err := f.run(ctx, s, args[0])
		if err == nil {
			err = write(s.Out, f.output, []Report{report}, false)
		}
		return verdict(report.changed(), err)
	}
	group.AddCommand(cmd)
}

func (f *releaseFlags) run(ctx context.Context, s *session.Session, name string) (Report, error) {
	if f.against == "" {
		if f.kubeVersion != "" {
			return Report{}, errors.New("--kube-version is for --against: the cluster knows its own")
		}
		return f.live(ctx, s, name)
	}
	if f.path == "" {
		return Report{}, errors.New("--against needs --path: the files to compare with it")
	}
	return f.offline(ctx, s, name)
}
