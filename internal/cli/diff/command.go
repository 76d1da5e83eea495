package diff

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	kustomizev1 "github.com/gitops-toolkit/flux/api/kustomize/v1"
	"github.com/gitops-toolkit/flux/internal/apply"
	"github.com/gitops-toolkit/flux/internal/cli/build"
	"github.com/gitops-toolkit/flux/internal/cli/cluster"
	"github.com/gitops-toolkit/flux/internal/cli/kinds"
	"github.com/gitops-toolkit/flux/internal/cli/session"
	"github.com/gitops-toolkit/flux/internal/cli/value"
)

// Exit codes: a finding and a failure are not the same to a pipeline.
const (
	exitChanged = 1
	exitFailed  = 2
)

var errChanged = errors.New("identified at least one change, exiting with non-zero exit code")

type flags struct {
	build.Flags
	progress       bool
	ignoreNotFound bool
	all            bool
	root           string
	revision       string
	output         string
}

// Add places `flux diff kustomization` and `flux diff helmrelease` below the group that compares.
func Add(s *session.Session, group *cobra.Command) {
	addKustomization(s, group)
	addHelmRelease(s, group)
}

// verdict is how a comparison ends.
func verdict(changed bool, err error) error {
	switch {
	case err != nil:
		return &session.ExitError{Code: exitFailed, Err: err}
	case changed:
		return &session.ExitError{Code: exitChanged, Err: errChanged}
	}
	return nil
}

func addKustomization(s *session.Session, group *cobra.Command) {
	f := &flags{output: text}
	cmd := &cobra.Command{
		Use:     "kustomization",
		Aliases: []string{"ks"},
		Short:   "Show what applying local files would change",
		Long: "The command builds local files as a Kustomization would and asks the API server, with dry-runs, what applying them would change. " +
			"It exits with 1 if anything would, and with 2 if it failed. With --root or --revision it compares any number of Kustomizations, " +
			"each built from its own path: a changed spec, new and deleted Kustomizations and objects that move between them are followed. " +
			"The result can be printed for a pull request.",
		Example: `  # what would my working copy change
  flux diff kustomization my-app --path ./apps/my-app

  # with the Kustomizations that it applies
  flux diff kustomization apps --path ./clusters/production --recursive --local-sources GitRepository/flux-system/flux-system=./

  # what would a merge of this branch change, as a comment for the pull request
  flux diff kustomization --all --revision HEAD --output markdown`,
		ValidArgsFunction: session.CompleteNames(s, kinds.Kustomization.Resource),
	}
	f.Define(cmd.Flags())
	cmd.Flags().BoolVar(&f.progress, "progress-bar", true, "show on a terminal that the command is at work")
	cmd.Flags().BoolVar(&f.ignoreNotFound, "ignore-not-found", false, "take a Kustomization that is not in the cluster for a new one")
	cmd.Flags().BoolVar(&f.all, "all", false, "compare all Kustomizations of the namespace, with --root or --revision")
	cmd.Flags().StringVar(&f.root, "root", "", "directory that stands for the source: each Kustomization is built from its own path in it")
	cmd.Flags().StringVar(&f.revision, "revision", "", "revision of the Git repository in --root, or here, instead of its files")
	cmd.Flags().VarP(value.OneOf(&f.output, "output", text, "json", "markdown"), "output", "o", "text, json or markdown")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		ctx, cancel := context.WithTimeout(cmd.Context(), s.Timeout)
		defer cancel()
		changed, err := f.run(ctx, s, args)
		return verdict(changed, err)
	}
	group.AddCommand(cmd)
}

func (f *flags) several() bool { return f.root != "" || f.revision != "" }

func (f *flags) check(args []string) error {
	switch {
	case f.several() && f.Path != "":
		return errors.New("--path is for one Kustomization: leave it out with --root and --revision")
	case f.several() && f.all == (len(args) > 0):
		return errors.New("name the Kustomizations to compare, or give --all")
	case f.several():
		return nil
	case f.all:
		return errors.New("--all needs --root or --revision")
	case len(args) == 0:
		return errors.New("kustomization name is required")
	case len(args) > 1:
		return errors.New("--path is for one Kustomization: give --root for several")
	}
	return f.Check(false)
}

func (f *flags) run(ctx context.Context, s *session.Session, args []string) (changed bool, err error) {
	if err := f.check(args); err != nil {
		return false, err
	}
	c, err := s.Client()
	if err != nil {
		return false, err
	}
	config, err := s.Kube.RESTConfig()
	if err != nil {
		return false, err
	}
	client, err := apply.NewClient(config)
	if err != nil {
		return false, err
	}
	d := &differ{
		Builder: &build.Builder{Flags: f.Flags, Namespace: s.Namespace, Client: c},
		client:  client, ignoreNotFound: f.ignoreNotFound, seen: map[string]bool{},
	}
	stop := f.busy(s.Err)
	reports, err := f.reports(ctx, d, args)
	stop()
	if err != nil {
		return false, err
	}
	for i := range reports {
		changed = changed || reports[i].changed()
		if reports[i].Error != "" {
			err = errors.Join(err, fmt.Errorf("%s: %s", reports[i].subject(), reports[i].Error))
		}
	}
	return changed, errors.Join(write(s.Out, f.output, reports, f.several()), err)
}

// reports compares what was asked for. One of several that fails does not hide the others.
func (f *flags) reports(ctx context.Context, d *differ, args []string) ([]Report, error) {
	if !f.several() {
		obj, err := d.kustomization(ctx, args[0])
		if err != nil {
			return nil, err
		}
		report, err := d.diff(ctx, obj, f.Path)
		return []Report{report}, err
	}
	root, done, err := f.checkout(ctx)
	if err != nil {
		return nil, err
	}
	defer done()
	d.Root = root
	if f.all {
		if args, err = d.list(ctx); err != nil {
			return nil, err
		}
	}
	return d.merge(ctx, root, args, f.all)
}

// busy tells on a terminal that the command is at work; the returned function takes the line away.
func (f *flags) busy(w io.Writer) (stop func()) {
	file, ok := w.(*os.File)
	if !f.progress || !ok || !term.IsTerminal(int(file.Fd())) {
		return func() {}
	}
	fmt.Fprint(w, "Kustomization diffing... running dry-run")
	return func() { fmt.Fprint(w, "\r\x1b[K") }
}

func listNames(ctx context.Context, c *cluster.Client, namespace string) ([]kustomizev1.Kustomization, error) {
	return cluster.All[kustomizev1.Kustomization](ctx, c, kinds.Kustomization.Resource, cluster.ListOptions{Namespace: namespace})
}
