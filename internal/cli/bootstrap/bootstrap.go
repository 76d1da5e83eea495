// Package bootstrap has the words that make a cluster manage itself from a Git repository. What a
// bootstrap does is decided in internal/install/bootstrap, what Git hosts are asked in
// internal/install/githost; here are flags, questions and credentials.
package bootstrap

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/gitops-toolkit/flux/internal/apply"
	"github.com/gitops-toolkit/flux/internal/cli/doctor"
	clinstall "github.com/gitops-toolkit/flux/internal/cli/install"
	"github.com/gitops-toolkit/flux/internal/cli/session"
	"github.com/gitops-toolkit/flux/internal/cli/sshkey"
	"github.com/gitops-toolkit/flux/internal/cli/ui"
	"github.com/gitops-toolkit/flux/internal/cli/value"
	"github.com/gitops-toolkit/flux/internal/gitrepo"
	"github.com/gitops-toolkit/flux/internal/install"
	"github.com/gitops-toolkit/flux/internal/install/bootstrap"
)

// shared are the flags of all hosts.
type shared struct {
	*session.Session
	*clinstall.Choices
	signing

	branch      string
	secretName  string
	authorName  string
	authorEmail string
	appendix    string
	tokenAuth   bool
	caFile      string
	recurse     bool
	sparse      []string
	keys        sshkey.Flags
	hostKeys    []string
	sshHostname string
}

// target are the flags that every host's command has for itself.
type target struct {
	path     string
	interval time.Duration
}

func (t *target) define(flags *pflag.FlagSet) {
	flags.Var(value.SafePath(&t.path), "path", "directory of the cluster in the repository; its files go to PATH/NAMESPACE")
	flags.DurationVar(&t.interval, "interval", time.Minute, "how often the cluster looks for new commits")
}

// clusterPath is the directory as manifests write it.
func (t *target) clusterPath() string {
	if t.path == "" {
		return "./"
	}
	return t.path
}

// Command returns `flux bootstrap`.
func Command(s *session.Session) *cobra.Command {
	c := &shared{Session: s, Choices: clinstall.NewChoices()}
	cmd := &cobra.Command{
		Use:   "bootstrap",
		Short: "Make a cluster manage itself from a Git repository",
		Long: "The bootstrap commands commit the manifests of the controllers to a Git repository, install them, and have " +
			"the cluster follow that repository. Run again, they change only what differs; interrupted, they go on.",
	}
	c.define(cmd.PersistentFlags())
	cmd.AddCommand(c.git(), c.gitHub(), c.gitLab(), c.gitea(), c.bitbucket())
	return cmd
}

func (c *shared) define(flags *pflag.FlagSet) {
	c.Choices.Define(flags)
	c.signing.define(flags)
	c.keys.Define(flags)
	flags.StringVar(&c.branch, "branch", "main", "branch of the repository")
	flags.StringVar(&c.secretName, "secret-name", install.DefaultNamespace, "Secret with the credential of the cluster")
	flags.StringVar(&c.authorName, "author-name", "Flux", "author of the commits")
	flags.StringVar(&c.authorEmail, "author-email", "", "address of the author")
	flags.StringVar(&c.appendix, "commit-message-appendix", "", "text added to the messages, such as [ci skip]")
	flags.BoolVar(&c.tokenAuth, "token-auth", false, "give the cluster the token, over HTTPS, instead of a deploy key")
	flags.StringVar(&c.caFile, "ca-file", "", "certificates, PEM encoded, that sign the Git server's")
	flags.BoolVar(&c.recurse, "recurse-submodules", false, "fetch submodules, too")
	flags.StringSliceVar(&c.sparse, "sparse-checkout", nil, "directories to fetch, all when empty")
	flags.StringSliceVar(&c.hostKeys, "ssh-hostkey-algos", nil, "algorithms of host keys to accept from the SSH server")
	flags.StringVar(&c.sshHostname, "ssh-hostname", "", "host[:port] of Git over SSH, where it is another than that of the API")
}

// job is a bootstrap that has been looked at and may begin.
type job struct {
	*shared
	options bootstrap.Options
	client  *apply.Client
	ca      []byte
}

// prepare checks everything that can be checked before anything is done. The caller closes the bundle.
func (c *shared) prepare(ctx context.Context, t *target) (*job, error) {
	bundle, err := c.Settle(ctx, c.Session.Namespace)
	if err != nil {
		return nil, err
	}
	j := &job{shared: c, options: bootstrap.Options{
		Install: c.Options, Bundle: bundle, PullSecret: c.PullSecret(),
		Branch: c.branch, Path: t.clusterPath(),
		Commit: bootstrap.Commit{Name: c.authorName, Email: c.authorEmail, Appendix: c.appendix},
		Sync:   bootstrap.Sync{Interval: t.interval, RecurseSubmodules: c.recurse, SparseCheckout: c.sparse},
		Secret: bootstrap.Secret{Name: c.secretName},
	}}
	for _, check := range []func(context.Context) error{j.check, j.connect, j.takeOver, j.samePath} {
		if err := check(ctx); err != nil {
			return nil, errors.Join(err, bundle.Close())
		}
	}
	return j, nil
}

func (j *job) check(context.Context) error {
	if err := bootstrap.CheckComponents(j.Components); err != nil {
		return err
	}
	if j.branch == "" {
		return errors.New("--branch must not be empty")
	}
	signer, err := j.signer(j.keys.File)
	if err != nil {
		return err
	}
	j.options.Commit.Signer = signer
	if j.caFile != "" {
		if j.ca, err = sshkey.ReadFile(j.caFile); err != nil {
			return fmt.Errorf("unable to read TLS CA file: %w", err)
		}
	}
	return nil
}

func (j *job) connect(context.Context) error {
	config, err := j.Kube.RESTConfig()
	if err != nil {
		return err
	}
	j.client, err = apply.NewClient(config)
	return err
}

// takeOver asks before another tool loses its installation.
func (j *job) takeOver(ctx context.Context) error {
	found, err := install.Find(ctx, j.client)
	if err == nil && found == nil {
		return j.mayInstall(ctx)
	}
	if err != nil {
		return err
	}
	if found.ManagedBy != "" && !j.Force {
		j.Log.Rawf("Flux %s has been installed on this cluster with %s!\n", found.Version, found.ManagedBy)
		if err := ui.Confirm(j.In, j.Err, "Are you sure you want to take over this installation"); err != nil {
			return errors.New("bootstrap cancelled")
		}
	}
	return j.Downgrade(ctx, j.Log, j.client, found, j.options.Bundle)
}

// samePath is asked before a host makes a repository.
func (j *job) samePath(ctx context.Context) error { return bootstrap.Check(ctx, j.client, j.options) }

// mayInstall refuses a person without the rights, before anything is done.
func (j *job) mayInstall(ctx context.Context) error {
	client, err := j.Client()
	if err != nil {
		return err
	}
	for _, r := range doctor.ToInstall {
		verbs, err := doctor.Lacking(ctx, client, r.Group, r.Plural, "create", "patch")
		if err != nil {
			return nil //nolint:nilerr // a server that does not tell refuses later
		}
		if len(verbs) > 0 {
			return fmt.Errorf("you may not %s %s in this cluster, which an installation takes: use a kubeconfig with the role cluster-admin; nothing has been changed", strings.Join(verbs, ", "), r.GroupResource())
		}
	}
	return nil
}

func (j *job) run(ctx context.Context) error {
	err := bootstrap.Run(ctx, j.client, j.Log, j.options)
	if errors.Is(ctx.Err(), context.Canceled) {
		return fmt.Errorf("interrupted: what was done is kept, and the same command goes on from there: %w", err)
	}
	return err
}

// keyTitle is what a deploy key or token is called at the host.
func (j *job) keyTitle(path string) string {
	var parts []string
	for _, part := range []string{j.options.Install.Namespace, j.branch, j.secretName, path} {
		if part != "" {
			parts = append(parts, part)
		}
	}
	return strings.Join(parts, "-")
}

// withToken makes the cluster use a name and a password or token.
func (j *job) withToken(data map[string]string) {
	if len(j.ca) > 0 {
		data["ca.crt"] = string(j.ca)
	}
	j.options.Secret.Given = true
	j.options.Secret.Generate = func(context.Context) (map[string]string, error) { return data, nil }
}

// auth is how this program itself reaches the repository over HTTP.
func (j *job) auth(username, password string) gitrepo.Auth {
	return gitrepo.Auth{Username: username, Password: password, CA: j.ca}
}
