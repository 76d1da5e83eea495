// Package artifact holds the words that work on artifacts in OCI registries: build, push, pull, list, tag and diff.
// They need no cluster. The archive that is made of files is the same on any machine for the same files and modes.
package artifact

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/gitops-toolkit/flux/internal/auth"
	"github.com/gitops-toolkit/flux/internal/cli/session"
	"github.com/gitops-toolkit/flux/internal/registry"
)

// Add puts the commands below root, into groups that are there already or are made.
func Add(s *session.Session, root *cobra.Command) {
	for _, verb := range []struct {
		name, title string
		command     *cobra.Command
	}{
		{"build", "Build from local files", buildCommand(s)},
		{"diff", "Compare what is here with what is there", diffCommand(s)},
		{"list", "List what a registry holds", listCommand(s)},
		{"pull", "Pull from a registry", pullCommand(s)},
		{"push", "Push to a registry", pushCommand(s)},
		{"tag", "Tag in a registry", tagCommand(s)},
	} {
		group := child(root, verb.name)
		if group == nil {
			group = &cobra.Command{Use: verb.name, Short: verb.title}
			root.AddCommand(group)
		}
		group.AddCommand(verb.command)
	}
}

func child(root *cobra.Command, name string) *cobra.Command {
	i := slices.IndexFunc(root.Commands(), func(c *cobra.Command) bool { return c.Name() == name })
	if i < 0 {
		return nil
	}
	return root.Commands()[i]
}

// remoteFlags say how to reach a registry.
type remoteFlags struct {
	creds, provider string
	insecure        bool
}

func (f *remoteFlags) define(flags *pflag.FlagSet, insecure bool) {
	f.provider = generic
	flags.StringVar(&f.creds, "creds", "", "login for the registry as <username>[:<password>]; without a colon it is a token")
	flags.Var((*provider)(&f.provider), "provider", "who authenticates: generic, aws, azure or gcp")
	if insecure {
		flags.BoolVar(&f.insecure, "insecure-registry", false, "allow a registry without TLS, or with a certificate that nobody vouches for")
	}
}

const generic = "generic"

var providers = []string{generic, "aws", "azure", "gcp"}

// provider is the value of --provider.
type provider string

// String returns the chosen provider.
func (p *provider) String() string { return string(*p) }

// Set takes one of the providers.
func (p *provider) Set(value string) error {
	if !slices.Contains(providers, value) {
		return fmt.Errorf("'%s' is none of %s", value, strings.Join(providers, ", "))
	}
	*p = provider(value)
	return nil
}

// Type lists the choices, for the help text.
func (p *provider) Type() string { return strings.Join(providers, "|") }

// open returns the repository of a location, with the login of the flags, of a cloud, or of the Docker configuration.
func (f *remoteFlags) open(ctx context.Context, l registry.Location) (*registry.Repository, error) {
	login, err := f.login(ctx, l)
	if err != nil {
		return nil, err
	}
	return registry.NewPool(registry.Options{}).Open(registry.Remote{URL: registry.URLPrefix + l.Repository, Login: login, Insecure: f.insecure})
}

func (f *remoteFlags) login(ctx context.Context, l registry.Location) (auth.Login, error) {
	if f.creds != "" {
		user, password, ok := strings.Cut(f.creds, ":")
		if !ok {
			return auth.Login{RegistryToken: f.creds}, nil
		}
		return auth.Login{Username: user, Password: password}, nil
	}
	if f.provider != generic {
		return newCloudIdentity().login(ctx, f.provider, l)
	}
	repo, err := name.NewRepository(l.Repository)
	if err != nil {
		return auth.Login{}, err
	}
	found, err := authn.Resolve(ctx, authn.DefaultKeychain, repo)
	if err != nil {
		return auth.Login{}, fmt.Errorf("read the login for '%s' from the Docker configuration: %w", repo.RegistryStr(), err)
	}
	config, err := authn.Authorization(ctx, found)
	if err != nil {
		return auth.Login{}, fmt.Errorf("read the login for '%s' from the Docker configuration: %w", repo.RegistryStr(), err)
	}
	return auth.Login{
		Username: config.Username, Password: config.Password, IdentityToken: config.IdentityToken, RegistryToken: config.RegistryToken,
	}, nil
}

// run wraps a command's body: it takes the URL from the arguments and bounds the body by --timeout.
func run(s *session.Session, body func(ctx context.Context, url string) error) func(*cobra.Command, []string) error {
	return func(cmd *cobra.Command, args []string) error {
		if len(args) < 1 {
			return errors.New("artifact URL is required")
		}
		ctx, cancel := context.WithTimeout(cmd.Context(), s.Timeout)
		defer cancel()
		return body(ctx, args[0])
	}
}
