package kinds

import (
	extensionsv1 "github.com/gitops-toolkit/flux/api/extensions/v1beta1"
	helmv2 "github.com/gitops-toolkit/flux/api/helm/v2"
	kustomizev1 "github.com/gitops-toolkit/flux/api/kustomize/v1"
	"github.com/gitops-toolkit/flux/api/meta"
	"github.com/gitops-toolkit/flux/internal/cli/cluster"
)

// What applies content to the cluster or composes it.
var (
	Kustomization = &Kind{
		Resource: cluster.Resource{Group: "kustomize.toolkit.fluxcd.io", Version: "v1", Kind: "Kustomization", Plural: "kustomizations"},
		New:      newOf[kustomizev1.Kustomization](),
		Path:     "kustomization", Lists: "kustomizations", Human: "kustomization",
		Aliases:     []string{"ks"},
		ListAliases: []string{"ks", "kustomization"},
		Verbs:       sourceVerbs,
		Columns: []Column{
			{"Revision", on(func(o *kustomizev1.Kustomization) string { return o.Status.LastAppliedRevision })},
			suspended,
		},
		ShortHex:   true,
		Outcome:    on(func(o *kustomizev1.Kustomization) string { return "applied revision " + o.Status.LastAppliedRevision }),
		ShowSource: on(kustomizationSource),
		Sources:    on(func(o *kustomizev1.Kustomization) []Ref { return []Ref{kustomizationSource(o)} }),
	}
	HelmRelease = &Kind{
		Resource: cluster.Resource{Group: "helm.toolkit.fluxcd.io", Version: "v2", Kind: "HelmRelease", Plural: "helmreleases"},
		New:      newOf[helmv2.HelmRelease](),
		Path:     "helmrelease", Lists: "helmreleases", Human: "helmrelease",
		Aliases:     []string{"hr"},
		ListAliases: []string{"hr", "helmrelease"},
		Verbs:       sourceVerbs,
		Columns:     []Column{{"Revision", on(releaseRevision)}, suspended},
		Outcome:     on(func(o *helmv2.HelmRelease) string { return "applied revision " + releaseRevision(o) }),
		ShowSource:  on(releaseSource),
		Sources:     on(releaseSources),
		Tokens: []Token{
			{"force", "force an install or upgrade, also when nothing changed", meta.ForceRequestAnnotation},
			{"reset", "forget the failures that count against the retries", meta.ResetRequestAnnotation},
		},
	}
	ArtifactGenerator = &Kind{
		Resource: cluster.Resource{Group: "source.extensions.fluxcd.io", Version: "v1beta1", Kind: "ArtifactGenerator", Plural: "artifactgenerators"},
		New:      newOf[extensionsv1.ArtifactGenerator](),
		Path:     "artifact generator", Lists: "artifacts generators", Human: "artifactgenerator",
		ListAliases: []string{"generator"},
		Verbs:       sourceVerbs,
		Columns:     []Column{suspended},
		Outcome:     on(generated),
		Related:     on(generatorSources),
		SuspendedBy: [2]string{extensionsv1.ReconcileAnnotation, extensionsv1.DisabledValue},
	}
)

// at gives a reference without namespace that of its owner.
func at(kind, name, namespace, owner string) Ref {
	if namespace == "" {
		namespace = owner
	}
	return Ref{kind, name, namespace}
}

func kustomizationSource(o *kustomizev1.Kustomization) Ref {
	ref := o.Spec.SourceRef
	return at(ref.Kind, ref.Name, ref.Namespace, o.Namespace)
}

// releaseRevision is the version of the chart that was released last, else the one tried last.
func releaseRevision(o *helmv2.HelmRelease) string {
	if latest := o.Status.History.Latest(); latest != nil {
		return latest.ChartVersion
	}
	return o.Status.LastAttemptedRevision
}

func releaseSource(o *helmv2.HelmRelease) Ref {
	switch {
	case o.Spec.ChartRef != nil:
		ref := o.Spec.ChartRef
		return at(ref.Kind, ref.Name, ref.Namespace, o.Namespace)
	case o.Spec.Chart != nil:
		ref := o.Spec.Chart.Spec.SourceRef
		return at(ref.Kind, ref.Name, ref.Namespace, o.Namespace)
	}
	return Ref{}
}

// releaseSources are the repository and the chart that the release makes from it.
func releaseSources(o *helmv2.HelmRelease) []Ref {
	source := releaseSource(o)
	if o.Spec.Chart == nil {
		return []Ref{source}
	}
	return []Ref{source, {"HelmChart", o.Namespace + "-" + o.Name, source.Namespace}}
}

// generated is what the controller says of a generation.
func generated(o *extensionsv1.ArtifactGenerator) string {
	if c := o.Status.Conditions.Get(meta.ReadyCondition); c != nil {
		return c.Message
	}
	return "reconciliation completed"
}

func generatorSources(o *extensionsv1.ArtifactGenerator) []Ref {
	var refs []Ref
	for _, source := range o.Spec.Sources {
		refs = append(refs, at(source.Kind, source.Name, source.Namespace, o.Namespace))
	}
	return refs
}

func init() { register(HelmRelease, Kustomization, ArtifactGenerator) }
