// Package install has the words that put the controllers into a cluster and take them away. What
// they install is decided in the package of the same name outside the command line.
package install

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/gitops-toolkit/flux/internal/apply"
	"github.com/gitops-toolkit/flux/internal/cli/session"
	"github.com/gitops-toolkit/flux/internal/cli/ui"
	"github.com/gitops-toolkit/flux/internal/cli/value"
	"github.com/gitops-toolkit/flux/internal/install"
	"github.com/gitops-toolkit/flux/internal/version"
)

type flags struct {
	install.Options
	version   string
	manifests string
	extra     []string
	export    bool
	force     bool
	creds     string
	topology  string
	rbac      string
}

// Command returns `flux install`.
func Command(s *session.Session) *cobra.Command {
	f := &flags{Options: install.Defaults(version.Version), topology: string(install.Multi), rbac: string(install.Full)}
	cmd := &cobra.Command{
		Use:   "install",
		Short: "Install or upgrade the controllers",
		Long: "The install command puts the controllers and their definitions into a namespace. " +
			"Run again, it upgrades in place, and changes what was chosen before.",
		Example: `  # the newest that this program knows
  flux install

  # all components, with the images of a mirror
  flux install --components-extra=image-reflector-controller,image-automation-controller,source-watcher --registry=registry.example.com/flux

  # one process for a small cluster, with no more rights than each controller needs
  flux install --topology=single --rbac=minimal

  # what would be installed
  flux install --export > flux-system.yaml`,
		Args: cobra.NoArgs,
	}
	f.add(cmd)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		ctx, cancel := context.WithTimeout(cmd.Context(), s.Timeout)
		defer cancel()
		return f.run(ctx, s)
	}
	return cmd
}

func (f *flags) add(cmd *cobra.Command) {
	o := &f.Options
	flags := cmd.Flags()
	flags.BoolVar(&f.export, "export", false, "print the manifests on stdout and touch no cluster")
	flags.StringVarP(&f.version, "version", "v", "", "version to install; by default that of this program, whose manifests are built in")
	flags.StringVar(&f.manifests, "manifests", "", "directory of the manifests, or page of the releases")
	flags.StringSliceVar(&o.Components, "components", o.Components, "controllers to install")
	flags.StringSliceVar(&f.extra, "components-extra", nil, "controllers to install besides: "+strings.Join(install.ExtraComponents, ", "))
	flags.StringVar(&o.Registry, "registry", o.Registry, "registry of the images")
	flags.StringVar(&f.creds, "registry-creds", "", "user:password of the registry, kept in the Secret of --image-pull-secret")
	flags.StringVar(&o.ImagePullSecret, "image-pull-secret", "", "Secret with which the images are pulled")
	flags.BoolVar(&o.WatchAllNamespaces, "watch-all-namespaces", true, "serve the objects of all namespaces; false: only of that of the installation")
	flags.BoolVar(&o.NetworkPolicy, "network-policy", true, "let only what is needed reach the controllers")
	flags.StringVar(&o.ClusterDomain, "cluster-domain", o.ClusterDomain, "domain of the cluster's Services")
	flags.StringSliceVar(&o.TolerationKeys, "toleration-keys", nil, "taints that the controllers tolerate")
	flags.Var(value.OneOf(&o.LogLevel, "log level", "debug", "info", "error"), "log-level", "least level that the controllers log: debug, info or error")
	flags.BoolVar(&f.force, "force", false, "take over what another tool has installed without asking")
	flags.Var(value.OneOf(&f.topology, "topology", "multi", "single"), "topology", "multi: a Deployment for each controller; single: one for all")
	flags.Var(value.OneOf(&f.rbac, "rbac", "full", "minimal"), "rbac", "full: as upstream; minimal: least rights for each controller")
	_ = flags.MarkHidden("manifests")
}

// settle turns flags into options.
func (f *flags) settle(s *session.Session) (user, password string, err error) {
	f.Namespace = s.Namespace
	f.Components = distinct(append(slices.Clone(f.Components), f.extra...))
	f.Topology, f.RBAC = install.Topology(f.topology), install.RBAC(f.rbac)
	if f.creds == "" {
		return "", "", nil
	}
	if f.ImagePullSecret == "" {
		return "", "", errors.New("--registry-creds requires --image-pull-secret to be set")
	}
	user, password, ok := strings.Cut(f.creds, ":")
	if !ok || user == "" {
		return "", "", errors.New("invalid --registry-creds format, expected 'user:password'")
	}
	return user, password, nil
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

func (f *flags) run(ctx context.Context, s *session.Session) error {
	user, password, err := f.settle(s)
	if err != nil {
		return err
	}
	// Nothing is said before the components are known to exist.
	if err := install.CheckComponents(f.Components); err != nil {
		return err
	}
	request := install.Request{Version: f.version, Program: version.Version, Path: f.manifests}
	bundle, err := install.Releases{}.Manifests(ctx, request)
	if err != nil {
		return err
	}
	defer bundle.Close()
	f.Version = bundle.Version
	if f.export {
		objects, err := install.Build(bundle.Files, f.Options)
		if err != nil {
			return err
		}
		return install.Write(s.Out, objects, f.Options)
	}
	i := &installer{Session: s, flags: f, bundle: bundle}
	if f.creds != "" {
		i.secret = pullSecret(f.Namespace, f.ImagePullSecret, f.Registry, user, password)
	}
	return i.run(ctx)
}

// installer brings a bundle to a cluster and tells how it goes.
type installer struct {
	*session.Session
	*flags
	bundle install.Bundle
	client *apply.Client
	secret *unstructured.Unstructured
}

func (i *installer) run(ctx context.Context) error {
	config, err := i.Kube.RESTConfig()
	if err != nil {
		return err
	}
	if i.client, err = apply.NewClient(config); err != nil {
		return err
	}
	if err := i.guard(ctx); err != nil {
		return err
	}
	i.Log.Generatef("generating manifests")
	objects, err := install.Build(i.bundle.Files, i.Options)
	if err != nil {
		return err
	}
	i.Log.Successf("manifests build completed")
	i.Log.Actionf("installing components in %s namespace", i.Session.Namespace)
	if err := i.apply(ctx, objects); err != nil {
		return err
	}
	return i.verify(ctx, objects)
}

// guard refuses to work against a Git repository, and asks before it takes over from a tool.
func (i *installer) guard(ctx context.Context) error {
	found, err := install.Find(ctx, i.client)
	if err != nil || found == nil {
		return err
	}
	switch {
	case found.Bootstrapped:
		return fmt.Errorf("this cluster has already been bootstrapped with Flux %s! Please use 'flux bootstrap' to upgrade", found.Version)
	case found.ManagedBy != "" && !i.force:
		i.Log.Rawf("Flux %s has been installed on this cluster with %s!\n", found.Version, found.ManagedBy)
		if err := ui.Confirm(i.In, i.Err, "Are you sure you want to take over this installation"); err != nil {
			return errors.New("installation cancelled")
		}
	}
	return nil
}

func (i *installer) apply(ctx context.Context, objects []*unstructured.Unstructured) error {
	replaced, err := install.Replaced(ctx, i.client, i.bundle, i.Options, objects)
	if err != nil {
		return fmt.Errorf("install failed: %w", err)
	}
	// Controllers that are replaced stop while they may still give their leases back.
	if err := i.remove(ctx, replaced, true); err != nil {
		return fmt.Errorf("install failed: %w", err)
	}
	changes, err := install.Apply(ctx, i.client, objects)
	for _, change := range changes {
		i.Log.Rawf("%s\n", change)
	}
	if err != nil {
		return fmt.Errorf("install failed: %w", err)
	}
	if i.secret != nil {
		i.Log.Actionf("generating image pull secret %s", i.ImagePullSecret)
		if _, err := install.Apply(ctx, i.client, []*unstructured.Unstructured{i.secret}); err != nil {
			return fmt.Errorf("install failed: %w", err)
		}
	}
	if err := i.remove(ctx, replaced, false); err != nil {
		return fmt.Errorf("install failed: %w", err)
	}
	return nil
}

// remove deletes those leftovers that are Deployments, or the others.
func (i *installer) remove(ctx context.Context, leftovers []install.Leftover, deployments bool) error {
	for _, l := range leftovers {
		if l.Deployment() != deployments {
			continue
		}
		if err := l.Remove(ctx, deployments); err != nil {
			return err
		}
		i.Log.Rawf("%s deleted\n", l)
	}
	return nil
}

// verify waits until every Deployment is ready.
func (i *installer) verify(ctx context.Context, objects []*unstructured.Unstructured) error {
	i.Log.Waitingf("verifying installation")
	failed := false
	for _, name := range install.Deployments(objects) {
		err := install.WaitReady(ctx, i.client, i.Session.Namespace, name)
		switch {
		case err == nil:
			i.Log.Successf("%s: deployment ready", name)
			continue
		case errors.Is(err, install.ErrMissing):
			i.Log.Failuref("%s: deployment not found", name)
		default:
			i.Log.Failuref("%s: deployment not ready: %s", name, err)
		}
		failed = true
	}
	if failed {
		return errors.New("install failed")
	}
	i.Log.Successf("install finished")
	return nil
}

// pullSecret holds credentials as the kubelet reads them.
func pullSecret(namespace, name, registry, user, password string) *unstructured.Unstructured {
	host, _, _ := strings.Cut(registry, "/")
	config, _ := json.Marshal(map[string]any{"auths": map[string]any{host: map[string]string{
		"username": user, "password": password,
		"auth": base64.StdEncoding.EncodeToString([]byte(user + ":" + password)),
	}}})
	secret := &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "v1", "kind": "Secret", "type": "kubernetes.io/dockerconfigjson",
		"data": map[string]any{".dockerconfigjson": base64.StdEncoding.EncodeToString(config)},
	}}
	secret.SetNamespace(namespace)
	secret.SetName(name)
	return secret
}
