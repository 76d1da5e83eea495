package fleet

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/gitops-toolkit/flux/internal/apply"
	"github.com/gitops-toolkit/flux/internal/cli/cluster"
	"github.com/gitops-toolkit/flux/internal/cli/origin"
	"github.com/gitops-toolkit/flux/internal/cli/plugin"
	"github.com/gitops-toolkit/flux/internal/cli/session"
	"github.com/gitops-toolkit/flux/internal/cli/value"
	"github.com/gitops-toolkit/flux/internal/install"
)

// Exit codes: what the fleet does wrong and what we could not do are not the same to a pipeline.
const (
	exitFindings = 1
	exitFailed   = 2
)

type flags struct {
	*session.Session
	paths    []string
	sources  []string
	standIns []string
	output   string
	strict   bool
	keep     bool
}

// Command returns `flux sandbox`, which has one word of its own: the others are those of the plugin.
func Command(s *session.Session) *cobra.Command {
	group := &cobra.Command{
		Use:   "sandbox",
		Short: "Real clusters on this machine, and tests of fleets on them",
		Long: "A sandbox is a Kubernetes API server with all that belongs to it, on this machine, without root and containers. " +
			"The word test is explained here. The others are those of the program flux-sandbox, and each has its own --help: " +
			"up, down, run, status, kubeconfig, git, registry, logs.",
		Example: `  # a cluster to try things on
  flux sandbox up
  export KUBECONFIG=$(flux sandbox kubeconfig)

  # test the repository of a fleet
  flux sandbox test ./fleet`,
		Annotations:        map[string]string{plugin.Extends: "true"},
		DisableFlagParsing: true,
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) == 0 || args[0] == "--help" || args[0] == "-h" {
				return cmd.Help()
			}
			return errNotInstalled
		},
	}
	group.AddCommand(newTest(s))
	return group
}

func newTest(s *session.Session) *cobra.Command {
	f := &flags{Session: s, output: "text"}
	cmd := &cobra.Command{
		Use:   "test [PATH]",
		Short: "Run a whole repository against a real API server, and tell what fails and where",
		Long: "The test command takes the repository of a fleet, as it lies on disk, and gives each of its clusters a sandbox: the controllers that the repository holds, " +
			"or this program's own, apply everything from the entry on. The GitRepository of the repository itself is served from the sandbox, whatever URL it names; " +
			"so is the OCIRepository or Bucket with which a cluster begins. Directories can stand for other sources.\n\n" +
			"Encrypted values and Secrets that nothing makes get stand-ins. Alerts, image updates and what goes to other clusters are suspended. " +
			"What cannot be reached from here is reported as skipped, and so is what needs it.\n\n" +
			"It exits with 1 if anything failed, and with 2 if the test could not be run.",
		Example: `  # the repository in the working directory, all its clusters
  flux sandbox test

  # one cluster, as a report for a CI system
  flux sandbox test ./fleet --path clusters/production --output junit > report.xml

  # with another repository, with charts from disk, and with values for a Secret
  flux sandbox test --source GitRepository/flux-system/apps=../apps \
    --source HelmRepository/flux-system/charts=../charts --stand-ins ci/secrets.yaml`,
		Args: cobra.MaximumNArgs(1),
	}
	cmd.Flags().StringSliceVar(&f.paths, "path", nil, "directory of a cluster in the repository, all that are found when not given; may be given several times")
	cmd.Flags().StringSliceVar(&f.sources, "source", nil, "directory that stands for another source, as <kind>/<namespace>/<name>=<directory>; "+
		"kinds are GitRepository, OCIRepository, Bucket, HelmRepository and ExternalArtifact; may be given several times")
	cmd.Flags().StringSliceVar(&f.standIns, "stand-ins", nil, "file with objects, such as Secrets, to apply before anything else; may be given several times")
	cmd.Flags().BoolVar(&f.strict, "fail-on-skipped", false, "exit with 1 also when something was skipped")
	cmd.Flags().BoolVar(&f.keep, "keep", false, "leave the last sandbox running, to look around in it")
	cmd.Flags().VarP(value.OneOf(&f.output, "output", "text", "json", "junit"), "output", "o", "text, json or junit")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		path := "."
		if len(args) == 1 {
			path = args[0]
		}
		report, err := f.test(cmd.Context(), path)
		if err == nil {
			err = report.Print(s.Out, f.output)
		}
		switch {
		case err != nil:
			return &session.ExitError{Code: exitFailed, Err: err}
		case report.Failed > 0:
			return &session.ExitError{Code: exitFindings, Err: fmt.Errorf("%d of %d objects failed", report.Failed, report.Passed+report.Failed+report.Skipped)}
		case f.strict && report.Skipped > 0:
			return &session.ExitError{Code: exitFindings, Err: fmt.Errorf("%d objects were skipped", report.Skipped)}
		}
		return nil
	}
	return cmd
}

// test gives every cluster of the repository around path a sandbox.
func (f *flags) test(ctx context.Context, path string) (*Report, error) {
	repository, paths, err := f.repository(path)
	if err != nil {
		return nil, err
	}
	work, err := os.MkdirTemp("", "flux-test-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(work)
	if work, err = filepath.EvalSymlinks(work); err != nil {
		return nil, err
	}
	t, err := copyTree(ctx, repository, filepath.Join(work, "fleet"))
	if err != nil {
		return nil, fmt.Errorf("copy %s: %w", repository, err)
	}
	t.urls = origin.Remotes(ctx, repository)
	roots, err := choose(t, paths)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", repository, err)
	}
	more, err := f.others(ctx, work)
	if err != nil {
		return nil, err
	}
	report := &Report{Repository: repository}
	for i, r := range roots {
		c := &trial{flags: f, tree: t, root: r, others: more, keep: f.keep && i == len(roots)-1}
		report.add(c.run(ctx))
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
	}
	return report, nil
}

// repository finds the root of the repository around a path; a directory in it is one of its clusters.
func (f *flags) repository(path string) (string, []string, error) {
	abs, err := filepath.Abs(path)
	if err != nil {
		return "", nil, err
	}
	if abs, err = filepath.EvalSymlinks(abs); err != nil {
		return "", nil, err
	}
	if info, err := os.Stat(abs); err != nil || !info.IsDir() {
		return "", nil, fmt.Errorf("%s is no directory", path)
	}
	for above := abs; above != filepath.Dir(above); above = filepath.Dir(above) {
		if _, err := os.Stat(filepath.Join(above, ".git")); err != nil {
			continue
		}
		rel, err := filepath.Rel(above, abs)
		if err != nil || rel == "." || len(f.paths) > 0 {
			return above, f.paths, err
		}
		return above, []string{rel}, nil
	}
	return abs, f.paths, nil
}

// trial is one cluster in its sandbox.
type trial struct {
	*flags
	tree   *tree
	root   root
	others []other
	keep   bool
}

func (c *trial) run(ctx context.Context) Cluster {
	began := time.Now()
	result := Cluster{Path: c.root.path}
	err := c.try(ctx, &result)
	if err != nil {
		result.Error = err.Error()
	}
	result.Seconds = time.Since(began).Seconds()
	return result
}

func (c *trial) try(ctx context.Context, result *Cluster) error {
	bundle, err := bundleOf(ctx, c.tree, c.root, c.others)
	if err != nil {
		return err
	}
	c.Log.Actionf("%s: starting a sandbox", c.root.path)
	sandbox, err := start(ctx, fmt.Sprintf("test-%d", os.Getpid()), bundle.images)
	if sandbox != nil && !c.keep {
		defer func() {
			if err := sandbox.stop(); err != nil {
				c.Log.Warningf("%s", err)
			}
		}()
	}
	if err != nil {
		return err
	}
	if c.keep {
		c.Log.Successf("kept: export KUBECONFIG=%s; end it with 'flux sandbox down --name %s'", sandbox.Kubeconfig, sandbox.name)
	}
	ctx, cancel := context.WithTimeout(ctx, c.Timeout)
	defer cancel()
	return c.inside(ctx, sandbox, bundle, result)
}

// inside runs the fleet in the sandbox that is up.
func (c *trial) inside(ctx context.Context, s *sandbox, b *bundle, result *Cluster) error {
	config, err := clientcmd.BuildConfigFromFlags("", s.Kubeconfig)
	if err != nil {
		return err
	}
	applier, err := apply.NewClient(config)
	if err != nil {
		return err
	}
	client, err := cluster.New(config)
	if err != nil {
		return err
	}
	stage, err := c.serve(ctx, s)
	if err != nil {
		return err
	}
	defer stage.close()
	c.Log.Actionf("%s: starting the controllers", c.root.path)
	if err := b.bring(ctx, applier, stage.policies); err != nil {
		return err
	}
	d := &double{client: client, tree: c.tree}
	if err := c.prepare(ctx, applier, d); err != nil {
		return err
	}
	if err := stage.offer(ctx, applier, client); err != nil {
		return err
	}
	c.Log.Waitingf("%s: following the fleet", c.root.path)
	if _, err := install.Apply(ctx, applier, b.begin(c.root)); err != nil {
		return fmt.Errorf("apply the entry of the cluster: %w", err)
	}
	r := &run{client: client, double: d, missing: b.missing(), local: stage.local}
	all, err := r.follow(ctx)
	if err != nil {
		return err
	}
	result.Objects, result.StandIns = r.report(c.tree, c.root.path, all), d.made
	return nil
}

// prepare applies what the person gave, and tells of what was encrypted.
func (c *trial) prepare(ctx context.Context, applier *apply.Client, d *double) error {
	for _, name := range c.tree.sealed {
		d.note(name, "", "its encrypted values")
	}
	for _, file := range c.standIns {
		given := &tree{dir: filepath.Dir(file)}
		objects, err := given.read(root{files: []string{filepath.Base(file)}})
		if err == nil {
			_, err = install.Apply(ctx, applier, withNamespaces(objects))
		}
		if err != nil {
			return fmt.Errorf("--stand-ins %s: %w", file, err)
		}
	}
	return nil
}
