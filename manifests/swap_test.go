package manifests_test

import (
	"context"
	"slices"
	"strings"
	"testing"
	"time"

	extv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/rand"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/dynamic"

	"github.com/gitops-toolkit/flux/internal/testenv"
)

// TestDefinitionsSwap puts the definitions that we replace over ours and ours over them, with
// an object in between, in groups of the test's own: both directions are accepted, the object
// keeps what the definition of the moment knows, and no old version is ever stored.
func TestDefinitionsSwap(t *testing.T) {
	t.Parallel()
	client, ns := newClient(t), testenv.Namespace(t)
	for _, crd := range definitions(t) {
		if !slices.Contains([]string{"GitRepository", "Kustomization", "HelmRelease", "Alert"}, crd.Spec.Names.Kind) {
			continue
		}
		t.Run(crd.Spec.Names.Kind, func(t *testing.T) {
			t.Parallel()
			s := swapTest{definitions: client.Resource(extv1.SchemeGroupVersion.WithResource("customresourcedefinitions"))}
			crd.Spec.Group = "swap-" + rand.String(6) + ".example.com"
			crd.Name = crd.Spec.Names.Plural + "." + crd.Spec.Group
			s.run(t, versionTest{client: client, ns: ns, crd: crd, from: oldest(crd)})
		})
	}
}

type swapTest struct {
	definitions dynamic.ResourceInterface
}

func (s swapTest) run(t *testing.T, vt versionTest) {
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
		defer cancel()
		_ = s.definitions.Delete(ctx, vt.crd.Name, metav1.DeleteOptions{})
	})
	theirs := upstream(vt.crd)
	spec, _ := sampler{set: variants(vt.crd.Spec.Names.Kind)[0]}.value("spec", vt.from.Schema.OpenAPIV3Schema.Properties["spec"])

	s.apply(t, vt.crd, vt.from.Name)
	obj := &unstructured.Unstructured{Object: map[string]any{"spec": spec}}
	obj.SetAPIVersion(vt.crd.Spec.Group + "/" + vt.from.Name)
	obj.SetKind(vt.crd.Spec.Names.Kind)
	obj.SetName("x")
	if _, err := vt.resource(vt.from.Name).Create(timeout(t), obj, metav1.CreateOptions{}); err != nil {
		t.Fatalf("create: %v", err)
	}
	want := map[string]any{"spec": spec}
	vt.readAll(t, "x", want)

	s.apply(t, theirs, theirs.Spec.Versions[0].Name)
	under := vt
	under.crd = theirs
	under.readAll(t, "x", want)

	s.apply(t, vt.crd, vt.from.Name)
	vt.readAll(t, "x", prune(want, *theirs.Spec.Versions[0].Schema.OpenAPIV3Schema).(map[string]any))
}

// apply installs a definition as `flux install` does and waits until it serves a version and
// stores the current one only.
func (s swapTest) apply(t *testing.T, crd extv1.CustomResourceDefinition, serves string) {
	t.Helper()
	raw, err := runtime.DefaultUnstructuredConverter.ToUnstructured(&crd)
	if err != nil {
		t.Fatal(err)
	}
	u := &unstructured.Unstructured{Object: raw}
	unstructured.RemoveNestedField(u.Object, "status")
	ctx := timeout(t)
	if _, err := s.definitions.Apply(ctx, crd.Name, u, metav1.ApplyOptions{FieldManager: "flux", Force: true}); err != nil {
		t.Fatalf("apply: %v", err)
	}
	client, gvr := newClient(t), schema.GroupVersionResource{Group: crd.Spec.Group, Version: serves, Resource: crd.Spec.Names.Plural}
	err = wait.PollUntilContextCancel(ctx, 50*time.Millisecond, true, func(ctx context.Context) (bool, error) {
		live, err := s.definitions.Get(ctx, crd.Name, metav1.GetOptions{})
		if err != nil {
			return false, err
		}
		versions, _, _ := unstructured.NestedSlice(live.Object, "spec", "versions")
		if len(versions) != len(crd.Spec.Versions) {
			t.Errorf("%d versions are left, want %d", len(versions), len(crd.Spec.Versions))
		}
		stored, _, _ := unstructured.NestedStringSlice(live.Object, "status", "storedVersions")
		_, served := client.Resource(gvr).List(ctx, metav1.ListOptions{Limit: 1})
		return served == nil && slices.Equal(stored, []string{current(crd).Name}), nil
	})
	if err != nil {
		t.Fatalf("the definition does not serve %s: %v", serves, err)
	}
}

func current(crd extv1.CustomResourceDefinition) extv1.CustomResourceDefinitionVersion {
	return crd.Spec.Versions[slices.IndexFunc(crd.Spec.Versions, func(v extv1.CustomResourceDefinitionVersion) bool { return v.Storage })]
}

func oldest(crd extv1.CustomResourceDefinition) extv1.CustomResourceDefinitionVersion {
	return crd.Spec.Versions[slices.IndexFunc(crd.Spec.Versions, func(v extv1.CustomResourceDefinitionVersion) bool { return !v.Storage })]
}

// upstream makes the definition that we replace: the current version alone, without the fields
// that it has for the others. TestTables proves that this is the only difference.
func upstream(crd extv1.CustomResourceDefinition) extv1.CustomResourceDefinition {
	out := *crd.DeepCopy()
	out.Spec.Versions = []extv1.CustomResourceDefinitionVersion{current(out)}
	dropLegacy(out.Spec.Versions[0].Schema.OpenAPIV3Schema)
	return out
}

func dropLegacy(s *extv1.JSONSchemaProps) {
	for name, p := range s.Properties {
		if strings.Contains(p.Description, "Deprecated: read from objects of") {
			delete(s.Properties, name)
			continue
		}
		dropLegacy(&p)
		s.Properties[name] = p
	}
	if s.Items != nil {
		dropLegacy(s.Items.Schema)
	}
}
