package harness

import (
	"context"
	"fmt"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/dynamic"
)

// Stage is a step on the way of a change through the cluster: an object that comes to a state.
type Stage struct {
	What            string
	Resource        schema.GroupVersionResource
	Namespace, Name string
	// Reached compares the object with what it was before.
	Reached func(was, now *unstructured.Unstructured) bool
}

// Stages are being watched for.
type Stages struct {
	stages []Stage
	seen   []chan time.Time
	failed chan error
	stop   context.CancelFunc
}

// FollowStages watches for the stages from now on; the objects exist.
func FollowStages(ctx context.Context, client dynamic.Interface, stages ...Stage) (*Stages, error) {
	ctx, stop := context.WithCancel(ctx)
	s := &Stages{stages: stages, failed: make(chan error, len(stages)), stop: stop}
	for _, stage := range stages {
		res := client.Resource(stage.Resource).Namespace(stage.Namespace)
		was, err := res.Get(ctx, stage.Name, metav1.GetOptions{})
		if err != nil {
			stop()
			return nil, err
		}
		events, err := res.Watch(ctx, metav1.ListOptions{FieldSelector: "metadata.name=" + stage.Name, ResourceVersion: was.GetResourceVersion()})
		if err != nil {
			stop()
			return nil, err
		}
		reached := make(chan time.Time, 1)
		s.seen = append(s.seen, reached)
		go func() {
			defer events.Stop()
			for e := range events.ResultChan() {
				if o, ok := e.Object.(*unstructured.Unstructured); ok && stage.Reached(was, o) {
					reached <- time.Now()
					return
				}
			}
			s.failed <- fmt.Errorf("%s: the watch has ended first", stage.What)
		}()
	}
	return s, nil
}

// Since waits for all stages and tells how long after a moment each was first seen.
func (s *Stages) Since(ctx context.Context, start time.Time) ([]time.Duration, error) {
	defer s.stop()
	out := make([]time.Duration, len(s.stages))
	for i, seen := range s.seen {
		select {
		case at := <-seen:
			out[i] = at.Sub(start)
		case err := <-s.failed:
			return nil, err
		case <-ctx.Done():
			return nil, fmt.Errorf("%s: %w", s.stages[i].What, ctx.Err())
		}
	}
	return out, nil
}

// PushStages are the stages of a pushed change: a GitRepository is asked by a webhook and fetches, a Kustomization of
// the same name applies, a ConfigMap gets the value.
func PushStages(namespace, name, revision, configMap, key, value string) []Stage {
	source := schema.GroupVersionResource{Group: "source.toolkit.fluxcd.io", Version: "v1", Resource: "gitrepositories"}
	apply := schema.GroupVersionResource{Group: "kustomize.toolkit.fluxcd.io", Version: "v1", Resource: "kustomizations"}
	field := func(o *unstructured.Unstructured, path ...string) string {
		text, _, _ := unstructured.NestedString(o.Object, path...)
		return text
	}
	return []Stage{
		{"the webhook has asked the source", source, namespace, name, func(was, o *unstructured.Unstructured) bool {
			const asked = "reconcile.fluxcd.io/requestedAt"
			return o.GetAnnotations()[asked] != was.GetAnnotations()[asked]
		}},
		{"the source has fetched and stored", source, namespace, name, func(_, o *unstructured.Unstructured) bool {
			return field(o, "status", "artifact", "revision") == revision
		}},
		{"the change is live", schema.GroupVersionResource{Version: "v1", Resource: "configmaps"}, namespace, configMap, func(_, o *unstructured.Unstructured) bool {
			return field(o, "data", key) == value
		}},
		{"the Kustomization is Ready at the commit", apply, namespace, name, func(_, o *unstructured.Unstructured) bool {
			return field(o, "status", "lastAppliedRevision") == revision
		}},
	}
}
