package fleet

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	kustomizev1 "github.com/gitops-toolkit/flux/api/kustomize/v1"
	"github.com/gitops-toolkit/flux/api/meta"
	sourcev1 "github.com/gitops-toolkit/flux/api/source/v1"
	"github.com/gitops-toolkit/flux/internal/cli/cluster"
	"github.com/gitops-toolkit/flux/internal/cli/kinds"
)

// phase is where an object stands.
type phase int

const (
	working phase = iota // its controller is at it, or has not seen it
	ready
	waiting // for another object
	failing // tried again by its controller, or by us
	stalled // nothing but a change mends it
	asleep  // suspended
)

// state is what one look saw of an object.
type state struct {
	kind  *kinds.Kind
	ref   kinds.Ref
	obj   meta.Object
	phase phase
	// reason and message are those of the Ready condition, or of what explains the phase.
	reason, message string
	// applied counts the objects of the inventory; owned are those of the toolkit among them.
	applied int
	owned   []kinds.Ref
}

// watched are the kinds that a fleet is judged by, in the order of the report.
var watched = []*kinds.Kind{
	kinds.GitRepository, kinds.OCIRepository, kinds.Bucket, kinds.HelmRepository, kinds.HelmChart, kinds.ArtifactGenerator,
	kinds.ExternalArtifact, kinds.Kustomization, kinds.HelmRelease, kinds.ImageRepository, kinds.ImagePolicy,
	kinds.ImageUpdateAutomation, kinds.Receiver,
}

// look reads every object of the kinds.
func look(ctx context.Context, c *cluster.Client) ([]*state, error) {
	var all []*state
	for _, k := range watched {
		_, err := c.List(ctx, k.Resource, cluster.ListOptions{}, func(raw json.RawMessage) error {
			obj, err := k.Decode(raw)
			if err != nil {
				return err
			}
			all = append(all, judge(k, obj))
			return nil
		})
		if err != nil && !cluster.IsNoKind(err) {
			return nil, err
		}
	}
	return all, nil
}

// judge tells the phase of an object from its status.
func judge(k *kinds.Kind, obj meta.Object) *state {
	s := &state{kind: k, obj: obj, ref: kinds.Ref{Kind: k.Kind, Namespace: obj.GetNamespace(), Name: obj.GetName()}}
	if ks, ok := obj.(*kustomizev1.Kustomization); ok && ks.Status.Inventory != nil {
		s.applied = len(ks.Status.Inventory.Entries)
		for _, entry := range ks.Status.Inventory.Entries {
			if id := strings.Split(entry.ID, "_"); len(id) == 4 && strings.HasSuffix(id[2], ".fluxcd.io") {
				s.owned = append(s.owned, kinds.Ref{Kind: id[3], Namespace: id[0], Name: id[1]})
			}
		}
	}
	condition := kinds.Condition(obj, meta.ReadyCondition)
	if condition != nil {
		s.reason, s.message = condition.Reason, condition.Message
	}
	stall := kinds.Condition(obj, meta.StalledCondition)
	requested := obj.GetAnnotations()[meta.ReconcileRequestAnnotation]
	switch {
	case obj.IsSuspended():
		s.phase, s.reason, s.message = asleep, "Suspended", "it is suspended"
		if remote(obj) {
			s.message = "it applies to another cluster (spec.kubeConfig), which is not touched from here"
		}
	case k.IsStatic(obj):
		s.phase = ready
	case requested != "" && obj.GetLastHandledReconcileAt() != requested:
	case stall != nil && stall.Status == metav1.ConditionTrue:
		s.phase, s.reason, s.message = stalled, stall.Reason, kinds.WithCause(stall.Message, obj)
	case condition == nil || condition.Status == metav1.ConditionUnknown:
	case condition.Status == metav1.ConditionTrue:
		s.phase = ready
		if obj.GetObservedGeneration() != obj.GetGeneration() {
			s.phase = working
		}
	case slices.Contains(waits, s.reason):
		s.phase = waiting
	default:
		s.phase = failing
	}
	return s
}

// waits are the reasons of objects that wait for others.
var waits = []string{"DependencyNotReady", "SourceNotReady", "HelmChartNotReady", "ArtifactFailed", "SourceUnavailable", "NoSourceArtifact", "DependencyNotReadyReason"}

func remote(obj meta.Object) bool {
	raw, err := json.Marshal(obj)
	var spec struct {
		Spec struct{ KubeConfig *struct{} }
	}
	return err == nil && json.Unmarshal(raw, &spec) == nil && spec.Spec.KubeConfig != nil
}

// source is what the object is made from, the zero value when nothing.
func (s *state) source() kinds.Ref {
	switch obj := s.obj.(type) {
	case *sourcev1.HelmChart:
		return kinds.Ref{Kind: obj.Spec.SourceRef.Kind, Namespace: obj.Namespace, Name: obj.Spec.SourceRef.Name}
	default:
		if s.kind.Sources != nil {
			if refs := s.kind.Sources(s.obj); len(refs) > 0 {
				return refs[len(refs)-1]
			}
		}
	}
	return kinds.Ref{}
}

// needs are the objects that this one waits for: its source and its dependencies.
func (s *state) needs() []kinds.Ref {
	var refs []kinds.Ref
	if source := s.source(); source.Name != "" {
		refs = append(refs, source)
	}
	raw, err := json.Marshal(s.obj)
	if err != nil {
		return refs
	}
	var spec struct {
		Spec struct{ DependsOn []meta.DependencyReference }
	}
	if json.Unmarshal(raw, &spec) != nil {
		return refs
	}
	for _, d := range spec.Spec.DependsOn {
		ref := kinds.Ref{Kind: s.ref.Kind, Namespace: d.Namespace, Name: d.Name}
		if d.Kind != "" {
			ref.Kind = d.Kind
		}
		if ref.Namespace == "" {
			ref.Namespace = s.ref.Namespace
		}
		refs = append(refs, ref)
	}
	return refs
}

// held tells whether a Kustomization waits for the health of objects that will not get on by themselves.
func (s *state) held(states map[kinds.Ref]*state) bool {
	if s.phase != working || !strings.HasPrefix(s.message, "Running health checks") && !strings.HasPrefix(s.progress(), "Running health checks") {
		return false
	}
	return slices.ContainsFunc(s.owned, func(ref kinds.Ref) bool {
		other, ok := states[ref]
		return ok && other.phase != working && other.phase != ready
	})
}

func (s *state) progress() string {
	if c := kinds.Condition(s.obj, meta.ReconcilingCondition); c != nil {
		return c.Message
	}
	return ""
}

func byRef(all []*state) map[kinds.Ref]*state {
	states := map[kinds.Ref]*state{}
	for _, s := range all {
		states[s.ref] = s
	}
	return states
}

// fingerprint changes whenever something that others may wait for got on.
func fingerprint(all []*state) string {
	var b strings.Builder
	for _, s := range all {
		fmt.Fprintf(&b, "%s %t %d %d\n", s.ref, s.phase == ready, s.applied, s.obj.GetGeneration())
	}
	return b.String()
}

// specOf returns the texts at the top of a spec.
func specOf(s *state) func(field string) string {
	raw, err := json.Marshal(s.obj)
	var obj struct{ Spec map[string]any }
	if err != nil || json.Unmarshal(raw, &obj) != nil {
		obj.Spec = nil
	}
	return func(field string) string {
		text, _ := obj.Spec[field].(string)
		return text
	}
}
