// Package install has the words that put the controllers into a cluster and take them away. What
// they install is decided in the package of the same name outside the command line.
package install

import (
	"context"
	"errors"
	"fmt"

	"github.com/spf13/cobra"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/gitops-toolkit/flux/internal/apply"
	"github.com/gitops-toolkit/flux/internal/cli/session"
	"github.com/gitops-toolkit/flux/internal/cli/ui"
	"github.com/gitops-toolkit/flux/internal/install"
)

type flags struct {
	*Choices
	export bool
}

// Command returns `flux install`.
func Command(s *session.Session) *cobra.Command {
	f := &flags{Choices: NewChoices()}
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
	f.Define(cmd.Flags())
	cmd.Flags().BoolVar(&f.export, "export", false, "print the manifests on stdout and touch no cluster")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		ctx, cancel := context.WithTimeout(cmd.Context(), s.Timeout)
		defer cancel()
		return f.run(ctx, s)
	}
	return cmd
}

func (f *flags) run(ctx context.Context, s *session.Session) error {
	bundle, err := f.Settle(ctx, s.Namespace)
	if err != nil {
		return err
	}
	defer bundle.Close()
	if f.export {
		objects, err := install.Build(bundle.Files, f.Options)
		if err != nil {
			return err
		}
		return install.Write(s.Out, objects, f.Options)
	}
	i := &installer{Session: s, flags: f, bundle: bundle, secret: f.PullSecret()}
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
	case found.ManagedBy != "" && !i.Force:
		i.Log.Rawf("Flux %s has been installed on this cluster with %s!\n", found.Version, found.ManagedBy)
		if err := ui.Confirm(i.In, i.Err, "Are you sure you want to take over this installation"); err != nil {
			return errors.New("installation cancelled")
		}
	}
	return i.Downgrade(ctx, i.Log, i.client, found, i.bundle)
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
