package kinds

import (
	"github.com/gitops-toolkit/flux/api/meta"
	sourcev1 "github.com/gitops-toolkit/flux/api/source/v1"
	"github.com/gitops-toolkit/flux/internal/cli/cluster"
)

const sourceVerbs = Get | Export | Suspend | Reconcile | Delete

func sourceResource(kind, plural string) cluster.Resource {
	return cluster.Resource{Group: "source.toolkit.fluxcd.io", Version: "v1", Kind: kind, Plural: plural}
}

// Columns and lines that many kinds share.
var (
	suspended        = Column{"Suspended", func(obj meta.Object) string { return title(obj.IsSuspended()) }}
	artifactRevision = Column{"Revision", revisionOf}
)

func title(b bool) string {
	if b {
		return "True"
	}
	return "False"
}

func revisionOf(obj meta.Object) string {
	if artifact := obj.(meta.Source).GetArtifact(); artifact != nil {
		return artifact.Revision
	}
	return ""
}

func fetched(obj meta.Object) string { return "fetched revision " + revisionOf(obj) }

// secretName returns the name behind an optional reference.
func secretName(ref *meta.LocalObjectReference) string {
	if ref == nil {
		return ""
	}
	return ref.Name
}

// The sources.
var (
	GitRepository = &Kind{
		Resource: sourceResource("GitRepository", "gitrepositories"),
		New:      newOf[sourcev1.GitRepository](),
		Path:     "source git", Lists: "sources git", Human: "source git",
		Verbs:    sourceVerbs,
		Columns:  []Column{artifactRevision, suspended},
		ShortHex: true,
		Outcome:  fetched,
		Secret:   on(func(o *sourcev1.GitRepository) string { return secretName(o.Spec.SecretRef) }),
	}
	OCIRepository = &Kind{
		Resource: sourceResource("OCIRepository", "ocirepositories"),
		New:      newOf[sourcev1.OCIRepository](),
		Path:     "source oci", Lists: "sources oci", Human: "source oci",
		Verbs:    sourceVerbs,
		Columns:  []Column{artifactRevision, suspended},
		ShortHex: true,
		Outcome:  fetched,
		Secret:   on(func(o *sourcev1.OCIRepository) string { return secretName(o.Spec.SecretRef) }),
	}
	Bucket = &Kind{
		Resource: sourceResource("Bucket", "buckets"),
		New:      newOf[sourcev1.Bucket](),
		Path:     "source bucket", Lists: "sources bucket", Human: "source bucket",
		Verbs:    sourceVerbs,
		Columns:  []Column{artifactRevision, suspended},
		ShortHex: true,
		Outcome:  fetched,
		Secret:   on(func(o *sourcev1.Bucket) string { return secretName(o.Spec.SecretRef) }),
	}
	HelmRepository = &Kind{
		Resource: sourceResource("HelmRepository", "helmrepositories"),
		New:      newOf[sourcev1.HelmRepository](),
		Path:     "source helm", Lists: "sources helm", Human: "source helm",
		Verbs:    sourceVerbs,
		Columns:  []Column{artifactRevision, suspended},
		ShortHex: true,
		Static:   on(helmRepositoryStatic),
		Outcome:  fetched,
		Secret:   on(func(o *sourcev1.HelmRepository) string { return secretName(o.Spec.SecretRef) }),
	}
	HelmChart = &Kind{
		Resource: sourceResource("HelmChart", "helmcharts"),
		New:      newOf[sourcev1.HelmChart](),
		Path:     "source chart", Lists: "sources chart", Human: "source chart",
		Verbs:    sourceVerbs,
		Columns:  []Column{artifactRevision, suspended},
		ShortHex: true,
		Outcome:  fetched,
		Sources: on(func(o *sourcev1.HelmChart) []Ref {
			return []Ref{{o.Spec.SourceRef.Kind, o.Spec.SourceRef.Name, o.Namespace}}
		}),
	}
	ExternalArtifact = &Kind{
		Resource: sourceResource("ExternalArtifact", "externalartifacts"),
		New:      newOf[sourcev1.ExternalArtifact](),
		Path:     "source external", Lists: "sources external", Human: "source external-artifact",
		Verbs:    Get | Export,
		Columns:  []Column{artifactRevision, {"Source", on(externalSource)}},
		ShortHex: true,
		Outcome:  fetched,
	}
)

// helmRepositoryStatic: a repository of charts in a registry has nothing to fetch.
func helmRepositoryStatic(o *sourcev1.HelmRepository) string {
	if o.Spec.Type == "oci" {
		return "Helm repository is Ready"
	}
	return ""
}

func externalSource(o *sourcev1.ExternalArtifact) string {
	ref := o.Spec.SourceRef
	if ref == nil {
		return ""
	}
	namespace := ref.Namespace
	if namespace == "" {
		namespace = o.Namespace
	}
	return Ref{ref.Kind, ref.Name, namespace}.String()
}

func init() {
	register(OCIRepository, Bucket, GitRepository, HelmRepository, HelmChart, ExternalArtifact)
}
