package tracker

import (
	"context"
	"maps"
	"reflect"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

// upstream says what upstream would do at its next interval, by the rule of the tables: an object is
// written when labels, annotations or anything else but metadata and status differ between the live
// object and the answer to a dry-run, or when kubectl has an entry on it. It asks with a get and a
// dry-run for each object, as upstream does.
func (b *bench) upstream(docs string) string {
	b.t.Helper()
	verdict := leftAlone
	for _, o := range b.set(docs).Objects() {
		m, err := b.admin.Mapper().For(context.Background(), o.GroupVersionKind())
		if err != nil {
			b.t.Fatal(err)
		}
		r := b.admin.Dynamic().Resource(m.Resource).Namespace(b.ns)
		live, err := r.Get(context.Background(), o.GetName(), metav1.GetOptions{})
		if apierrors.IsNotFound(err) {
			return createdAnew
		}
		if err != nil {
			b.t.Fatal(err)
		}
		dry, err := r.Apply(context.Background(), o.GetName(), o.Unstructured,
			metav1.ApplyOptions{FieldManager: manager, Force: true, DryRun: []string{metav1.DryRunAll}})
		if err != nil {
			b.t.Fatal(err)
		}
		switch {
		case !reflect.DeepEqual(content(live), content(dry)):
			return putBack
		case kubectlWrote(live):
			verdict = takenOut
		}
	}
	return verdict
}

func content(u *unstructured.Unstructured) map[string]any {
	out := maps.Clone(u.Object)
	delete(out, "metadata")
	delete(out, "status")
	out["labels"], out["annotations"] = u.GetLabels(), u.GetAnnotations()
	return out
}

func kubectlWrote(u *unstructured.Unstructured) bool {
	for _, e := range u.GetManagedFields() {
		if e.Subresource == "" && strings.HasPrefix(e.Manager, "kubectl") {
			return true
		}
	}
	return false
}

// update replaces the whole object, with one field changed.
func (b *bench) update(kind, as, value string, path ...string) {
	b.t.Helper()
	o, err := b.of(kind).Get(context.Background(), "app", metav1.GetOptions{})
	if err != nil {
		b.t.Fatal(err)
	}
	if err := unstructured.SetNestedField(o.Object, value, path...); err != nil {
		b.t.Fatal(err)
	}
	if _, err := b.of(kind).Update(context.Background(), o, metav1.UpdateOptions{FieldManager: as}); err != nil {
		b.t.Fatal(err)
	}
}
