package apply

import (
	"reflect"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/gitops-toolkit/flux/api/meta"
)

const liveWorkload = `
apiVersion: apps/v1
kind: Deployment
metadata: {name: web, namespace: apps, labels: {tier: front}, annotations: {a/b: live}}
spec: {replicas: 5, template: {spec: {containers: [{name: side, image: s}, {name: web, image: live}], args: [x]}}}`

const desiredWorkload = `
apiVersion: apps/v1
kind: Deployment
metadata: {name: web, namespace: apps, labels: {tier: front}, annotations: {a/b: git}}
spec: {replicas: 1, paused: true, template: {spec: {containers: [{name: side, image: s}, {name: web, image: git}]}}}`

func TestIgnoreTargets(t *testing.T) {
	t.Parallel()
	u := object(t, desiredWorkload)
	for _, tc := range []struct {
		reason string
		target *meta.Selector
		want   bool
	}{
		{"no target is every object", nil, true},
		{"all parts match", &meta.Selector{Group: "apps", Version: "v1", Kind: "Deploy.*", Name: "w..", Namespace: "apps", LabelSelector: "tier=front"}, true},
		{"expressions are anchored", &meta.Selector{Name: "we"}, false},
		{"alternatives are anchored too", &meta.Selector{Name: "x|we"}, false},
		{"label selector", &meta.Selector{LabelSelector: "tier notin (front)"}, false},
		{"annotation selector", &meta.Selector{AnnotationSelector: "a/b=git"}, true},
	} {
		t.Run(tc.reason, func(t *testing.T) {
			t.Parallel()
			rules, err := compileIgnore([]meta.IgnoreRule{{Paths: []string{"/spec/replicas"}, Target: tc.target}})
			if err != nil {
				t.Fatal(err)
			}
			if got := rules[0].Picks(u); got != tc.want {
				t.Errorf("got %v", got)
			}
		})
	}
	for _, bad := range []meta.IgnoreRule{{Paths: []string{"spec"}}, {Target: &meta.Selector{Name: "("}}, {Target: &meta.Selector{LabelSelector: "=="}}} {
		if _, err := compileIgnore([]meta.IgnoreRule{bad}); err == nil {
			t.Errorf("%v was accepted", bad)
		}
	}
}

func TestAdopt(t *testing.T) {
	t.Parallel()
	replicas := `{"f:spec":{"f:replicas":{}}}`
	image := `{"f:spec":{"f:template":{"f:spec":{"f:containers":{"k:{\"name\":\"web\"}":{".":{},"f:image":{},"f:name":{}}}}}}}`
	for _, tc := range []struct {
		reason string
		path   string
		owner  string // fields of another Apply manager
		sent   []string
		value  any // nil: not sent
	}{
		{"the live value is adopted", "/spec/replicas", "", []string{"spec", "replicas"}, int64(5)},
		{"another Apply manager's field is not sent", "/spec/replicas", replicas, []string{"spec", "replicas"}, nil},
		{"a field that is not live is not sent", "/spec/paused", "", []string{"spec", "paused"}, nil},
		{"a list index", "/spec/template/spec/containers/1/image", "", []string{"spec", "template", "spec", "containers", "1", "image"}, "live"},
		{"a list index stands for its merge key", "/spec/template/spec/containers/1/image", image, []string{"spec", "template", "spec", "containers", "1", "image"}, nil},
		{"another item's owner does not count", "/spec/template/spec/containers/0/image", image, []string{"spec", "template", "spec", "containers", "0", "image"}, "s"},
		{"escaped tokens", "/metadata/annotations/a~1b", "", []string{"metadata", "annotations", "a/b"}, "live"},
		{"a path that nobody has", "/spec/none/0/x", "", []string{"spec", "none"}, nil},
	} {
		t.Run(tc.reason, func(t *testing.T) {
			t.Parallel()
			live, desired := object(t, liveWorkload), object(t, desiredWorkload)
			if tc.owner != "" {
				live.SetManagedFields([]metav1.ManagedFieldsEntry{{Manager: "hpa", Operation: metav1.ManagedFieldsOperationApply,
					FieldsType: "FieldsV1", FieldsV1: metav1.NewFieldsV1(tc.owner)}})
			}
			rules, err := compileIgnore([]meta.IgnoreRule{{Paths: []string{tc.path}}})
			if err != nil {
				t.Fatal(err)
			}
			got, _ := valueAt(adopt(desired, live, rules, manager).Object, tc.sent)
			if !sameNumber(got, tc.value) {
				t.Errorf("sent %v, want %v", got, tc.value)
			}
			if !reflect.DeepEqual(desired.Object, object(t, desiredWorkload).Object) {
				t.Error("the desired object was changed")
			}
		})
	}
}

// sameNumber compares values whose numbers YAML read as float64 or int64.
func sameNumber(a, b any) bool {
	if f, ok := a.(float64); ok {
		a = int64(f)
	}
	return reflect.DeepEqual(a, b)
}

func TestDrifted(t *testing.T) {
	t.Parallel()
	rules, err := compileIgnore([]meta.IgnoreRule{{Paths: []string{"/spec/replicas", "/spec/template/spec/containers/0", "/spec/template/spec/containers/1"}}})
	if err != nil {
		t.Fatal(err)
	}
	base := object(t, desiredWorkload)
	change := func(f func(*unstructured.Unstructured)) *unstructured.Unstructured {
		u := base.DeepCopy()
		f(u)
		return u
	}
	for _, tc := range []struct {
		reason string
		live   *unstructured.Unstructured
		want   bool
	}{
		{"equal", base.DeepCopy(), false},
		{"only ignored fields differ, list items among them", change(func(u *unstructured.Unstructured) {
			_ = unstructured.SetNestedField(u.Object, int64(9), "spec", "replicas")
			_ = unstructured.SetNestedSlice(u.Object, []any{map[string]any{"name": "x"}}, "spec", "template", "spec", "containers")
		}), false},
		{"another field differs", change(func(u *unstructured.Unstructured) {
			_ = unstructured.SetNestedField(u.Object, false, "spec", "paused")
		}), true},
		{"a label differs", change(func(u *unstructured.Unstructured) { u.SetLabels(map[string]string{"tier": "back"}) }), true},
		{"other metadata and status are no drift", change(func(u *unstructured.Unstructured) {
			u.SetFinalizers([]string{"x"})
			u.Object["status"] = map[string]any{"a": "b"}
		}), false},
	} {
		t.Run(tc.reason, func(t *testing.T) {
			t.Parallel()
			if got := drifted(base, tc.live, rules); got != tc.want {
				t.Errorf("got %v", got)
			}
		})
	}
}

// TestIgnoredFieldSurvives is the live counterpart: an edit of an ignored field survives while
// another one in the same object is put back.
func TestIgnoredFieldSurvives(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	const doc = `apiVersion: v1
kind: ConfigMap
metadata: {name: c, namespace: $NS}
data: {k: git, tuned: git}`
	ignore := func(o *Options) { o.Full, o.Ignore = true, []meta.IgnoreRule{{Paths: []string{"/data/tuned"}}} }
	b.mustApply(doc, ignore)
	b.edit("c", "someone", `{"data":{"tuned":"live"}}`)
	res := b.mustApply(doc, ignore)
	want(t, "an ignored field alone causes no write", b.lines(res.Changes), "ConfigMap/NS/c unchanged")
	b.edit("c", "someone", `{"data":{"k":"drift"}}`)
	res = b.mustApply(doc, ignore)
	want(t, "changes", b.lines(res.Changes), "ConfigMap/NS/c configured")
	data := b.live("v1/ConfigMap", "c").Object["data"].(map[string]any)
	if data["k"] != "git" || data["tuned"] != "live" {
		t.Errorf("data %v", data)
	}
}
