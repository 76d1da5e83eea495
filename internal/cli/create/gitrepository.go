package create

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	corev1 "k8s.io/api/core/v1"

	"github.com/gitops-toolkit/flux/api/meta"
	sourcev1 "github.com/gitops-toolkit/flux/api/source/v1"
	"github.com/gitops-toolkit/flux/internal/cli/kinds"
	"github.com/gitops-toolkit/flux/internal/cli/sshkey"
	"github.com/gitops-toolkit/flux/internal/cli/ui"
	"github.com/gitops-toolkit/flux/internal/cli/value"
	"github.com/gitops-toolkit/flux/internal/gitrepo"
)

const gitTitle = "GitRepository source"

type gitFlags struct {
	url               string
	ref               sourcev1.GitRepositoryRef
	username          string
	password          string
	caFile            string
	keys              sshkey.Flags
	secretRef         string
	proxySecretRef    string
	provider          string
	recurseSubmodules bool
	ignorePaths       []string
	sparsePaths       []string
	silent            bool
}

func (m *maker) gitRepository() *cobra.Command {
	f := &gitFlags{}
	return m.command(recipe{
		kind:  kinds.GitRepository,
		title: gitTitle,
		short: "Create or change a GitRepository source",
		example: `  # follow the default branch of a public repository
  flux create source git podinfo --url=https://github.com/stefanprodan/podinfo

  # follow releases
  flux create source git podinfo --url=https://github.com/stefanprodan/podinfo --tag-semver=">=6.0.0"

  # over SSH, with a new deploy key
  flux create source git fleet --url=ssh://git@github.com/org/fleet --branch=main

  # over HTTPS with a token
  flux create source git fleet --url=https://github.com/org/fleet --branch=main --username=git --password=$TOKEN`,
		flags: f.define,
		build: func(ctx context.Context, name string) (meta.Object, error) { return f.build(ctx, m, name) },
		done:  fetchedLines(gitTitle),
	})
}

func (f *gitFlags) define(flags *pflag.FlagSet) {
	flags.StringVar(&f.url, "url", "", "address of the repository: ssh, https or http")
	flags.StringVar(&f.ref.Branch, "branch", "", "branch to follow; without any reference, the repository's default branch")
	flags.StringVar(&f.ref.Tag, "tag", "", "tag to follow")
	flags.StringVar(&f.ref.SemVer, "tag-semver", "", "range of versions; the latest tag in it is followed")
	flags.StringVar(&f.ref.Commit, "commit", "", "commit to stay at")
	flags.StringVar(&f.ref.Name, "ref-name", "", "reference to follow, such as refs/pull/1/head")
	flags.StringVarP(&f.username, "username", "u", "", "user name for basic authentication")
	flags.StringVarP(&f.password, "password", "p", "", "password for basic authentication, or of the private key")
	flags.StringVar(&f.caFile, "ca-file", "", "certificates, PEM encoded, that sign the server's")
	f.keys.Define(flags)
	flags.StringVar(&f.secretRef, "secret-ref", "", "existing Secret with the credentials")
	flags.StringVar(&f.proxySecretRef, "proxy-secret-ref", "", "existing Secret with the proxy's address and credentials")
	flags.Var(value.OneOf(&f.provider, "source Git provider", "generic", "github", "aws", "azure"), "provider", "who authenticates: generic, github, aws or azure")
	flags.BoolVar(&f.recurseSubmodules, "recurse-submodules", false, "fetch submodules, too")
	flags.StringSliceVar(&f.ignorePaths, "ignore-paths", nil, "paths to leave out, in gitignore syntax")
	flags.StringSliceVar(&f.sparsePaths, "sparse-checkout-paths", nil, "directories to fetch, all when empty")
	flags.BoolVarP(&f.silent, "silent", "s", false, "do not ask whether the deploy key has been added")
}

func (f *gitFlags) build(ctx context.Context, m *maker, name string) (meta.Object, error) {
	if f.url == "" {
		return nil, errors.New("url is required")
	}
	address, err := gitURL(f.url)
	if err != nil {
		return nil, err
	}
	obj := f.object(m)
	if m.export {
		return obj, f.ensureRef(ctx, m, obj, gitrepo.Auth{Username: f.username, Password: f.password})
	}
	m.generating(gitTitle)
	auth, err := f.authenticate(ctx, m, name, address, obj)
	if err != nil {
		return nil, err
	}
	return obj, f.ensureRef(ctx, m, obj, auth)
}

// gitURL parses the address of a repository.
func gitURL(text string) (*url.URL, error) {
	if address, ok := value.FromSCP(text); ok {
		return nil, fmt.Errorf("git URL parse failed: '%s' is no URL; write it as %s", text, address)
	}
	address, err := url.Parse(text)
	if err != nil {
		return nil, fmt.Errorf("git URL parse failed: %w", err)
	}
	switch address.Scheme {
	case "ssh", "http", "https":
		return address, nil
	}
	return nil, fmt.Errorf("git URL scheme '%s' not supported, can be: ssh, http and https", address.Scheme)
}

func (f *gitFlags) object(m *maker) *sourcev1.GitRepository {
	obj := &sourcev1.GitRepository{}
	obj.Spec = sourcev1.GitRepositorySpec{
		URL:               f.url,
		Interval:          meta.NewDuration(m.interval),
		Timeout:           optionalDuration(m.fetchTimeout),
		SecretRef:         localRef(f.secretRef),
		ProxySecretRef:    localRef(f.proxySecretRef),
		Provider:          f.provider,
		RecurseSubmodules: f.recurseSubmodules,
		Ignore:            ignoreRules(f.ignorePaths),
		SparseCheckout:    f.sparsePaths,
		Reference:         &f.ref,
	}
	return obj
}

// ensureRef looks up the default branch where no reference is given: a guess would follow the
// wrong branch, or none.
func (f *gitFlags) ensureRef(ctx context.Context, m *maker, obj *sourcev1.GitRepository, auth gitrepo.Auth) error {
	if f.ref != (sourcev1.GitRepositoryRef{}) {
		return nil
	}
	if !m.export {
		m.Log.Actionf("looking up the default branch of %s", gitrepo.RedactURL(f.url))
	}
	branch, err := gitrepo.RemoteHead(ctx, gitrepo.Remote{URL: f.url, Auth: auth})
	if err != nil {
		return fmt.Errorf("a Git ref is required, use one of the following: --branch, --tag, --commit, --ref-name or --tag-semver (the default branch could not be looked up: %w)", err)
	}
	if !m.export {
		m.Log.Successf("default branch is %s", branch)
	}
	obj.Spec.Reference = &sourcev1.GitRepositoryRef{Branch: branch}
	return nil
}

// authenticate writes the Secret with the credentials that were given, and returns what it
// takes to read the repository from here.
func (f *gitFlags) authenticate(ctx context.Context, m *maker, name string, address *url.URL, obj *sourcev1.GitRepository) (gitrepo.Auth, error) {
	if address.Scheme == "http" {
		m.Log.Warningf("insecure configuration: credentials configured for an HTTP URL")
	}
	if f.secretRef != "" {
		return f.existing(ctx, m)
	}
	data := map[string]string{}
	if address.Scheme == "ssh" {
		if err := f.deployKey(ctx, m, address, data); err != nil {
			return gitrepo.Auth{}, err
		}
	} else if f.username != "" && f.password != "" {
		data["username"], data["password"] = f.username, f.password
	}
	if f.caFile != "" {
		ca, err := sshkey.ReadFile(f.caFile)
		if err != nil {
			return gitrepo.Auth{}, fmt.Errorf("unable to read TLS CA file: %w", err)
		}
		data["ca.crt"] = string(ca)
	}
	if len(data) == 0 {
		return gitrepo.Auth{}, nil
	}
	m.Log.Actionf("applying secret with repository credentials")
	if err := m.applySecret(ctx, secretDoc{name: name, data: data}); err != nil {
		return gitrepo.Auth{}, err
	}
	m.Log.Successf("authentication configured")
	obj.Spec.SecretRef = localRef(name)
	return authOf(data), nil
}

func (f *gitFlags) deployKey(ctx context.Context, m *maker, address *url.URL, data map[string]string) error {
	hosts, err := sshkey.Scan(ctx, address)
	if err != nil {
		return err
	}
	m.Log.Successf("collected public key from SSH server:\n%s", strings.TrimSpace(string(hosts)))
	pair, err := f.keys.Pair(f.password)
	if err != nil {
		return err
	}
	data["identity"], data["identity.pub"], data["known_hosts"] = string(pair.Private), string(pair.Public), string(hosts)
	if f.password != "" && f.keys.File != "" {
		data["password"] = f.password
	}
	m.Log.Generatef("deploy key: %s", strings.TrimSpace(string(pair.Public)))
	if f.silent {
		return nil
	}
	if err := ui.Confirm(m.In, m.Err, "Have you added the deploy key to your repository"); err != nil {
		return err
	}
	return nil
}

// existing reads the Secret that the flags name, for the look-up of the default branch.
func (f *gitFlags) existing(ctx context.Context, m *maker) (gitrepo.Auth, error) {
	if f.ref != (sourcev1.GitRepositoryRef{}) {
		return gitrepo.Auth{}, nil
	}
	c, err := m.Client()
	if err != nil {
		return gitrepo.Auth{}, err
	}
	var secret corev1.Secret
	if err := c.Get(ctx, kinds.Secrets, m.Namespace, f.secretRef, &secret); err != nil {
		return gitrepo.Auth{}, fmt.Errorf("read the credentials to look up the default branch: %w", err)
	}
	data := map[string]string{}
	for key, value := range secret.Data {
		data[key] = string(value)
	}
	return authOf(data), nil
}

func authOf(data map[string]string) gitrepo.Auth {
	auth := gitrepo.Auth{
		Username: data["username"], BearerToken: data["bearerToken"],
		CA: []byte(data["ca.crt"]), ClientCert: []byte(data["tls.crt"]), ClientKey: []byte(data["tls.key"]),
		Identity: []byte(data["identity"]), KnownHosts: []byte(data["known_hosts"]),
	}
	if len(auth.Identity) > 0 {
		auth.Passphrase = data["password"]
	} else {
		auth.Password = data["password"]
	}
	return auth
}
