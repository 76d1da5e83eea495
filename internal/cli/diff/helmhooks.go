package diff

import (
	"encoding/base64"
	"fmt"
	"reflect"
	"strings"

	helm "helm.sh/helm/v4/pkg/release/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/gitops-toolkit/flux/internal/apply"
	"github.com/gitops-toolkit/flux/internal/helm/release"
)

// hook is an object that Helm makes at moments of an action, and not as a part of the release.
type hook struct {
	object *unstructured.Unstructured
	// moments are the events that Helm makes it at.
	moments string
}

// hooksOf reads the hooks of a release, nil for no release.
func hooksOf(rel *helm.Release) (hooks []hook, err error) {
	if rel == nil {
		return nil, nil
	}
	for _, h := range rel.Hooks {
		objects, err := release.Objects(h.Manifest)
		if err != nil {
			return nil, fmt.Errorf("hook %s: %w", h.Path, err)
		}
		moments := make([]string, len(h.Events))
		for i, e := range h.Events {
			moments[i] = e.String()
		}
		for _, o := range objects {
			hooks = append(hooks, hook{o, strings.Join(moments, ", ")})
		}
	}
	return hooks, nil
}

func objectsOf(hooks []hook) []*unstructured.Unstructured {
	out := make([]*unstructured.Unstructured, len(hooks))
	for i, h := range hooks {
		out[i] = h.object
	}
	return out
}

// betweenHooks lists what differs in the hooks of two releases. What the cluster has of them does not matter: Helm makes
// them anew each time.
func betweenHooks(from, to []hook) []Change {
	changes := between(objectsOf(from), objectsOf(to))
	moments := map[string]string{}
	for _, h := range append(append([]hook{}, from...), to...) {
		moments[subject(h.object)] = h.moments
	}
	for i := range changes {
		changes[i].Hook = moments[changes[i].Object]
	}
	return changes
}

// between lists what differs in two renderings.
func between(from, to []*unstructured.Unstructured) (changes []Change) {
	old := map[apply.ID]*unstructured.Unstructured{}
	for _, o := range from {
		old[apply.RefOf(o).ID()] = o
	}
	for _, o := range to {
		id := apply.RefOf(o).ID()
		before := old[id]
		delete(old, id)
		switch {
		case before == nil:
			changes = append(changes, Change{Object: subject(o), Action: Created})
		case !reflect.DeepEqual(before.Object, o.Object):
			a, b := before.DeepCopy(), o.DeepCopy()
			if isSecret(o) {
				dataOnly(a)
				dataOnly(b)
				a.Object["data"], b.Object["data"] = masked(a.Object["data"], b.Object["data"])
			}
			changes = append(changes, Change{Object: subject(o), Action: Drifted, Diff: report(a.Object, b.Object)})
		}
	}
	for _, o := range from {
		if old[apply.RefOf(o).ID()] != nil {
			changes = append(changes, Change{Object: subject(o), Action: Deleted})
		}
	}
	return changes
}

func isSecret(u *unstructured.Unstructured) bool {
	return u.GetKind() == "Secret" && u.GroupVersionKind().Group == ""
}

// dataOnly makes the text in a Secret data, as the server does.
func dataOnly(u *unstructured.Unstructured) {
	text, _, _ := unstructured.NestedMap(u.Object, "stringData")
	data, _, _ := unstructured.NestedMap(u.Object, "data")
	if data == nil {
		data = map[string]any{}
	}
	for k, v := range text {
		data[k] = base64.StdEncoding.EncodeToString(fmt.Append(nil, v))
	}
	delete(u.Object, "stringData")
	u.Object["data"] = data
}
