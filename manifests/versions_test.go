package manifests_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	extv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/rest"

	"github.com/gitops-toolkit/flux/internal/testenv"
	"github.com/gitops-toolkit/flux/manifests"
)

// definitions are the embedded ones, typed.
func definitions(t *testing.T) []extv1.CustomResourceDefinition {
	t.Helper()
	raw, err := manifests.CRDs()
	if err != nil {
		t.Fatal(err)
	}
	out := make([]extv1.CustomResourceDefinition, len(raw))
	for i, u := range raw {
		if err := runtime.DefaultUnstructuredConverter.FromUnstructured(u.Object, &out[i]); err != nil {
			t.Fatal(err)
		}
	}
	return out
}

func newClient(t *testing.T) dynamic.Interface {
	t.Helper()
	cfg := testenv.Config(t)
	cfg.WarningHandler = rest.NoWarnings{} // each use of a deprecated version warns
	client, err := dynamic.NewForConfig(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return client
}

func timeout(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	t.Cleanup(cancel)
	return ctx
}

// versionTest creates an object of one version and reads it through all.
type versionTest struct {
	client dynamic.Interface
	ns     string
	crd    extv1.CustomResourceDefinition
	from   extv1.CustomResourceDefinitionVersion
}

// TestEveryVersionKeepsEverything creates an object of each served version with every field
// filled, reads it through every served version, writes it back through the stored one, and
// reads it again: nothing that the versions share may be lost or changed.
func TestEveryVersionKeepsEverything(t *testing.T) {
	t.Parallel()
	client, ns := newClient(t), testenv.Namespace(t)
	for _, crd := range definitions(t) {
		for _, v := range crd.Spec.Versions {
			for i, set := range variants(crd.Spec.Names.Kind) {
				t.Run(fmt.Sprintf("%s/%s/%d", crd.Spec.Names.Kind, v.Name, i), func(t *testing.T) {
					vt := versionTest{client: client, ns: ns, crd: crd, from: v}
					vt.run(t, fmt.Sprintf("%s-%d", v.Name, i), sampler{set: set})
				})
			}
		}
	}
}

func (vt versionTest) resource(version string) dynamic.ResourceInterface {
	gvr := schema.GroupVersionResource{Group: vt.crd.Spec.Group, Version: version, Resource: vt.crd.Spec.Names.Plural}
	return vt.client.Resource(gvr).Namespace(vt.ns)
}

func (vt versionTest) run(t *testing.T, name string, s sampler) {
	ctx := timeout(t)
	want := map[string]any{}
	for _, part := range []string{"spec", "status"} {
		if p, ok := vt.from.Schema.OpenAPIV3Schema.Properties[part]; ok {
			want[part], _ = s.value(part, p)
		}
	}
	obj := &unstructured.Unstructured{Object: map[string]any{"spec": want["spec"]}}
	obj.SetAPIVersion(vt.crd.Spec.Group + "/" + vt.from.Name)
	obj.SetKind(vt.crd.Spec.Names.Kind)
	obj.SetName(name)
	strict := metav1.FieldValidationStrict
	live, err := vt.resource(vt.from.Name).Create(ctx, obj, metav1.CreateOptions{FieldValidation: strict})
	if err != nil {
		t.Fatalf("create: %v", err)
	}
	if status, ok := want["status"]; ok {
		live.Object["status"] = status
		if _, err := vt.resource(vt.from.Name).UpdateStatus(ctx, live, metav1.UpdateOptions{FieldValidation: strict}); err != nil {
			t.Fatalf("write the status: %v", err)
		}
	}
	vt.readAll(t, name, want)
	vt.rewrite(t, name)
	vt.readAll(t, name, want)
}

// readAll compares what each served version shows with what was written.
func (vt versionTest) readAll(t *testing.T, name string, want map[string]any) {
	t.Helper()
	for _, v := range vt.crd.Spec.Versions {
		live, err := vt.resource(v.Name).Get(timeout(t), name, metav1.GetOptions{})
		if err != nil {
			t.Fatalf("read through %s: %v", v.Name, err)
		}
		for part := range want {
			if part == "status" && !vt.storesStatus() {
				continue
			}
			expect := prune(map[string]any{part: want[part]}, *v.Schema.OpenAPIV3Schema)
			if lost := missing("", expect, map[string]any{part: live.Object[part]}); len(lost) > 0 {
				t.Errorf("written as %s, read through %s:\n%s", vt.from.Name, v.Name, strings.Join(lost, "\n"))
			}
		}
	}
}

// storesStatus is false for the kinds whose current version has none.
func (vt versionTest) storesStatus() bool {
	_, ok := current(vt.crd).Schema.OpenAPIV3Schema.Properties["status"]
	return ok
}

// rewrite does what a client of the current version does: read, change metadata, write all.
func (vt versionTest) rewrite(t *testing.T, name string) {
	t.Helper()
	stored := vt.resource(current(vt.crd).Name)
	live, err := stored.Get(timeout(t), name, metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	live.SetAnnotations(map[string]string{"touched": "yes"})
	if _, err := stored.Update(timeout(t), live, metav1.UpdateOptions{}); err != nil {
		t.Fatalf("write back through the stored version: %v", err)
	}
}

// TestStoredVersionIsCurrent: an old version must never be named in storedVersions, or the next
// upgrade could not drop it.
func TestStoredVersionIsCurrent(t *testing.T) {
	t.Parallel()
	client := newClient(t)
	for _, crd := range definitions(t) {
		live, err := client.Resource(extv1.SchemeGroupVersion.WithResource("customresourcedefinitions")).Get(timeout(t), crd.Name, metav1.GetOptions{})
		if apierrors.IsNotFound(err) {
			t.Fatalf("%s is not installed: run go run ./hack/kube crds", crd.Name)
		}
		if err != nil {
			t.Fatal(err)
		}
		stored, _, _ := unstructured.NestedStringSlice(live.Object, "status", "storedVersions")
		for _, v := range crd.Spec.Versions {
			if slices.Contains(stored, v.Name) != v.Storage {
				t.Errorf("%s: storedVersions are %v", crd.Name, stored)
			}
		}
	}
}
