// Package bootstrap makes a cluster manage itself: it commits the manifests of the controllers and of
// their own source to a Git repository, installs them, gives them a credential, and waits until the
// cluster has applied what the repository says.
//
// Every step looks at what is there before it does anything, so that a run which was interrupted
// anywhere, or is repeated, ends well: unchanged files make no commit, a kustomization.yaml that exists
// is kept, a Secret that exists is kept unless a credential is given, and controllers that already
// follow the repository are upgraded by it and not from here.
//
// The package knows no Git host. What those add (making the repository, registering keys) is done by
// the caller before Run and in the hook Register.
package bootstrap

import (
	"context"
	"errors"
	"fmt"
	"path"
	"slices"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/gitops-toolkit/flux/internal/apply"
	"github.com/gitops-toolkit/flux/internal/gitrepo"
	"github.com/gitops-toolkit/flux/internal/gitrepo/signature"
	"github.com/gitops-toolkit/flux/internal/install"
)

// Log takes the lines that tell a person how it goes.
type Log interface {
	Actionf(format string, args ...any)
	Successf(format string, args ...any)
	Waitingf(format string, args ...any)
	Warningf(format string, args ...any)
	Failuref(format string, args ...any)
}

// Options describe one bootstrap.
type Options struct {
	// Install and Bundle say what is installed.
	Install install.Options
	Bundle  install.Bundle
	// PullSecret is applied before the controllers, if set.
	PullSecret *unstructured.Unstructured

	// Remote is the repository as this program reaches it.
	Remote gitrepo.Remote
	Branch string
	// Path is the directory of the cluster, such as "./clusters/production".
	Path   string
	Commit Commit

	Sync   Sync
	Secret Secret
}

// Commit says how commits look.
type Commit struct {
	Name, Email string
	// Appendix is added to the message after an empty line.
	Appendix string
	Signer   signature.Signer
}

// Sync is how the cluster follows the repository.
type Sync struct {
	URL string
	// Provider, if set, is the cloud whose identity opens the repository, and there is no Secret.
	Provider          string
	Interval          time.Duration
	RecurseSubmodules bool
	SparseCheckout    []string
}

// Secret is the credential of the cluster.
type Secret struct {
	Name string
	// Given says that the data come from the person, and replace those of a Secret that exists.
	Given bool
	// Generate returns the content.
	Generate func(ctx context.Context) (map[string]string, error)
	// Register makes the Git host accept what was generated; nil: nothing is to be done.
	Register func(ctx context.Context, data map[string]string) error
}

// Required are the components without which a cluster cannot manage itself.
var Required = []string{"source-controller", "kustomize-controller"}

// CheckComponents refuses a choice of components that cannot be bootstrapped.
func CheckComponents(names []string) error {
	for _, required := range Required {
		if !slices.Contains(names, required) {
			return fmt.Errorf("component %s is required", required)
		}
	}
	return install.CheckComponents(names)
}

// run is one bootstrap under way.
type run struct {
	Options
	log     Log
	client  *apply.Client
	tree    *worktree
	objects []*unstructured.Unstructured
	// kept says that the Secret of an earlier run was kept.
	kept bool
	// held is the source that the cluster leaves alone until it has moved.
	held *unstructured.Unstructured
}

// Check refuses, before anything is done, to move a cluster to another directory.
func Check(ctx context.Context, client *apply.Client, o Options) error {
	r := &run{Options: o, client: client}
	live, err := r.get(ctx, kustomizations, o.Install.Namespace)
	if err != nil || live == nil {
		return err
	}
	now, _, _ := unstructured.NestedString(live.Object, "spec", "path")
	if clean(now) != clean(o.Path) {
		return fmt.Errorf("sync path configuration (%q) would overwrite path (%q) of existing Kustomization %s/%s: give --path=%s, or delete that Kustomization first",
			o.Path, now, o.Install.Namespace, o.Install.Namespace, now)
	}
	return nil
}

func clean(p string) string { return path.Clean("/" + p) }

// Run does the whole of it, after Check.
func Run(ctx context.Context, client *apply.Client, log Log, o Options) error {
	tree, err := newWorktree(log, o)
	if err != nil {
		return err
	}
	defer tree.close()
	r := &run{Options: o, log: log, client: client, tree: tree}
	for _, step := range []func(context.Context) error{tree.clone, r.components, r.secret, r.sync, r.health} {
		if err := step(ctx); err != nil {
			return r.release(ctx, err)
		}
	}
	return r.release(ctx, nil)
}

// health waits for all that should be well now, and tells of everything that is not.
func (r *run) health(ctx context.Context) error {
	var errs []error
	for _, check := range []func(context.Context) error{r.sourceReady, r.kustomizationReady, r.controllersReady} {
		err := check(ctx)
		if errors.Is(ctx.Err(), context.Canceled) {
			return ctx.Err()
		}
		if err != nil {
			r.log.Failuref("%s", err)
			errs = append(errs, err)
		}
	}
	if len(errs) > 0 {
		return fmt.Errorf("bootstrap failed with %d health check failure(s): %w", len(errs), errors.Join(errs...))
	}
	return nil
}

func (r *run) controllersReady(ctx context.Context) error {
	r.log.Actionf("confirming components are healthy")
	var errs []error
	for _, name := range install.Deployments(r.objects) {
		if err := install.WaitReady(ctx, r.client, r.Install.Namespace, name); err != nil {
			r.log.Failuref("%s: deployment not ready", name)
			errs = append(errs, fmt.Errorf("%s: %w", name, err))
			continue
		}
		r.log.Successf("%s: deployment ready", name)
	}
	if len(errs) > 0 {
		return fmt.Errorf("not all components are healthy: %w", errors.Join(errs...))
	}
	r.log.Successf("all components are healthy")
	return nil
}
