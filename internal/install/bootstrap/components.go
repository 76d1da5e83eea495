package bootstrap

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"slices"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/gitops-toolkit/flux/internal/gitrepo"
	"github.com/gitops-toolkit/flux/internal/install"
	"github.com/gitops-toolkit/flux/internal/kustomize/build"
	"github.com/gitops-toolkit/flux/internal/kustomize/remote"
)

// Names of the files below the cluster's directory.
const (
	ComponentsFile    = "gotk-components.yaml"
	SyncFile          = "gotk-sync.yaml"
	KustomizationFile = "kustomization.yaml"
)

// kustomizationNames are those under which kustomize finds its file.
var kustomizationNames = []string{KustomizationFile, "kustomization.yml", "Kustomization"}

var (
	kustomizations = schema.GroupVersionResource{Group: "kustomize.toolkit.fluxcd.io", Version: "v1", Resource: "kustomizations"}
	repositories   = schema.GroupVersionResource{Group: "source.toolkit.fluxcd.io", Version: "v1", Resource: "gitrepositories"}
	secrets        = schema.GroupVersionResource{Version: "v1", Resource: "secrets"}
)

// directory is where the files of the controllers are, from the root of the repository.
func (o *Options) directory() string {
	return path.Join(path.Clean("/" + o.Path)[1:], o.Install.Namespace)
}

// get reads an object of the namespace; nil when there is none, or the cluster does not know the kind.
func (r *run) get(ctx context.Context, resource schema.GroupVersionResource, name string) (*unstructured.Unstructured, error) {
	obj, err := r.client.Dynamic().Resource(resource).Namespace(r.Install.Namespace).Get(ctx, name, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read %s %s/%s: %w", resource.Resource, r.Install.Namespace, name, err)
	}
	return obj, nil
}

// components commits the manifests of the controllers, and installs them where no controller would.
func (r *run) components(ctx context.Context) error {
	r.log.Actionf("generating component manifests")
	objects, err := install.Build(r.Bundle.Files, r.Install)
	if err != nil {
		return fmt.Errorf("component manifest generation failed: %w", err)
	}
	r.objects = objects
	var text bytes.Buffer
	if err := install.Write(&text, objects, r.Install); err != nil {
		return fmt.Errorf("component manifest generation failed: %w", err)
	}
	r.log.Successf("generated component manifests")
	err = r.tree.commit(ctx, "component manifests", fmt.Sprintf("Add Flux %s component manifests", r.Install.Version), func() ([]gitrepo.Edit, error) {
		return []gitrepo.Edit{{Path: path.Join(r.directory(), ComponentsFile), Content: text.Bytes()}}, nil
	})
	if err != nil {
		return err
	}
	if err := r.install(ctx); err != nil {
		return err
	}
	r.log.Successf("reconciled components")
	return nil
}

func (r *run) install(ctx context.Context) error {
	itself, err := r.upgradesItself(ctx)
	if err != nil {
		return err
	}
	if !itself {
		objects, err := r.customised(ctx)
		if err != nil {
			return err
		}
		objects = slices.DeleteFunc(objects, r.isSync) // they come when there is a Secret
		r.log.Actionf("installing components in %q namespace", r.Install.Namespace)
		if _, err := install.Apply(ctx, r.client, objects); err != nil {
			return fmt.Errorf("install failed: %w", err)
		}
		r.log.Successf("installed components")
	}
	if r.PullSecret == nil {
		return nil
	}
	if _, err := install.Apply(ctx, r.client, []*unstructured.Unstructured{r.PullSecret}); err != nil {
		return fmt.Errorf("failed to reconcile image pull secret: %w", err)
	}
	r.log.Successf("reconciled image pull secret %s", r.PullSecret.GetName())
	return nil
}

// upgradesItself tells whether the cluster has ever applied the repository, and can do so again: a run
// that left controllers which do not start has to be mended from here.
func (r *run) upgradesItself(ctx context.Context) (bool, error) {
	live, err := r.get(ctx, kustomizations, r.Install.Namespace)
	if err != nil || live == nil {
		return false, err
	}
	if applied, _, _ := unstructured.NestedString(live.Object, "status", "lastAppliedRevision"); applied == "" {
		return false, nil
	}
	running, err := install.Running(ctx, r.client, r.Install.Namespace)
	if err != nil {
		return false, err
	}
	for _, name := range Required {
		if !running[name] && !running["flux-controller"] {
			r.log.Warningf("%s is not running, and cannot follow the repository", name)
			return false, nil
		}
	}
	return true, nil
}

// customised returns the objects as the kustomization.yaml of the repository makes them, so that
// patches that people keep there hold from the first moment.
func (r *run) customised(ctx context.Context) ([]*unstructured.Unstructured, error) {
	files, err := r.tree.files(r.directory())
	if err != nil || !hasKustomization(files) {
		return r.objects, err
	}
	dir, err := r.tree.checkout()
	if err != nil {
		return nil, err
	}
	if len(bytes.TrimSpace(files[SyncFile])) == 0 { // not committed yet, but patches may name what will be in it
		text, err := r.syncManifests()
		if err != nil {
			return nil, err
		}
		if err := os.WriteFile(filepath.Join(dir, filepath.FromSlash(r.directory()), SyncFile), text, 0o600); err != nil {
			return nil, err
		}
	}
	result, err := r.built(ctx, dir, r.directory())
	if err != nil {
		return nil, fmt.Errorf("the %s of the repository does not build, mend it and run again: %w", path.Join(r.directory(), KustomizationFile), err)
	}
	if len(result.Objects) == 0 {
		return nil, errors.New("the kustomization.yaml of the repository builds to nothing: it must list " + ComponentsFile)
	}
	return result.Objects, nil
}

// built is a directory of a checkout as kustomize makes it.
func (r *run) built(ctx context.Context, checkout, dir string) (*build.Result, error) {
	return remote.Build(ctx, build.Options{Root: checkout, Mount: "/repository", Path: dir})
}

func hasKustomization(files map[string][]byte) bool {
	for _, name := range kustomizationNames {
		if _, ok := files[name]; ok {
			return true
		}
	}
	return false
}
