package bootstrap

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/gitops-toolkit/flux/internal/cli/ui"
	"github.com/gitops-toolkit/flux/internal/cli/value"
	"github.com/gitops-toolkit/flux/internal/gitrepo"
	"github.com/gitops-toolkit/flux/internal/install/githost"
)

// host is what the commands of Git hosts differ in.
type host struct {
	word, name string
	tokenEnv   string
	connect    func(githost.Options) (githost.Host, error)
	hostname   string // default
	teamFlag   string
	level      string // default permission of a team
	reusable   bool
	example    string
}

// hostFlags are those of a Git host with an API.
type hostFlags struct {
	target
	*shared
	host
	owner, repository, hostname string
	username                    string
	personal, private           bool
	visibility                  string
	teams                       []string
	readWrite, reconcile        bool
	deployTokenAuth             bool
}

func (c *shared) gitHub() *cobra.Command {
	return c.hosted(host{
		word: "github", name: "GitHub", tokenEnv: "GITHUB_TOKEN", connect: githost.NewGitHub, hostname: "github.com", teamFlag: "team", level: "maintain",
		example: `  # a private repository of one's own
  export GITHUB_TOKEN=<personal access token>
  flux bootstrap github --owner=my-github-username --repository=my-cluster-config --branch=main --path=clusters/production --personal

  # one of an organisation, with access for teams
  flux bootstrap github --owner=my-org --repository=fleet --team=platform --team=dev:pull --path=clusters/production

  # on GitHub Enterprise
  flux bootstrap github --hostname=github.example.com --ssh-hostname=ssh.github.example.com --owner=my-org --repository=fleet --path=clusters/production`,
	})
}

func (c *shared) gitLab() *cobra.Command {
	return c.hosted(host{
		word: "gitlab", name: "GitLab", tokenEnv: "GITLAB_TOKEN", connect: githost.NewGitLab, hostname: "gitlab.com", teamFlag: "team", level: "maintain", reusable: true,
		example: `  # a project of a group
  export GITLAB_TOKEN=<personal access token>
  flux bootstrap gitlab --owner=my-group --repository=fleet --branch=main --path=clusters/production

  # of a sub-group, with a deploy token for the cluster
  flux bootstrap gitlab --owner=my-group/platform --repository=fleet --deploy-token-auth --path=clusters/production`,
	})
}

func (c *shared) gitea() *cobra.Command {
	return c.hosted(host{
		word: "gitea", name: "Gitea", tokenEnv: "GITEA_TOKEN", connect: githost.NewGitea, hostname: "gitea.com", teamFlag: "team", level: "maintain",
		example: `  # a repository of an organisation
  export GITEA_TOKEN=<token>
  flux bootstrap gitea --hostname=gitea.example.com --owner=my-org --repository=fleet --branch=main --path=clusters/production`,
	})
}

func (c *shared) bitbucket() *cobra.Command {
	return c.hosted(host{
		word: "bitbucket-server", name: "Bitbucket Server", tokenEnv: "BITBUCKET_TOKEN", connect: githost.NewBitbucket, teamFlag: "group", level: "push", reusable: true,
		example: `  # a repository of a project
  export BITBUCKET_TOKEN=<http access token>
  flux bootstrap bitbucket-server --hostname=bitbucket.example.com --username=me --owner=PROJECT --repository=fleet --branch=main --path=clusters/production`,
	})
}

func (c *shared) hosted(h host) *cobra.Command {
	f := &hostFlags{shared: c, host: h, username: defaultUsername}
	cmd := &cobra.Command{
		Use:   h.word,
		Short: "Bootstrap with a repository on " + h.name,
		Long: "The command finds or creates a repository on " + h.name + ", commits the manifests of the controllers to it and has the cluster follow it. " +
			"The token is taken from " + h.tokenEnv + ", or asked for.",
		Example: h.example,
		Args:    cobra.NoArgs,
	}
	f.define(cmd.Flags())
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if cmd.Flags().Changed("private") && h.word == "gitlab" && !f.private {
			f.visibility = string(githost.Public)
			f.Log.Actionf("Using visibility public as --private=false")
		}
		ctx, cancel := context.WithTimeout(cmd.Context(), f.Timeout)
		defer cancel()
		return f.run(ctx)
	}
	return cmd
}

func (f *hostFlags) define(flags *pflag.FlagSet) {
	f.target.define(flags)
	flags.StringVar(&f.owner, "owner", "", "who owns the repository: a person, an organisation, group or project")
	flags.StringVar(&f.repository, "repository", "", "name of the repository")
	flags.StringVar(&f.hostname, "hostname", f.host.hostname, "host[:port] of the API")
	flags.BoolVar(&f.personal, "personal", false, "the owner is a person")
	flags.BoolVar(&f.private, "private", true, "a new repository is private")
	flags.StringSliceVar(&f.teams, f.teamFlag, nil, "who gets access, as name or name:permission")
	flags.BoolVar(&f.readWrite, "read-write-key", false, "the deploy key may push, too")
	flags.BoolVar(&f.reconcile, "reconcile", false, "change the visibility of a repository that exists")
	switch f.word {
	case "gitlab":
		flags.Var(value.OneOf(&f.visibility, "visibility", "public", "internal", "private"), "visibility", "who may see a new project: public, internal or private")
		f.visibility = string(githost.Private)
		flags.Lookup("visibility").DefValue = f.visibility
		flags.BoolVar(&f.deployTokenAuth, "deploy-token-auth", false, "give the cluster a deploy token instead of a deploy key")
		_ = flags.MarkDeprecated("private", "use --visibility")
	case "bitbucket-server":
		flags.StringVarP(&f.username, "username", "u", defaultUsername, "user of the token")
	}
}

func (f *hostFlags) run(ctx context.Context) error {
	if err := f.check(); err != nil {
		return err
	}
	token := os.Getenv(f.tokenEnv)
	if token == "" {
		var err error
		if token, err = ui.Password(f.In, f.Err, fmt.Sprintf("Please enter your %s personal access token (PAT)", f.name)); err != nil {
			return fmt.Errorf("could not read token: %w", err)
		}
		if token == "" {
			return errors.New("no token: set " + f.tokenEnv)
		}
	}
	f.shared.reusable = f.host.reusable
	j, err := f.prepare(ctx, &f.target)
	if err != nil {
		return err
	}
	defer j.options.Bundle.Close()
	api, err := f.connect(githost.Options{Hostname: f.hostname, SSHHostname: f.sshHostname, Username: f.username, Token: token, CA: j.ca})
	if err != nil {
		return err
	}
	repository, err := f.ensure(ctx, api)
	if err != nil {
		return err
	}
	j.options.Remote = gitrepo.Remote{URL: repository.HTTPS, Auth: j.auth(f.username, token)}
	if err := f.credential(j, api, repository, token); err != nil {
		return err
	}
	return j.run(ctx)
}

func (f *hostFlags) check() error {
	switch {
	case f.hostname == "" || strings.ContainsAny(f.hostname, "/@? "):
		return fmt.Errorf("invalid hostname %q", f.hostname)
	case f.owner == "":
		return errors.New("--owner is required: who owns the repository")
	case f.repository == "":
		return errors.New("--repository is required: the name of the repository")
	case f.tokenAuth && f.deployTokenAuth:
		return errors.New("--token-auth and --deploy-token-auth exclude each other: choose what the cluster is given")
	}
	return nil
}

// ensure finds or creates the repository and gives teams access.
func (f *hostFlags) ensure(ctx context.Context, api githost.Host) (githost.Repository, error) {
	visibility := githost.Private
	if !f.private {
		visibility = githost.Public
	}
	if f.visibility != "" {
		visibility = githost.Visibility(f.visibility)
	}
	f.Log.Actionf("connecting to %s", f.hostname)
	repository, change, err := api.Ensure(ctx, githost.Wanted{
		Owner: f.owner, Name: f.repository, Branch: f.branch, Visibility: visibility, Personal: f.personal, Reconcile: f.reconcile,
	})
	if err != nil {
		return repository, fmt.Errorf("failed to get or create Git repository %q of %q: %w", f.repository, f.owner, err)
	}
	switch change {
	case githost.Created:
		f.Log.Successf("repository %q created", repository.URL)
	case githost.Updated:
		f.Log.Successf("repository %q updated", repository.URL)
	}
	for _, team := range f.teams {
		name, level, ok := strings.Cut(team, ":")
		if !ok {
			level = f.level
		}
		if f.personal {
			f.Log.Failuref("failed to grant %q permissions to %q: a personal repository has no teams", level, name)
			continue
		}
		if err := api.Grant(ctx, repository, name, level); err != nil {
			f.Log.Failuref("failed to grant %q permissions to %q: %s", level, name, err)
			continue
		}
		f.Log.Successf("granted %q permissions to %q", level, name)
	}
	return repository, nil
}

// credential decides what the cluster is given.
func (f *hostFlags) credential(j *job, api githost.Host, repository githost.Repository, token string) error {
	title := j.keyTitle(f.path)
	switch {
	case f.tokenAuth:
		j.options.Sync.URL = repository.HTTPS
		j.withToken(map[string]string{"username": f.username, "password": token})
		return nil
	case f.deployTokenAuth:
		j.options.Sync.URL = repository.HTTPS
		j.options.Secret.Generate = func(ctx context.Context) (map[string]string, error) {
			return f.deployToken(ctx, j, api.(githost.TokenMaker), repository, title)
		}
		return nil
	}
	address, err := url.Parse(repository.SSH)
	if err != nil {
		return fmt.Errorf("the host tells no good SSH address: %w", err)
	}
	j.options.Sync.URL = repository.SSH
	j.withKey(address, "")
	j.options.Secret.Register = func(ctx context.Context, data map[string]string) error {
		key := githost.DeployKey{Title: title, Public: data["identity.pub"], Write: f.readWrite}
		changed, err := api.DeployKey(ctx, repository, key)
		if err != nil {
			return fmt.Errorf("failed to configure deploy key %q for %q: %w", title, repository.URL, err)
		}
		if changed {
			j.Log.Successf("configured deploy key %q for %q", title, repository.URL)
		}
		return nil
	}
	return nil
}

func (f *hostFlags) deployToken(ctx context.Context, j *job, maker githost.TokenMaker, repository githost.Repository, title string) (map[string]string, error) {
	user, token, err := maker.DeployToken(ctx, repository, title)
	if err != nil {
		return nil, fmt.Errorf("failed to configure deploy token %q for %q: %w", title, repository.URL, err)
	}
	j.Log.Successf("configured deploy token %q for %q", title, repository.URL)
	data := map[string]string{"username": user, "password": token}
	if len(j.ca) > 0 {
		data["ca.crt"] = string(j.ca)
	}
	return data, nil
}
