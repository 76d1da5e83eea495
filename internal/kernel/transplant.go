package kernel

import (
	"encoding/json"
	"reflect"

	apimeta "k8s.io/apimachinery/pkg/api/meta"

	"github.com/gitops-toolkit/flux/api/meta"
)

// transplant returns latest with what the pass changed between base and done on top: fields of
// the status that the pass changed, and the conditions that the kind owns. Conditions of
// others, and fields that the pass left alone, stay as they are in latest.
func (e *engine) transplant(base, done, latest meta.Object) (meta.Object, error) {
	if latest.GetResourceVersion() == base.GetResourceVersion() {
		return done, nil
	}
	diff, err := statusDiff(base, done)
	if err != nil {
		return nil, err
	}
	delete(diff, "conditions")
	out, err := withStatus(latest, diff)
	if err != nil {
		return nil, err
	}
	for _, c := range done.GetConditions() {
		if e.owned[c.Type] {
			list := append(out.GetConditions()[:0:0], out.GetConditions()...)
			apimeta.SetStatusCondition(&list, c)
			out.SetConditions(list)
		}
	}
	for _, c := range out.GetConditions() {
		if e.owned[c.Type] && apimeta.FindStatusCondition(done.GetConditions(), c.Type) == nil {
			removeCondition(out, c.Type)
		}
	}
	return out, nil
}

// withStatus returns a copy of obj with a merge patch applied to its status.
func withStatus(obj meta.Object, patch map[string]any) (meta.Object, error) {
	status, err := statusOf(obj)
	if err != nil {
		return nil, err
	}
	doc, err := json.Marshal(map[string]any{"status": mergeApply(status, patch)})
	if err != nil {
		return nil, err
	}
	out := obj.DeepCopyObject().(meta.Object)
	if field := reflect.Indirect(reflect.ValueOf(out)).FieldByName("Status"); field.IsValid() {
		field.SetZero()
	}
	return out, json.Unmarshal(doc, out)
}
