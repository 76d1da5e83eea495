package doctor

import (
	"context"
	"encoding/json"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/gitops-toolkit/flux/api/meta"
	"github.com/gitops-toolkit/flux/internal/cli/cluster"
	"github.com/gitops-toolkit/flux/internal/cli/kinds"
)

// object is an object of the toolkit, as far as it is of interest here.
type object struct {
	kind            *kinds.Kind
	namespace, name string
	ready           bool
	messages        []string // of conditions that say no
	deleted         *metav1.Time
	finalizers      []string
	managers        []metav1.ManagedFieldsEntry
	suspended       bool
	controllerName  string
}

// String names the object as findings do.
func (o *object) String() string { return o.kind.Kind + "/" + o.namespace + "/" + o.name }

// controllerOf says who reconciles a kind.
func controllerOf(group, kind string) string {
	name, _, _ := strings.Cut(group, ".")
	switch {
	case group == "source.extensions.fluxcd.io":
		return "source-watcher"
	case kind == "ImageUpdateAutomation":
		return "image-automation-controller"
	case name == "image":
		return "image-reflector-controller"
	}
	return name + "-controller"
}

// objects reads every object of the toolkit that the person may see.
func (d *Doctor) objects(ctx context.Context) ([]*object, error) {
	all := kinds.All()
	found := make([][]*object, len(all))
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(asking)
	for i, k := range all {
		group.Go(func() error {
			_, err := d.Client.List(ctx, k.Resource, cluster.ListOptions{}, func(raw json.RawMessage) error {
				obj, err := k.Decode(raw)
				if err == nil {
					found[i] = append(found[i], describe(k, obj))
				}
				return err
			})
			if err != nil && !unseen(err) {
				return err
			}
			return nil
		})
	}
	err := group.Wait()
	var objects []*object
	for _, list := range found {
		objects = append(objects, list...)
	}
	return objects, err
}

func describe(k *kinds.Kind, obj meta.Object) *object {
	o := &object{
		kind: k, namespace: obj.GetNamespace(), name: obj.GetName(), deleted: obj.GetDeletionTimestamp(), finalizers: obj.GetFinalizers(),
		managers: obj.GetManagedFields(), suspended: obj.IsSuspended(), controllerName: controllerOf(k.Group, k.Kind), ready: true,
	}
	for _, c := range obj.GetConditions() {
		if c.Type == meta.ReadyCondition {
			o.ready = c.Status == metav1.ConditionTrue
		}
		if c.Status == metav1.ConditionFalse || c.Type == meta.StalledCondition || c.Type == meta.ReconcilingCondition {
			o.messages = append(o.messages, c.Message)
		}
	}
	return o
}

// eventAge is how old a warning may be that is still believed.
const eventAge = 30 * time.Minute

// warning is what somebody complained about lately.
type warning struct {
	about, controller, message string
}

// warnings are the messages of objects that are not well, and recent events: those about objects of
// the toolkit only while the object is not well, those about others as far as they may come from
// what was applied.
func (d *Doctor) warnings(ctx context.Context, objects []*object) ([]warning, error) {
	var out []warning
	unwell := map[string]*object{}
	for _, o := range objects {
		if o.suspended {
			continue
		}
		if !o.ready {
			unwell[o.String()] = o
		}
		for _, message := range o.messages {
			out = append(out, warning{o.String(), o.controllerName, message})
		}
	}
	events, err := list[corev1.Event](ctx, d.Client, kinds.Events, cluster.ListOptions{Fields: "type=" + corev1.EventTypeWarning})
	if err != nil {
		return nil, err
	}
	for i := range events {
		e := &events[i]
		if e.Type != corev1.EventTypeWarning || d.Now.Sub(lastSeen(e)) > eventAge {
			continue
		}
		about := e.InvolvedObject.Kind + "/" + e.InvolvedObject.Namespace + "/" + e.InvolvedObject.Name
		group, _, _ := strings.Cut(e.InvolvedObject.APIVersion, "/")
		if !strings.HasSuffix(group, ".fluxcd.io") {
			out = append(out, warning{about, "", e.Message})
		} else if o := unwell[about]; o != nil {
			out = append(out, warning{about, o.controllerName, e.Message})
		}
	}
	return out, nil
}

func lastSeen(e *corev1.Event) time.Time {
	seen := e.LastTimestamp.Time
	if e.Series != nil {
		seen = e.Series.LastObservedTime.Time
	}
	if seen.IsZero() {
		seen = e.EventTime.Time
	}
	return seen
}
