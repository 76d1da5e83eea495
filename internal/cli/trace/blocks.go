package trace

import (
	"context"
	"fmt"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	helmv2 "github.com/gitops-toolkit/flux/api/helm/v2"
	kustomizev1 "github.com/gitops-toolkit/flux/api/kustomize/v1"
	"github.com/gitops-toolkit/flux/api/meta"
	sourcev1 "github.com/gitops-toolkit/flux/api/source/v1"
	"github.com/gitops-toolkit/flux/internal/cli/kinds"
)

// Columns at which values begin.
const (
	kustomizationWidth = 17
	helmWidth          = 16
)

const (
	originRevision = "org.opencontainers.image.revision"
	originSource   = "org.opencontainers.image.source"
)

// block is a group of lines about one object.
type block struct {
	width int
	lines []string
}

func (b *block) add(label, value string) {
	b.lines = append(b.lines, fmt.Sprintf("%-*s%s\n", b.width, label+":", value))
}

// some adds a line only if there is something to say.
func (b *block) some(label, value string) {
	if value != "" {
		b.add(label, value)
	}
}

// String returns the lines.
func (b block) String() string { return strings.Join(b.lines, "") }

// verdict adds the lines about readiness.
func (b *block) verdict(obj meta.Object) {
	ready := kinds.Condition(obj, meta.ReadyCondition)
	if ready == nil {
		b.add("Status", "Unknown")
		return
	}
	at := ready.LastTransitionTime.UTC().Format("2006-01-02 15:04:05 -0700 MST")
	if ready.Status == metav1.ConditionFalse {
		b.add("Status", "Last reconciliation failed at "+at)
	} else {
		b.add("Status", "Last reconciled at "+at)
	}
	b.add("Message", ready.Message)
}

func (t *tracer) read(ctx context.Context, k *kinds.Kind, namespace, name string, into meta.Object) error {
	if err := t.client.Get(ctx, k.Resource, namespace, name, into); err != nil {
		return fmt.Errorf("read %s %s/%s: %w", k.Kind, namespace, name, err)
	}
	return nil
}

func (t *tracer) kustomization(ctx context.Context, o owner) ([]block, error) {
	obj := &kustomizev1.Kustomization{}
	if err := t.read(ctx, kinds.Kustomization, o.namespace, o.name, obj); err != nil {
		return nil, err
	}
	b := block{width: kustomizationWidth}
	b.add("Kustomization", obj.Name)
	b.add("Namespace", obj.Namespace)
	b.some("Target", obj.Spec.TargetNamespace)
	b.add("Path", obj.Spec.Path)
	b.add("Revision", obj.Status.LastAppliedRevision)
	b.verdict(obj)
	source, err := t.source(ctx, kinds.Kustomization.ShowSource(obj))
	return append([]block{b}, source...), err
}

func (t *tracer) release(ctx context.Context, o owner) ([]block, error) {
	obj := &helmv2.HelmRelease{}
	if err := t.read(ctx, kinds.HelmRelease, o.namespace, o.name, obj); err != nil {
		return nil, err
	}
	b := block{width: helmWidth}
	b.add("HelmRelease", obj.Name)
	b.add("Namespace", obj.Namespace)
	b.some("Target", obj.Spec.TargetNamespace)
	revision := obj.Status.LastAttemptedRevision
	if latest := obj.Status.History.Latest(); latest != nil {
		revision = latest.ChartVersion
	}
	b.add("Revision", revision)
	b.verdict(obj)
	blocks := []block{b}
	refs := kinds.HelmRelease.Sources(obj)
	for i := range refs { // the chart, which is last, before what it comes from
		found, err := t.source(ctx, refs[len(refs)-1-i])
		if err != nil {
			return nil, err
		}
		blocks = append(blocks, found...)
	}
	return blocks, nil
}

// source describes where content comes from. Buckets have nothing to tell.
func (t *tracer) source(ctx context.Context, ref kinds.Ref) ([]block, error) {
	k := kinds.ByKind(ref.Kind)
	if k == nil || k == kinds.Bucket {
		return nil, nil
	}
	obj := k.New()
	if err := t.read(ctx, k, ref.Namespace, ref.Name, obj); err != nil {
		return nil, err
	}
	b := block{width: kustomizationWidth}
	if k == kinds.HelmChart || k == kinds.HelmRepository {
		b.width = helmWidth
	}
	b.add(k.Kind, obj.GetName())
	b.add("Namespace", obj.GetNamespace())
	b.describe(obj)
	if source, ok := obj.(meta.Source); ok {
		b.artifact(source.GetArtifact())
	}
	b.verdict(obj)
	return []block{b}, nil
}

func (b *block) describe(obj meta.Object) {
	switch o := obj.(type) {
	case *sourcev1.GitRepository:
		b.add("URL", o.Spec.URL)
		if ref := o.Spec.Reference; ref != nil {
			b.some("Tag", ref.Tag)
			b.some("Tag", ref.SemVer)
			b.some("Branch", ref.Branch)
			b.some("Ref", ref.Name)
			b.some("Commit", ref.Commit)
		}
	case *sourcev1.OCIRepository:
		b.add("URL", o.Spec.URL)
		if ref := o.Spec.Reference; ref != nil {
			b.some("Tag", ref.Tag)
			b.some("Tag", ref.SemVer)
			b.some("Digest", ref.Digest)
		}
	case *sourcev1.HelmRepository:
		b.add("URL", o.Spec.URL)
	case *sourcev1.HelmChart:
		b.add("Chart", o.Spec.Chart)
		b.add("Version", o.Spec.Version)
	case *sourcev1.ExternalArtifact:
		for _, column := range kinds.ExternalArtifact.Columns {
			if column.Title == "Source" {
				b.some("Source", column.Cell(o))
			}
		}
	}
}

func (b *block) artifact(a *meta.Artifact) {
	if a == nil {
		return
	}
	b.add("Revision", a.Revision)
	b.some("Origin Revision", a.Metadata[originRevision])
	b.some("Origin Source", a.Metadata[originSource])
}
