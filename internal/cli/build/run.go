package build

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	kustomizev1 "github.com/gitops-toolkit/flux/api/kustomize/v1"
	"github.com/gitops-toolkit/flux/internal/artifact/ignore"
	"github.com/gitops-toolkit/flux/internal/cli/kinds"
	"github.com/gitops-toolkit/flux/internal/kustomize/build"
	"github.com/gitops-toolkit/flux/internal/kustomize/remote"
	"github.com/gitops-toolkit/flux/internal/kustomize/spec"
)

// Build returns the objects of one Kustomization built from dir, as they would be applied.
func (b *Builder) Build(ctx context.Context, obj *kustomizev1.Kustomization, dir string) ([]*unstructured.Unstructured, error) {
	obj = obj.DeepCopy()
	obj.Normalize()
	root, rel, err := b.root(dir)
	if err != nil {
		return nil, err
	}
	ignored, err := b.ignored(root, rel)
	if err != nil {
		return nil, err
	}
	step, err := b.substitution(ctx, obj)
	if err != nil {
		return nil, err
	}
	result, err := remote.Build(ctx, build.Options{
		Root: root, Mount: root, Path: rel, Spec: spec.Merged(&obj.Spec), Substitute: step, Ignored: ignored,
	})
	var failed *substitutionError
	if errors.As(err, &failed) {
		return nil, failed
	}
	if err != nil {
		return nil, err
	}
	prepared := spec.Preparation(obj)
	for _, object := range result.Objects {
		prepared.Label(object)
		hide(object)
	}
	return result.Objects, nil
}

// root is that of the checkout, if there is one that is known.
func (b *Builder) root(dir string) (root, rel string, err error) {
	if b.Root == "" {
		return rootOf(dir)
	}
	rel, err = filepath.Rel(b.Root, dir)
	return b.Root, rel, err
}

// rootOf returns the directory that bases may not lead out of: the working copy around dir, or
// the working directory if dir is in it, or dir itself.
func rootOf(dir string) (root, rel string, err error) {
	abs, err := filepath.Abs(dir)
	if err != nil {
		return "", "", err
	}
	if abs, err = filepath.EvalSymlinks(abs); err != nil {
		return "", "", err
	}
	root = abs
	for above := abs; ; above = filepath.Dir(above) {
		if _, err := os.Stat(filepath.Join(above, ".git")); err == nil {
			root = above
			break
		}
		if above == filepath.Dir(above) {
			root = workingRoot(abs)
			break
		}
	}
	rel, err = filepath.Rel(root, abs)
	return root, rel, err
}

func workingRoot(abs string) string {
	wd, err := os.Getwd()
	if err != nil {
		return abs
	}
	if wd, err = filepath.EvalSymlinks(wd); err != nil {
		return abs
	}
	if rel, err := filepath.Rel(wd, abs); err != nil || rel == ".." || strings.HasPrefix(rel, ".."+string(filepath.Separator)) {
		return abs
	}
	return wd
}

// ignored leaves out what is left out of an artifact by the .sourceignore files of the root, and what --ignore-paths names,
// whose patterns are relative to the path that is built.
func (b *Builder) ignored(root, rel string) (func(string, bool) bool, error) {
	rel = filepath.ToSlash(rel)
	patterns, err := ignore.Parse(strings.Join(b.Ignore, "\n"), rel)
	if err != nil {
		return nil, fmt.Errorf("--ignore-paths: %w", err)
	}
	set, err := ignore.LoadBelow(os.DirFS(root), rel, patterns)
	if err != nil {
		return nil, err
	}
	return func(path string, dir bool) bool {
		rel := strings.Trim(strings.TrimPrefix(path, root), "/")
		return rel != "" && set.Excluded(rel, dir)
	}, nil
}

// substitution returns the step for spec.postBuild, nil when there is nothing to substitute.
func (b *Builder) substitution(ctx context.Context, obj *kustomizev1.Kustomization) (build.Step, error) {
	variables := b.variables(ctx, obj)
	expand := variables.Step()
	if variables.Err != nil || expand == nil {
		return nil, variables.Err
	}
	return func(ctx context.Context, text build.Text) ([]byte, error) {
		expanded, err := expand(ctx, text)
		if err != nil {
			return nil, &substitutionError{text.Object.GetName(), err}
		}
		return expanded, nil
	}, nil
}

// substitutionError names the object whose variables could not be replaced.
type substitutionError struct {
	name string
	err  error
}

// Error returns the message that is printed.
func (e *substitutionError) Error() string {
	return fmt.Sprintf("var substitution failed for '%s': %s", e.name, e.err)
}

// Unwrap returns the cause.
func (e *substitutionError) Unwrap() error { return e.err }

// variables returns what spec.postBuild substitutes; what lies in the cluster is left out when
// there is none.
func (b *Builder) variables(ctx context.Context, obj *kustomizev1.Kustomization) *spec.Variables {
	if b.Client == nil {
		return spec.ReadVariables(ctx, nil, obj, b.Strict)
	}
	return spec.ReadVariables(ctx, kinds.Reader{Client: b.Client}, obj, b.Strict)
}

// asKustomization returns the object if it is one that applies to this cluster.
func asKustomization(object *unstructured.Unstructured) (*kustomizev1.Kustomization, error) {
	if object.GroupVersionKind().GroupKind() != (schema.GroupKind{Group: kinds.Kustomization.Group, Kind: kinds.Kustomization.Kind}) {
		return nil, nil
	}
	text, err := json.Marshal(object.Object)
	if err != nil {
		return nil, err
	}
	obj := &kustomizev1.Kustomization{}
	if err := json.Unmarshal(text, obj); err != nil {
		return nil, fmt.Errorf("read Kustomization %s/%s: %w", object.GetNamespace(), object.GetName(), err)
	}
	if obj.Spec.KubeConfig != nil {
		return nil, nil
	}
	return obj, nil
}

// Local returns the directory of a Kustomization that was found, from --local-sources.
func (b *Builder) Local(obj *kustomizev1.Kustomization) (string, error) {
	source := kinds.Kustomization.ShowSource(obj).String()
	dir, ok := b.LocalSources[source]
	if !ok {
		return "", fmt.Errorf("cannot get local path for %s of kustomization %s", source, obj.Name)
	}
	return filepath.Join(dir, filepath.FromSlash(obj.Spec.Path)), nil
}
