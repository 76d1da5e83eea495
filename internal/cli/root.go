// Package cli is the flux command line. It puts the words together: generic verbs read the
// registry in package kinds, and each other word has a package of its own. A new word is
// added to the list in newRoot.
package cli

import (
	"context"
	"errors"
	"io"
	"strings"

	"github.com/spf13/cobra"
	"k8s.io/klog/v2"

	"github.com/gitops-toolkit/flux/internal/cli/artifact"
	"github.com/gitops-toolkit/flux/internal/cli/bootstrap"
	"github.com/gitops-toolkit/flux/internal/cli/build"
	"github.com/gitops-toolkit/flux/internal/cli/create"
	"github.com/gitops-toolkit/flux/internal/cli/debug"
	"github.com/gitops-toolkit/flux/internal/cli/diff"
	"github.com/gitops-toolkit/flux/internal/cli/docs"
	"github.com/gitops-toolkit/flux/internal/cli/envsubst"
	"github.com/gitops-toolkit/flux/internal/cli/events"
	"github.com/gitops-toolkit/flux/internal/cli/export"
	"github.com/gitops-toolkit/flux/internal/cli/fleet"
	"github.com/gitops-toolkit/flux/internal/cli/get"
	"github.com/gitops-toolkit/flux/internal/cli/imageupdate"
	"github.com/gitops-toolkit/flux/internal/cli/info"
	"github.com/gitops-toolkit/flux/internal/cli/install"
	"github.com/gitops-toolkit/flux/internal/cli/logs"
	"github.com/gitops-toolkit/flux/internal/cli/migrate"
	"github.com/gitops-toolkit/flux/internal/cli/plugin"
	"github.com/gitops-toolkit/flux/internal/cli/reconcile"
	"github.com/gitops-toolkit/flux/internal/cli/remove"
	"github.com/gitops-toolkit/flux/internal/cli/session"
	"github.com/gitops-toolkit/flux/internal/cli/trace"
	"github.com/gitops-toolkit/flux/internal/cli/tree"
	"github.com/gitops-toolkit/flux/internal/cli/trigger"
	"github.com/gitops-toolkit/flux/internal/version"
)

// newRoot builds the whole tree of commands.
func newRoot(s *session.Session) *cobra.Command {
	root := &cobra.Command{
		Use:   "flux",
		Short: "Keep clusters in step with Git and other sources",
		Long:  "Command line of a GitOps toolkit: it installs the controllers, describes what they should do, and tells what they have done.",
		Example: `  # what is there, and is it well
  flux get all -A

  # follow a branch of a repository
  flux create source git podinfo --url=https://github.com/stefanprodan/podinfo --branch=master

  # apply a directory of it
  flux create kustomization podinfo --source=GitRepository/podinfo --path="./deploy" --prune

  # fetch and apply now
  flux reconcile kustomization podinfo --with-source`,
		Version:       strings.TrimPrefix(version.Version, "v"),
		SilenceErrors: true,
		SilenceUsage:  true,
		PersistentPreRunE: func(cmd *cobra.Command, _ []string) error {
			return s.Prepare(cmd)
		},
	}
	s.AddFlags(root.PersistentFlags())
	root.AddCommand(
		get.Command(s),
		bootstrap.Command(s),
		build.Command(s),
		create.Command(s),
		export.Command(s),
		reconcile.Command(s),
		reconcile.SuspendCommand(s),
		reconcile.ResumeCommand(s),
		remove.Command(s),
		events.Command(s),
		trace.Command(s),
		tree.Command(s),
		debug.Command(s),
		envsubst.Command(s),
		imageupdate.Command(s),
		logs.Command(s),
		migrate.Command(s),
		trigger.Command(s),
		fleet.Command(s),
		plugin.Command(s, root),
		install.Command(s),
		install.UninstallCommand(s),
		info.CheckCommand(s),
		info.StatsCommand(s),
		info.VersionCommand(s),
		docs.Command(),
	)
	artifact.Add(s, root)
	if group, _, err := root.Find([]string{"diff"}); err == nil {
		diff.Add(s, group)
	}
	_ = root.RegisterFlagCompletionFunc("context", session.CompleteContexts(s))
	plugin.List(root)
	return root
}

// Main runs the command line and returns the exit code.
func Main(ctx context.Context, args []string, in io.Reader, out, err io.Writer) int {
	// The client library's own log lines are not for people.
	klog.LogToStderr(false)
	klog.SetOutput(io.Discard)
	s := session.New(in, out, err)
	root := newRoot(s)
	root.SetArgs(args)
	root.SetIn(in)
	root.SetOut(out)
	root.SetErr(err)
	if len(args) > 0 && strings.HasPrefix(args[0], cobra.ShellCompRequestCmd) {
		completeFlags(s, root)
	}
	if code, ran := plugin.Run(root, args, s.Log); ran {
		return code
	}
	return exitCode(s, root.ExecuteContext(ctx))
}

// interrupted is the exit code of a program that somebody ended, as a shell tells it.
const interrupted = 130

// exitCode prints the error, if any, and says how the program ends.
func exitCode(s *session.Session, err error) int {
	if err == nil {
		return 0
	}
	var exit *session.ExitError
	switch {
	case err == context.Canceled: // one that is wrapped says what it left undone
		return interrupted
	case errors.As(err, &exit) && exit.Code == 1:
		s.Log.Warningf("%s", err)
		return 1
	case exit != nil:
		s.Log.Failuref("%s", err)
		return exit.Code
	}
	s.Log.Failuref("%s%s", err, advice(err))
	return 1
}
