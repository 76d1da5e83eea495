package install

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"slices"
	"strings"

	"github.com/spf13/pflag"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/gitops-toolkit/flux/internal/apply"
	"github.com/gitops-toolkit/flux/internal/cli/ui"
	"github.com/gitops-toolkit/flux/internal/cli/value"
	"github.com/gitops-toolkit/flux/internal/install"
	"github.com/gitops-toolkit/flux/internal/version"
)

// Choices are what a person may choose of an installation; `flux install` and `flux bootstrap` share them.
type Choices struct {
	install.Options
	// Force takes over what another tool has installed.
	Force bool

	version        string
	manifests      string
	extra          []string
	creds          string
	topology, rbac string
	user, password string
}

// NewChoices returns the defaults.
func NewChoices() *Choices {
	return &Choices{Options: install.Defaults(version.Version), topology: string(install.Multi), rbac: string(install.Full)}
}

// Define adds the flags to a command.
func (c *Choices) Define(flags *pflag.FlagSet) {
	o := &c.Options
	flags.StringVarP(&c.version, "version", "v", "", "version to install; by default that of this program, whose manifests are built in")
	flags.StringVar(&c.manifests, "manifests", "", "directory of the manifests, or page of the releases")
	flags.StringSliceVar(&o.Components, "components", o.Components, "controllers to install")
	flags.StringSliceVar(&c.extra, "components-extra", nil, "controllers to install besides: "+strings.Join(install.ExtraComponents, ", "))
	flags.StringVar(&o.Registry, "registry", o.Registry, "registry of the images")
	flags.StringVar(&c.creds, "registry-creds", "", "user:password of the registry, kept in the Secret of --image-pull-secret")
	flags.StringVar(&o.ImagePullSecret, "image-pull-secret", "", "Secret with which the images are pulled")
	flags.BoolVar(&o.WatchAllNamespaces, "watch-all-namespaces", true, "serve the objects of all namespaces; false: only of that of the installation")
	flags.BoolVar(&o.NetworkPolicy, "network-policy", true, "let only what is needed reach the controllers")
	flags.StringVar(&o.ClusterDomain, "cluster-domain", o.ClusterDomain, "domain of the cluster's Services")
	flags.StringSliceVar(&o.TolerationKeys, "toleration-keys", nil, "taints that the controllers tolerate")
	flags.Var(value.OneOf(&o.LogLevel, "log level", "debug", "info", "error"), "log-level", "least level that the controllers log: debug, info or error")
	flags.BoolVar(&c.Force, "force", false, "take over what another tool has installed without asking")
	flags.Var(value.OneOf(&c.topology, "topology", "multi", "single"), "topology", "multi: a Deployment for each controller; single: one for all")
	flags.Var(value.OneOf(&c.rbac, "rbac", "full", "minimal"), "rbac", "full: as upstream; minimal: least rights for each controller")
	_ = flags.MarkHidden("manifests")
}

// Settle checks the choices, completes the Options and finds the manifests. The caller closes the Bundle.
func (c *Choices) Settle(ctx context.Context, namespace string) (install.Bundle, error) {
	c.Namespace = namespace
	c.Components = distinct(append(slices.Clone(c.Components), c.extra...))
	c.Topology, c.RBAC = install.Topology(c.topology), install.RBAC(c.rbac)
	if err := c.credentials(); err != nil {
		return install.Bundle{}, err
	}
	// Nothing is said before the components are known to exist.
	if err := install.CheckComponents(c.Components); err != nil {
		return install.Bundle{}, err
	}
	bundle, err := install.DefaultReleases().Manifests(ctx, install.Request{Version: c.version, Program: version.Version, Path: c.manifests})
	if err != nil {
		return install.Bundle{}, err
	}
	c.Version = bundle.Version
	return bundle, nil
}

func (c *Choices) credentials() error {
	if c.creds == "" {
		return nil
	}
	if c.ImagePullSecret == "" {
		return errors.New("--registry-creds requires --image-pull-secret to be set")
	}
	user, password, ok := strings.Cut(c.creds, ":")
	if !ok || user == "" {
		return errors.New("invalid --registry-creds format, expected 'user:password'")
	}
	c.user, c.password = user, password
	return nil
}

func distinct(names []string) []string {
	var out []string
	for _, name := range names {
		if !slices.Contains(out, name) {
			out = append(out, name)
		}
	}
	return out
}

// PullSecret holds the credentials of the registry as the kubelet reads them; nil without.
func (c *Choices) PullSecret() *unstructured.Unstructured {
	if c.creds == "" {
		return nil
	}
	host, _, _ := strings.Cut(c.Registry, "/")
	config, _ := json.Marshal(map[string]any{"auths": map[string]any{host: map[string]string{
		"username": c.user, "password": c.password,
		"auth": base64.StdEncoding.EncodeToString([]byte(c.user + ":" + c.password)),
	}}})
	secret := &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "v1", "kind": "Secret", "type": "kubernetes.io/dockerconfigjson",
		"data": map[string]any{".dockerconfigjson": base64.StdEncoding.EncodeToString(config)},
	}}
	secret.SetNamespace(c.Namespace)
	secret.SetName(c.ImagePullSecret)
	return secret
}

// Downgrade warns when what is installed is newer, and refuses what could not be undone.
func (c *Choices) Downgrade(ctx context.Context, log *ui.Log, client *apply.Client, found *install.Installed, bundle install.Bundle) error {
	if !found.Newer(c.Version) {
		return nil
	}
	objects, err := install.Build(bundle.Files, c.Options)
	if err != nil {
		return err
	}
	if err := install.CheckStored(ctx, client, objects); err != nil {
		return err
	}
	log.Warningf("Flux %s is installed, which is newer than %s: this is a downgrade; fields that only the newer version knows are lost", found.Version, c.Version)
	return nil
}
