package bootstrap

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"github.com/gitops-toolkit/flux/internal/auth/cloud"
	"github.com/gitops-toolkit/flux/internal/cli/ui"
	"github.com/gitops-toolkit/flux/internal/cli/value"
	"github.com/gitops-toolkit/flux/internal/gitrepo"
)

const (
	passwordEnv     = "GIT_PASSWORD"
	defaultUsername = "git"
)

// gitFlags are those of any Git server.
type gitFlags struct {
	target
	*shared
	url      string
	username string
	password string
	bearer   bool
	insecure bool
	silent   bool
	iam      bool // an identity of AWS opens the repository
}

func (c *shared) git() *cobra.Command {
	f := &gitFlags{shared: c}
	cmd := &cobra.Command{
		Use:   "git",
		Short: "Bootstrap with any Git repository",
		Long: "The command commits the manifests of the controllers to the branch of a Git repository and has the cluster follow it. " +
			"A password is taken from GIT_PASSWORD, or asked for.",
		Example: `  # with a new deploy key, which the command shows; pushing uses the SSH agent
  flux bootstrap git --url=ssh://git@example.com/repository.git --path=clusters/production

  # with a key of one's own
  flux bootstrap git --url=ssh://git@example.com/repository.git --private-key-file=key --path=clusters/production

  # CodeCommit, with the identity that AWS knows you by here and source-controller by in the cluster
  flux bootstrap git --url=https://git-codecommit.eu-west-1.amazonaws.com/v1/repos/fleet --path=clusters/production

  # over HTTPS with a password or token
  GIT_PASSWORD=$TOKEN flux bootstrap git --url=https://example.com/repository.git --username=me --token-auth --path=clusters/production`,
		Args: cobra.NoArgs,
	}
	flags := cmd.Flags()
	f.target.define(flags)
	flags.StringVar(&f.url, "url", "", "address of the repository: ssh, https or http")
	flags.StringVarP(&f.username, "username", "u", defaultUsername, "user name for basic authentication")
	flags.StringVarP(&f.password, "password", "p", "", "password for basic authentication, or of the private key; better given in "+passwordEnv)
	flags.BoolVar(&f.bearer, "with-bearer-token", false, "send the password as a bearer token; implies --token-auth")
	flags.BoolVar(&f.insecure, "allow-insecure-http", false, "allow http, which sends credentials unprotected")
	flags.BoolVarP(&f.silent, "silent", "s", false, "do not ask whether the deploy key has been added")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		ctx, cancel := context.WithTimeout(cmd.Context(), f.Timeout)
		defer cancel()
		return f.run(ctx)
	}
	return cmd
}

func (f *gitFlags) run(ctx context.Context) error {
	u, err := f.address()
	if err != nil {
		return err
	}
	f.tokenAuth = f.tokenAuth || f.bearer
	if f.password == "" {
		f.password = os.Getenv(passwordEnv)
	}
	if err := f.checkCodeCommit(u); err != nil {
		return err
	}
	if f.tokenAuth && f.password == "" {
		if f.password, err = ui.Password(f.In, f.Err, "Please enter your Git repository password"); err != nil {
			return fmt.Errorf("could not read the password: %w", err)
		}
		if f.password == "" {
			return errors.New("no password: set " + passwordEnv)
		}
	}
	f.reusable, f.keyFilePassword = true, f.password
	j, err := f.prepare(ctx, &f.target)
	if err != nil {
		return err
	}
	defer j.options.Bundle.Close()
	if err := f.remote(ctx, j, u); err != nil {
		return err
	}
	switch {
	case f.iam:
		j.options.Sync.URL, j.options.Sync.Provider = u.String(), cloud.AWS
	case f.tokenAuth:
		f.syncWithToken(j, *u)
	default:
		f.syncWithKey(j, *u)
	}
	return j.run(ctx)
}

// address checks the URL.
func (f *gitFlags) address() (*url.URL, error) {
	if f.url == "" {
		return nil, errors.New("--url is required, such as ssh://git@example.com/repository.git")
	}
	if address, ok := value.FromSCP(f.url); ok {
		return nil, fmt.Errorf("--url is no URL: write it as %s", address)
	}
	if err := gitrepo.ParseURL(f.url); err != nil && !strings.Contains(err.Error(), "scheme") {
		return nil, err
	}
	u, err := url.Parse(f.url)
	if err != nil {
		return nil, fmt.Errorf("--url is no URL: %w", err)
	}
	switch u.Scheme {
	case "ssh", "https":
	case "http":
		if !f.insecure {
			return nil, errors.New("scheme http is insecure, pass --allow-insecure-http=true to allow it")
		}
	default:
		return nil, fmt.Errorf("scheme %q is not supported", u.Scheme)
	}
	return u, nil
}

// remote is the repository as this program reaches it.
func (f *gitFlags) remote(ctx context.Context, j *job, u *url.URL) error {
	clone := *u
	if u.Scheme == "ssh" {
		if clone.User == nil {
			clone.User = url.User(f.username)
		}
		auth, err := j.sshAuth(ctx, &clone, f.password)
		j.options.Remote = gitrepo.Remote{URL: clone.String(), Auth: auth}
		return err
	}
	auth := gitrepo.Auth{CA: j.ca}
	switch password, set := u.User.Password(); {
	case f.iam:
		login, err := awsLogin(ctx, u.String())
		if err != nil {
			return err
		}
		auth.Username, auth.Password = login.Username, login.Password
	case f.bearer:
		auth.BearerToken = f.password
	case f.password != "":
		auth.Username, auth.Password = f.username, f.password
	case set:
		auth.Username, auth.Password = u.User.Username(), password
	}
	clone.User = nil
	j.options.Remote = gitrepo.Remote{URL: clone.String(), Auth: auth}
	return nil
}

// syncWithToken has the cluster use HTTP.
func (f *gitFlags) syncWithToken(j *job, u url.URL) {
	if u.Scheme == "ssh" { // The port is that of SSH.
		u.Host, u.Scheme = u.Hostname(), "https"
	}
	u.User = nil
	j.options.Sync.URL = u.String()
	if f.bearer {
		j.withToken(map[string]string{"bearerToken": f.password})
		return
	}
	j.withToken(map[string]string{"username": f.username, "password": f.password})
}

// syncWithKey has the cluster use SSH.
func (f *gitFlags) syncWithKey(j *job, u url.URL) {
	if u.Scheme != "ssh" {
		u.Scheme, u.Host, u.User = "ssh", u.Hostname(), nil
	}
	if u.User == nil || f.username != defaultUsername {
		u.User = url.User(f.username)
	}
	if f.sshHostname != "" {
		u.Host = f.sshHostname
	}
	j.options.Sync.URL = u.String()
	j.withKey(&u, f.password)
	if f.silent || j.keys.File != "" {
		return
	}
	j.options.Secret.Register = func(context.Context, map[string]string) error {
		return ui.Confirm(f.In, f.Err, "Please give the key access to your repository")
	}
}
