package fleet

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	utilyaml "k8s.io/apimachinery/pkg/util/yaml"

	"github.com/gitops-toolkit/flux/internal/apply"
	"github.com/gitops-toolkit/flux/internal/cli/kinds"
	"github.com/gitops-toolkit/flux/internal/install"
	"github.com/gitops-toolkit/flux/internal/kustomize/build"
	bases "github.com/gitops-toolkit/flux/internal/kustomize/remote"
	"github.com/gitops-toolkit/flux/internal/version"
)

// bundle is what has to run before the cluster can follow the repository.
type bundle struct {
	// definitions are ours, whatever the repository brings: they serve all versions.
	definitions []*unstructured.Unstructured
	// controllers are those of the repository, with its own flags and rights, or ours.
	controllers []*unstructured.Unstructured
	// sync are the entry Kustomization and what lies beside it.
	sync []*unstructured.Unstructured
	// images are the repositories of the controllers' images.
	images []string
}

// bundleOf reads the components that bootstrap left in the repository, or builds those that its objects need.
func bundleOf(ctx context.Context, t *tree, r root, others []other) (*bundle, error) {
	all, err := ours(append(slices.Clone(install.DefaultComponents), install.ExtraComponents...), namespaceOf(r))
	if err != nil {
		return nil, err
	}
	b := &bundle{}
	for _, obj := range all {
		if obj.GetKind() == kinds.CRDs.Kind {
			obj.SetAnnotations(map[string]string{"kustomize.toolkit.fluxcd.io/ssa": "Ignore"})
			b.definitions = append(b.definitions, obj)
		}
	}
	if err := b.ofRepository(ctx, t, r); err != nil {
		return nil, err
	}
	if len(b.images) > 0 {
		return b, nil
	}
	b.controllers, err = ours(needed(t, others), namespaceOf(r))
	if err != nil {
		return nil, err
	}
	b.controllers = without(b.controllers, kinds.CRDs.Kind)
	b.images = []string{install.DefaultRegistry}
	b.sync, err = t.read(r)
	return b, err
}

func ours(components []string, namespace string) ([]*unstructured.Unstructured, error) {
	base, err := install.DefaultReleases().Manifests(context.Background(), install.Request{Program: version.Version})
	if err != nil {
		return nil, err
	}
	defer base.Close()
	options := install.Defaults(base.Version)
	options.Namespace, options.Components, options.Topology = namespace, components, install.Single
	return install.Build(base.Files, options)
}

// needed are the components that the kinds in the repository ask for.
func needed(t *tree, others []other) []string {
	components := []string{"source-controller", "kustomize-controller", "helm-controller"}
	for component, kind := range map[string][]string{
		"notification-controller":    {kinds.Receiver.Kind},
		"image-reflector-controller": {kinds.ImageRepository.Kind, kinds.ImagePolicy.Kind},
	} {
		if t.has(kind...) {
			components = append(components, component)
		}
	}
	external := func(o other) bool { return o.ref.Kind == kinds.ExternalArtifact.Kind }
	if t.has(kinds.ArtifactGenerator.Kind, kinds.ExternalArtifact.Kind) || slices.ContainsFunc(others, external) {
		components = append(components, "source-watcher") // the others get the gate for its artifacts with it
	}
	return components
}

func namespaceOf(r root) string {
	if r.entry != nil && r.entry.Namespace != "" {
		return r.entry.Namespace
	}
	return home.Namespace
}

// ofRepository builds the directory of the entry. It is the bundle if Deployments of controllers are in it.
func (b *bundle) ofRepository(ctx context.Context, t *tree, r root) error {
	if r.entry == nil {
		return nil
	}
	if _, err := os.Stat(filepath.Join(t.dir, r.system(), "kustomization.yaml")); err != nil {
		return nil
	}
	result, err := bases.Build(ctx, build.Options{Root: t.dir, Mount: t.dir, Path: r.system()})
	if err != nil {
		return fmt.Errorf("build %s: %w", r.system(), err)
	}
	for _, obj := range result.Objects {
		for _, image := range controllerImages(obj) {
			if repository := repositoryOf(image); !slices.Contains(b.images, repository) {
				b.images = append(b.images, repository)
			}
		}
	}
	if len(b.images) == 0 {
		return nil
	}
	for _, obj := range result.Objects {
		group := obj.GroupVersionKind().Group
		switch {
		case obj.GetKind() == kinds.CRDs.Kind && strings.HasSuffix(obj.GetName(), ".fluxcd.io"):
		case strings.HasSuffix(group, ".fluxcd.io"):
			b.sync = append(b.sync, obj)
		default:
			b.controllers = append(b.controllers, obj)
		}
	}
	return nil
}

// controllerImages are the images of our components in a Deployment.
func controllerImages(obj *unstructured.Unstructured) []string {
	if obj.GetKind() != kinds.Deployments.Kind {
		return nil
	}
	containers, _, _ := unstructured.NestedSlice(obj.Object, "spec", "template", "spec", "containers")
	var images []string
	for _, c := range containers {
		image, _, _ := unstructured.NestedString(c.(map[string]any), "image")
		name := path.Base(repositoryOf(image))
		if name == "flux-controller" || slices.Contains(install.DefaultComponents, name) || slices.Contains(install.ExtraComponents, name) {
			images = append(images, image)
		}
	}
	return images
}

// repositoryOf leaves out tag and digest.
func repositoryOf(image string) string {
	image, _, _ = strings.Cut(image, "@")
	if colon := strings.LastIndexByte(image, ':'); colon > strings.LastIndexByte(image, '/') {
		image = image[:colon]
	}
	return image
}

// read decodes what begins a cluster that no bundle begins: the entry's file, or files that nothing applies.
func (t *tree) read(r root) ([]*unstructured.Unstructured, error) {
	files := r.files
	if r.entry != nil {
		files = []string{r.entry.file}
	}
	var out []*unstructured.Unstructured
	for _, file := range files {
		content, err := os.ReadFile(filepath.Join(t.dir, file))
		if err != nil {
			return nil, err
		}
		decoder := utilyaml.NewYAMLOrJSONDecoder(bytes.NewReader(content), 4096)
		for {
			obj := &unstructured.Unstructured{}
			if err := decoder.Decode(&obj.Object); err != nil {
				if err.Error() == "EOF" {
					break
				}
				return nil, fmt.Errorf("%s: %w", file, err)
			}
			if len(obj.Object) > 0 {
				out = append(out, obj)
			}
		}
	}
	return out, nil
}

// begin returns what has to be applied for the cluster to follow the repository, the source included.
func (b *bundle) begin(r root) []*unstructured.Unstructured {
	out := slices.Clone(b.sync)
	has := func(ref kinds.Ref) bool {
		return slices.ContainsFunc(out, func(o *unstructured.Unstructured) bool {
			return o.GetKind() == ref.Kind && o.GetNamespace() == ref.Namespace && o.GetName() == ref.Name
		})
	}
	if !has(r.source) {
		out = append(out, anySource(r.source))
	}
	if r.entry == nil && len(r.files) == 0 {
		out = append(out, made(kinds.Kustomization, kinds.Ref{Namespace: r.source.Namespace, Name: r.source.Name}, map[string]any{
			"interval": "10m", "path": "./" + r.path, "prune": true,
			"sourceRef": map[string]any{"kind": r.source.Kind, "name": r.source.Name},
		}))
	}
	return out
}

// anySource is a source that says nothing: what serves it fills in the rest.
func anySource(ref kinds.Ref) *unstructured.Unstructured {
	switch ref.Kind {
	case kinds.OCIRepository.Kind:
		return made(kinds.OCIRepository, ref, map[string]any{"interval": "10m", "url": "oci://localhost/none"})
	case kinds.Bucket.Kind:
		return made(kinds.Bucket, ref, map[string]any{"interval": "10m", "endpoint": "localhost", "bucketName": "none"})
	}
	return made(kinds.GitRepository, ref, map[string]any{"interval": "10m", "url": "http://localhost/none"})
}

func made(k *kinds.Kind, ref kinds.Ref, spec map[string]any) *unstructured.Unstructured {
	return &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": k.Group + "/" + k.Version, "kind": k.Kind,
		"metadata": map[string]any{"namespace": ref.Namespace, "name": ref.Name}, "spec": spec,
	}}
}

func without(objects []*unstructured.Unstructured, kind string) []*unstructured.Unstructured {
	return slices.DeleteFunc(objects, func(o *unstructured.Unstructured) bool { return o.GetKind() == kind })
}

// bring applies the bundle and waits until its controllers are ready.
func (b *bundle) bring(ctx context.Context, client *apply.Client, policies []policy) error {
	if _, err := install.Apply(ctx, client, b.definitions); err != nil {
		return fmt.Errorf("apply the definitions: %w", err)
	}
	var objects []*unstructured.Unstructured
	for _, p := range policies {
		objects = append(objects, p.objects()...)
	}
	if _, err := install.Apply(ctx, client, objects); err != nil {
		return fmt.Errorf("apply the admission policies: %w", err)
	}
	if _, err := install.Apply(ctx, client, b.controllers); err != nil {
		return fmt.Errorf("apply the controllers: %w", err)
	}
	for _, obj := range b.controllers {
		if len(controllerImages(obj)) == 0 {
			continue
		}
		if err := install.WaitReady(ctx, client, obj.GetNamespace(), obj.GetName()); err != nil {
			return fmt.Errorf("the Deployment %s is not ready: %w", obj.GetName(), err)
		}
	}
	return inForce(ctx, client)
}

var alertResource = schema.GroupVersionResource{Group: kinds.Alert.Group, Version: kinds.Alert.Version, Resource: kinds.Alert.Plural}

// inForce waits until the API server acts on the policies: it reads them with some delay, all at once,
// and refuses objects of definitions that are newer than its last look at them.
func inForce(ctx context.Context, client *apply.Client) error {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Minute)
	defer cancel()
	probe := made(kinds.Alert, kinds.Ref{Namespace: "default", Name: "probe"}, map[string]any{
		"providerRef": map[string]any{"name": "none"}, "eventSources": []any{map[string]any{"kind": kinds.Kustomization.Kind, "name": "*"}},
	})
	for {
		got, err := client.Dynamic().Resource(alertResource).Namespace("default").
			Create(ctx, probe.DeepCopy(), metav1.CreateOptions{DryRun: []string{metav1.DryRunAll}})
		if err == nil {
			if on, _, _ := unstructured.NestedBool(got.Object, "spec", "suspend"); on {
				return nil
			}
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("the admission policies did not come into force: %w", cmp.Or(err, ctx.Err()))
		case <-time.After(100 * time.Millisecond):
		}
	}
}

// componentOf says which component looks after the objects of a kind.
var componentOf = map[string]string{
	kinds.GitRepository.Kind: "source-controller", kinds.OCIRepository.Kind: "source-controller", kinds.Bucket.Kind: "source-controller",
	kinds.HelmRepository.Kind: "source-controller", kinds.HelmChart.Kind: "source-controller",
	kinds.Kustomization.Kind: "kustomize-controller", kinds.HelmRelease.Kind: "helm-controller",
	kinds.ImageRepository.Kind: "image-reflector-controller", kinds.ImagePolicy.Kind: "image-reflector-controller",
	kinds.ImageUpdateAutomation.Kind: "image-automation-controller", kinds.Receiver.Kind: "notification-controller",
	kinds.ArtifactGenerator.Kind: "source-watcher",
}

// missing are the kinds that no controller of the bundle looks after, with the component that would.
func (b *bundle) missing() map[string]string {
	var running []string
	for _, obj := range b.controllers {
		for _, image := range controllerImages(obj) {
			if running = append(running, path.Base(repositoryOf(image))); running[len(running)-1] == "flux-controller" {
				return nil // its arguments say which; ours has those that are needed
			}
		}
	}
	out := map[string]string{}
	for kind, component := range componentOf {
		if !slices.Contains(running, component) {
			out[kind] = component
		}
	}
	return out
}

// withNamespaces adds the Namespaces of the objects, so that they can come before everything else.
func withNamespaces(objects []*unstructured.Unstructured) []*unstructured.Unstructured {
	var out []*unstructured.Unstructured
	seen := map[string]bool{}
	for _, obj := range objects {
		if obj.GetKind() == kinds.Namespaces.Kind {
			seen[obj.GetName()] = true
		}
	}
	for _, obj := range objects {
		if ns := obj.GetNamespace(); ns != "" && !seen[ns] {
			seen[ns] = true
			out = append(out, &unstructured.Unstructured{Object: map[string]any{
				"apiVersion": "v1", "kind": kinds.Namespaces.Kind, "metadata": map[string]any{"name": ns},
			}})
		}
	}
	return append(out, objects...)
}
