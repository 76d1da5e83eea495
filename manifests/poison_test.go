package manifests_test

import (
	"encoding/json"
	"strings"
	"testing"

	extv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/gitops-toolkit/flux/api"
	"github.com/gitops-toolkit/flux/api/meta"
	sourcev1 "github.com/gitops-toolkit/flux/api/source/v1"
	"github.com/gitops-toolkit/flux/internal/testenv"
)

// TestPoisonedObjectOfEachKind reads an object of each kind in which no duration and no time
// makes sense: reading works, the object says what is wrong, and writing gives it back.
func TestPoisonedObjectOfEachKind(t *testing.T) {
	t.Parallel()
	scheme := runtime.NewScheme()
	if err := api.AddToScheme(scheme); err != nil {
		t.Fatal(err)
	}
	for _, crd := range definitions(t) {
		for _, v := range crd.Spec.Versions {
			if v.Storage {
				t.Run(crd.Spec.Names.Kind, func(t *testing.T) { readPoison(t, scheme, crd, v) })
			}
		}
	}
}

func readPoison(t *testing.T, scheme *runtime.Scheme, crd extv1.CustomResourceDefinition, v extv1.CustomResourceDefinitionVersion) {
	doc := map[string]any{}
	for _, part := range []string{"spec", "status"} {
		if p, ok := v.Schema.OpenAPIV3Schema.Properties[part]; ok {
			doc[part], _ = sampler{poison: true}.value(part, p)
		}
	}
	data, err := json.Marshal(doc)
	if err != nil {
		t.Fatal(err)
	}
	obj, err := scheme.New(schema.GroupVersionKind{Group: crd.Spec.Group, Version: v.Name, Kind: crd.Spec.Names.Kind})
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(data, obj); err != nil {
		t.Fatalf("the object stops its kind: %v", err)
	}
	spec, err := json.Marshal(doc["spec"])
	if err != nil {
		t.Fatal(err)
	}
	bad := strings.Count(string(spec), "2026-01-02t")
	got := 0
	if err := meta.FieldErrors(obj); err != nil {
		got = strings.Count(err.Error(), " is not a duration: ")
	}
	if got != bad {
		t.Errorf("%d durations are bad, %d are reported: %v", bad, got, meta.FieldErrors(obj))
	}
	if n, ok := obj.(interface{ Normalize() }); ok {
		n.Normalize()
	}
	if o, ok := obj.(meta.Object); ok {
		_ = o.GetInterval() + o.GetRetryInterval() + o.GetTimeout() // none may panic
	}
	again, err := json.Marshal(obj.DeepCopyObject())
	if err != nil {
		t.Fatal(err)
	}
	var back map[string]any
	if err := json.Unmarshal(again, &back); err != nil {
		t.Fatal(err)
	}
	if strings.Count(string(again), "2026-01-02t") < bad {
		t.Errorf("a bad value was changed on the way through: %s", again)
	}
}

// TestPoisonedObjectInTheCluster puts such an object into the API server by the two ways that
// it leaves open, an old version without patterns and a status, and lists the kind.
func TestPoisonedObjectInTheCluster(t *testing.T) {
	t.Parallel()
	dyn, ns, ctx := newClient(t), testenv.Namespace(t), timeout(t)
	old := dyn.Resource(sourcev1.GroupVersion.WithResource("gitrepositories").GroupResource().WithVersion("v1beta1")).Namespace(ns)
	obj := &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "source.toolkit.fluxcd.io/v1beta1", "kind": "GitRepository",
		"metadata": map[string]any{"name": "poison"},
		"spec":     map[string]any{"url": "https://example.com/x", "interval": "often", "timeout": "1d"},
	}}
	if _, err := old.Create(ctx, obj, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	const status = `{"status":{"artifact":{"path":"p","url":"u","revision":"r","digest":"sha256:aa","lastUpdateTime":"2026-01-02t03:04:05z"},
		"conditions":[{"type":"Ready","status":"True","reason":"X","message":"m","lastTransitionTime":"2026-01-02T03:04:05x1Z"}]}}`
	if _, err := dyn.Resource(sourcev1.GroupVersion.WithResource("gitrepositories")).Namespace(ns).
		Patch(ctx, "poison", types.MergePatchType, []byte(status), metav1.PatchOptions{}, "status"); err != nil {
		t.Fatalf("a controller must be able to write the status of such an object: %v", err)
	}
	scheme := runtime.NewScheme()
	if err := api.AddToScheme(scheme); err != nil {
		t.Fatal(err)
	}
	typed, err := client.New(testenv.Config(t), client.Options{Scheme: scheme})
	if err != nil {
		t.Fatal(err)
	}
	var list sourcev1.GitRepositoryList
	if err := typed.List(ctx, &list, client.InNamespace(ns)); err != nil {
		t.Fatalf("one object stops the whole kind: %v", err)
	}
	if len(list.Items) != 1 {
		t.Fatalf("got %d objects", len(list.Items))
	}
	repo := &list.Items[0]
	err = meta.FieldErrors(repo)
	for _, want := range []string{`spec.interval: "often" is not a duration`, `spec.timeout: "1d" is not a duration`} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("want %q to be reported, got %v", want, err)
		}
	}
	if ready := repo.Status.Conditions.Get(meta.ReadyCondition); ready == nil || ready.Message != "m" {
		t.Errorf("the condition is lost: %+v", repo.Status.Conditions)
	}
}
