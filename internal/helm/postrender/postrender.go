// Package postrender changes rendered manifests before they are applied: by kustomize, then common metadata, then the
// labels that say which HelmRelease an object comes from.
package postrender

import (
	"bytes"
	"fmt"
	"maps"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/kustomize/api/krusty"
	"sigs.k8s.io/kustomize/api/resmap"
	"sigs.k8s.io/kustomize/api/types"
	"sigs.k8s.io/kustomize/kyaml/filesys"
	"sigs.k8s.io/kustomize/kyaml/resid"
	"sigs.k8s.io/yaml"

	helmv2 "github.com/gitops-toolkit/flux/api/helm/v2"
	"github.com/gitops-toolkit/flux/api/meta"
	"github.com/gitops-toolkit/flux/internal/helm/release"
	"github.com/gitops-toolkit/flux/internal/kschema"
)

// Renderer is Helm's PostRenderer.
type Renderer struct {
	// Kustomize are the changes of spec.postRenderers, in order.
	Kustomize []*helmv2.Kustomize
	// Common is put on every object; it wins over what the chart says.
	Common *meta.CommonMetadata
	// Labels say where an object comes from; they win over everything.
	Labels map[string]string
}

// New returns the renderer for a HelmRelease.
func New(hr *helmv2.HelmRelease) *Renderer {
	r := &Renderer{Common: hr.Spec.CommonMetadata, Labels: Origin(hr.Namespace, hr.Name)}
	for _, p := range hr.Spec.PostRenderers {
		if p.Kustomize != nil {
			r.Kustomize = append(r.Kustomize, p.Kustomize)
		}
	}
	return r
}

// Origin are the labels of the objects of a HelmRelease.
func Origin(namespace, name string) map[string]string {
	return map[string]string{helmv2.OwnerNameLabel: name, helmv2.OwnerNamespaceLabel: namespace}
}

// Run changes a stream of manifests.
func (r *Renderer) Run(in *bytes.Buffer) (*bytes.Buffer, error) {
	content := in.Bytes()
	var err error
	for i, k := range r.Kustomize {
		if content, err = build(content, k); err != nil {
			return nil, fmt.Errorf("spec.postRenderers[%d].kustomize: %w", i, err)
		}
	}
	objects, err := release.Objects(string(content))
	if err != nil {
		return nil, err
	}
	var out bytes.Buffer
	for i, o := range objects {
		r.Mark(o)
		text, err := yaml.Marshal(o.Object)
		if err != nil {
			return nil, err
		}
		if i > 0 {
			out.WriteString("---\n")
		}
		out.Write(text)
	}
	return &out, nil
}

// Mark puts common metadata and origin on an object.
func (r *Renderer) Mark(o *unstructured.Unstructured) {
	labels, annotations := o.GetLabels(), o.GetAnnotations()
	if r.Common != nil {
		labels, annotations = over(labels, r.Common.Labels), over(annotations, r.Common.Annotations)
	}
	if labels = over(labels, r.Labels); len(labels) > 0 {
		o.SetLabels(labels)
	}
	if len(annotations) > 0 {
		o.SetAnnotations(annotations)
	}
}

func over(under, top map[string]string) map[string]string {
	if len(top) == 0 {
		return under
	}
	out := maps.Clone(under)
	if out == nil {
		out = map[string]string{}
	}
	maps.Copy(out, top)
	return out
}

const resourcesFile = "helm-output.yaml"

// build runs kustomize in memory, without plugins, files or network.
func build(content []byte, k *helmv2.Kustomize) (out []byte, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("kustomize stopped: %v", p)
		}
	}()
	text, err := yaml.Marshal(kustomization(k))
	if err != nil {
		return nil, err
	}
	fs := filesys.MakeFsInMemory()
	if err := fs.WriteFile("kustomization.yaml", text); err != nil {
		return nil, err
	}
	if err := fs.WriteFile(resourcesFile, content); err != nil {
		return nil, err
	}
	built, err := run(fs)
	if err != nil {
		return nil, err
	}
	return built.AsYaml()
}

func run(fs filesys.FileSystem) (built resmap.ResMap, err error) {
	o := krusty.MakeDefaultOptions()
	o.LoadRestrictions = types.LoadRestrictionsRootOnly
	o.PluginConfig = types.DisabledPluginConfig()
	// Nothing here names a schema of its own.
	kschema.Shared(func() { built, err = krusty.MakeKustomizer(o).Run(fs, ".") })
	return built, err
}

func kustomization(k *helmv2.Kustomize) types.Kustomization {
	out := types.Kustomization{
		TypeMeta:  types.TypeMeta{APIVersion: types.KustomizationVersion, Kind: types.KustomizationKind},
		Resources: []string{resourcesFile},
	}
	for _, p := range k.Patches {
		patch := types.Patch{Patch: p.Patch}
		if t := p.Target; t != nil {
			patch.Target = &types.Selector{
				ResId: resid.ResId{
					Gvk:  resid.Gvk{Group: t.Group, Version: t.Version, Kind: t.Kind},
					Name: t.Name, Namespace: t.Namespace,
				},
				AnnotationSelector: t.AnnotationSelector, LabelSelector: t.LabelSelector,
			}
		}
		out.Patches = append(out.Patches, patch)
	}
	for _, i := range k.Images {
		out.Images = append(out.Images, types.Image{Name: i.Name, NewName: i.NewName, NewTag: i.NewTag, Digest: i.Digest})
	}
	return out
}
