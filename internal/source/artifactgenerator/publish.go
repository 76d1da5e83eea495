package artifactgenerator

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"path"
	"slices"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	extensionsv1 "github.com/gitops-toolkit/flux/api/extensions/v1beta1"
	"github.com/gitops-toolkit/flux/api/meta"
	sourcev1 "github.com/gitops-toolkit/flux/api/source/v1"
	"github.com/gitops-toolkit/flux/internal/artifact"
	"github.com/gitops-toolkit/flux/internal/artifact/archive"
	"github.com/gitops-toolkit/flux/internal/artifact/store"
	"github.com/gitops-toolkit/flux/internal/kernel"
)

const (
	// storeKind is the first part of an artifact's path.
	storeKind = "externalartifact"
	// managedBy is the label of what this controller makes.
	managedBy      = "app.kubernetes.io/managed-by"
	managedByValue = "source-watcher"
)

// store returns the artifact of this content: the one that is there, or a new one. The revision is filled in.
func (j *job) store(ctx context.Context, o output, list *archive.ListTree, content string) (artifact.Ref, *failure) {
	name := store.Name{Kind: storeKind, Namespace: j.obj.Namespace, Name: o.Name, File: content + ".tar.gz"}
	ref, found := j.stored(ctx, o.Name, name)
	if !found {
		var err error
		ref, err = j.Artifacts.Put(ctx, name, "", nil, func(w io.Writer) error {
			_, err := j.Archives.Write(ctx, w, list, archive.Ignore{Nothing: true})
			return err
		})
		if err != nil {
			return ref, failed(reasonBuildFailed, fmt.Errorf("%s build failed: failed to store the artifact: %w; check the free space and the permissions of the controller's storage", o.Name, err))
		}
	}
	ref.Revision = "latest@" + string(ref.Digest)
	ref.Metadata = nil
	for _, s := range j.sources {
		if "@"+s.alias == o.Revision {
			ref.Revision = s.artifact.Revision
		}
		if "@"+s.alias == o.OriginRevision {
			ref.Metadata = map[string]string{annotationRevision: s.origin()}
		}
	}
	return ref, nil
}

// stored returns the artifact that is published under a name, if it has this content and is still there.
func (j *job) stored(ctx context.Context, artifactName string, name store.Name) (artifact.Ref, bool) {
	ea := j.published[artifactName]
	if ea == nil || ea.Status.Artifact == nil || ea.Status.Artifact.Path != name.Path() {
		return artifact.Ref{}, false
	}
	ref, err := j.Artifacts.Check(ctx, artifact.RefOf(ea.Status.Artifact))
	return ref, err == nil
}

// publish writes the ExternalArtifact where it differs from what is there.
func (j *job) publish(ctx context.Context, o output, ref artifact.Ref, out *made) error {
	live := j.published[o.Name]
	if live == nil {
		if err := j.free(ctx, o.Name); err != nil {
			return err
		}
	}
	want := j.describe(o)
	generation := int64(0)
	if live == nil || !covers(live, want) {
		if err := j.apply(ctx, want, ""); err != nil {
			return err
		}
		generation = want.GetGeneration()
	} else {
		generation = live.Generation
	}
	if err := j.publishStatus(ctx, o.Name, live, ref, generation, out); err != nil {
		return err
	}
	entry := extensionsv1.ExternalArtifactReference{Name: o.Name, Namespace: j.obj.Namespace, Digest: string(ref.Digest), Filename: path.Base(ref.Path)}
	i := slices.IndexFunc(out.inventory, func(e extensionsv1.ExternalArtifactReference) bool {
		return e.Name == entry.Name && e.Namespace == entry.Namespace
	})
	label := fmt.Sprintf("%s/%s (%s)", entry.Namespace, entry.Name, entry.Digest)
	if i < 0 {
		out.inventory = append(out.inventory, entry)
		out.changed = append(out.changed, label)
	} else {
		if out.inventory[i].Digest != entry.Digest {
			out.changed = append(out.changed, label)
		}
		out.inventory[i] = entry
	}
	if _, err := j.Artifacts.Collect(ctx, ref); err != nil {
		out.events = append(out.events, kernel.Warning(sourcev1.GarbageCollectionFailedReason, fmt.Sprintf("garbage collection failed: %s", err), nil))
	}
	return nil
}

// free makes sure that the name belongs to nobody else.
func (j *job) free(ctx context.Context, name string) error {
	ea := &sourcev1.ExternalArtifact{}
	err := j.m.Client().Get(ctx, client.ObjectKey{Namespace: j.obj.Namespace, Name: name}, ea)
	if client.IgnoreNotFound(err) != nil || err != nil {
		return client.IgnoreNotFound(err)
	}
	by := ea.Spec.SourceRef
	if by == nil || by.Kind == extensionsv1.ArtifactGeneratorKind && by.Name == j.obj.Name && (by.Namespace == "" || by.Namespace == j.obj.Namespace) {
		return nil
	}
	return fmt.Errorf("the ExternalArtifact '%s/%s' belongs to %s/%s/%s; give this artifact another name", ea.Namespace, ea.Name, by.Kind, by.Namespace, by.Name)
}

// describe is the ExternalArtifact without its status.
func (j *job) describe(o output) *unstructured.Unstructured {
	labels, annotations := map[string]string{}, map[string]string{}
	maps.Copy(labels, o.labels)
	if common := j.obj.Spec.CommonMetadata; common != nil {
		maps.Copy(labels, common.Labels)
		maps.Copy(annotations, common.Annotations)
	}
	labels[managedBy], labels[extensionsv1.GeneratorLabel] = managedByValue, string(j.obj.UID)
	u := j.identity(o.Name)
	u.SetLabels(labels)
	if len(annotations) > 0 {
		u.SetAnnotations(annotations)
	}
	u.Object["spec"] = map[string]any{"sourceRef": map[string]any{
		"apiVersion": extensionsv1.GroupVersion.String(), "kind": extensionsv1.ArtifactGeneratorKind,
		"name": j.obj.Name, "namespace": j.obj.Namespace,
	}}
	return u
}

func (j *job) identity(name string) *unstructured.Unstructured {
	u := &unstructured.Unstructured{}
	u.SetGroupVersionKind(sourcev1.GroupVersion.WithKind(sourcev1.ExternalArtifactKind))
	u.SetNamespace(j.obj.Namespace)
	u.SetName(name)
	return u
}

// covers tells whether the live object has all that is wanted, and no label or annotation of ours too many.
func covers(live *sourcev1.ExternalArtifact, want *unstructured.Unstructured) bool {
	by := live.Spec.SourceRef
	ref, _, _ := unstructured.NestedStringMap(want.Object, "spec", "sourceRef")
	return by != nil && by.APIVersion == ref["apiVersion"] && by.Kind == ref["kind"] && by.Name == ref["name"] && by.Namespace == ref["namespace"] &&
		maps.Equal(live.Labels, want.GetLabels()) && maps.Equal(live.Annotations, want.GetAnnotations())
}

// apply writes by server-side apply, as upstream does: with force and under the controller's own name.
func (j *job) apply(ctx context.Context, u *unstructured.Unstructured, subresource string) error {
	configuration := client.ApplyConfigurationFromUnstructured(u)
	if subresource != "" {
		return j.m.Client().SubResource(subresource).Apply(ctx, configuration, client.ForceOwnership, client.FieldOwner(j.m.Name()))
	}
	return j.m.Client().Apply(ctx, configuration, client.ForceOwnership, client.FieldOwner(j.m.Name()))
}

func (j *job) publishStatus(ctx context.Context, name string, live *sourcev1.ExternalArtifact, ref artifact.Ref, generation int64, out *made) error {
	now := metav1.NewTime(time.Now().Truncate(time.Second))
	ready := metav1.Condition{
		Type: meta.ReadyCondition, Status: metav1.ConditionTrue, Reason: meta.SucceededReason, Message: "Artifact is ready",
		LastTransitionTime: now, ObservedGeneration: generation,
	}
	advertised := &meta.Artifact{
		Path: ref.Path, URL: ref.URL, Revision: ref.Revision, Digest: string(ref.Digest), LastUpdateTime: meta.NewTime(now.Time),
		Size: &ref.Size, Metadata: ref.Metadata,
	}
	if live != nil {
		if c := live.Status.Conditions.Get(meta.ReadyCondition); c != nil && c.Status == ready.Status {
			ready.LastTransitionTime = c.LastTransitionTime
		}
		if same(live.Status.Artifact, advertised) {
			advertised.LastUpdateTime = live.Status.Artifact.LastUpdateTime
			if c := live.Status.Conditions.Get(meta.ReadyCondition); c != nil && *c == ready {
				return nil
			}
		}
	}
	status, err := runtime.DefaultUnstructuredConverter.ToUnstructured(&sourcev1.ExternalArtifactStatus{
		Artifact: advertised, Conditions: meta.Conditions{ready},
	})
	if err != nil {
		return err
	}
	u := j.identity(name)
	u.Object["status"] = status
	if err := j.apply(ctx, u, "status"); err != nil {
		return err
	}
	if live == nil || !same(live.Status.Artifact, advertised) {
		out.events = append(out.events, kernel.Trace(meta.ReadyCondition,
			fmt.Sprintf("ExternalArtifact/%s/%s reconciled with revision %s", j.obj.Namespace, name, ref.Revision), nil))
	}
	return nil
}

// same tells whether two artifacts differ in their time only.
func same(a, b *meta.Artifact) bool {
	return a != nil && a.Path == b.Path && a.URL == b.URL && a.Revision == b.Revision && a.Digest == b.Digest &&
		a.Size != nil && *a.Size == *b.Size && maps.Equal(a.Metadata, b.Metadata)
}

// retire removes what is generated no more.
func (j *job) retire(ctx context.Context, outputs []output, out *made) error {
	wanted := map[string]bool{}
	for _, o := range outputs {
		wanted[o.Name] = true
	}
	gone := map[string]bool{}
	for _, e := range out.inventory {
		gone[e.Name] = !wanted[e.Name]
	}
	for name := range j.published {
		gone[name] = !wanted[name]
	}
	var errs []error
	for _, name := range slices.Sorted(maps.Keys(gone)) {
		if !gone[name] {
			continue
		}
		if err := j.drop(ctx, j.obj, j.obj.Namespace, name); err != nil {
			errs = append(errs, err)
			continue
		}
		out.inventory = slices.DeleteFunc(out.inventory, func(e extensionsv1.ExternalArtifactReference) bool { return e.Name == name })
	}
	if err := errors.Join(errs...); err != nil {
		return failed(reasonReconciliationFailed, fmt.Errorf("remove artifacts that are generated no more: %w", err))
	}
	return nil
}

// drop removes an artifact from the store, and its ExternalArtifact if it is the generator's.
func (c *controller) drop(ctx context.Context, obj *extensionsv1.ArtifactGenerator, namespace, name string) error {
	ea := &sourcev1.ExternalArtifact{}
	err := c.m.Client().Get(ctx, client.ObjectKey{Namespace: namespace, Name: name}, ea)
	if err == nil && ea.Labels[extensionsv1.GeneratorLabel] != string(obj.UID) {
		return nil // somebody else's by now
	}
	if err == nil {
		err = c.m.Client().Delete(ctx, ea)
	}
	if client.IgnoreNotFound(err) != nil {
		return fmt.Errorf("ExternalArtifact '%s/%s': %w", namespace, name, err)
	}
	_, err = c.Artifacts.Delete(ctx, storeKind, namespace, name)
	return err
}
