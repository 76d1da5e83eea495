package manifests_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	utilyaml "k8s.io/apimachinery/pkg/util/yaml"
	sigsjson "sigs.k8s.io/json"

	"github.com/gitops-toolkit/flux/api"
	"github.com/gitops-toolkit/flux/internal/testenv"
)

// sharedDir holds what was recorded of a live run. It is absent in a checkout of this
// repository alone.
const sharedDir = "../../shared"

type recorded struct {
	file string
	obj  *unstructured.Unstructured
}

// recordedObjects returns the objects of our groups in the files that match the globs.
func recordedObjects(t *testing.T, globs ...string) []recorded {
	t.Helper()
	if _, err := os.Stat(sharedDir); err != nil {
		t.Skipf("no recorded objects: %s is not beside this checkout", sharedDir)
	}
	var out []recorded
	for _, glob := range globs {
		files, err := filepath.Glob(filepath.Join(sharedDir, glob))
		if err != nil || len(files) == 0 {
			t.Fatalf("no files match %s (%v)", glob, err)
		}
		for _, file := range files {
			data, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			for _, obj := range fluxObjects(t, file, data) {
				out = append(out, recorded{file: file, obj: obj})
			}
		}
	}
	return out
}

// fluxObjects reads documents and keeps those of our groups.
func fluxObjects(t *testing.T, file string, data []byte) []*unstructured.Unstructured {
	t.Helper()
	var out []*unstructured.Unstructured
	docs := utilyaml.NewYAMLOrJSONDecoder(bytes.NewReader(data), 4096)
	for {
		obj := &unstructured.Unstructured{}
		err := docs.Decode(&obj.Object)
		if errors.Is(err, io.EOF) {
			return out
		}
		if err != nil {
			t.Fatalf("%s: %v", file, err)
		}
		group := obj.GroupVersionKind().Group
		if strings.HasSuffix(group, ".toolkit.fluxcd.io") || group == "source.extensions.fluxcd.io" {
			out = append(out, obj)
		}
	}
}

// TestRecordedObjectsAreAccepted creates, as a dry run, everything that was written for or by
// the toolkit that we replace: it is taken as it is.
func TestRecordedObjectsAreAccepted(t *testing.T) {
	t.Parallel()
	client, ns := newClient(t), testenv.Namespace(t)
	plural := map[schema.GroupKind]string{}
	for _, crd := range definitions(t) {
		plural[schema.GroupKind{Group: crd.Spec.Group, Kind: crd.Spec.Names.Kind}] = crd.Spec.Names.Plural
	}
	all := recordedObjects(t, "recorded/inputs/manifests/*.yaml", "recorded/objects/*.yaml", "recorded/objects-initial/*.yaml")
	all = append(all, seedHelmRelease(t))
	for _, r := range all {
		obj, gvk := r.obj, r.obj.GroupVersionKind()
		want := map[string]any{"spec": obj.Object["spec"]}
		fresh := &unstructured.Unstructured{Object: map[string]any{"spec": obj.Object["spec"]}}
		fresh.SetGroupVersionKind(gvk)
		fresh.SetName(obj.GetName())
		live, err := client.Resource(gvk.GroupVersion().WithResource(plural[gvk.GroupKind()])).Namespace(ns).
			Create(timeout(t), fresh, metav1.CreateOptions{DryRun: []string{metav1.DryRunAll}, FieldValidation: metav1.FieldValidationStrict})
		if err != nil {
			t.Errorf("%s: %s %s: %v", r.file, gvk.Kind, obj.GetName(), err)
			continue
		}
		if lost := missing("", want, live.Object); len(lost) > 0 {
			t.Errorf("%s: %s %s changed: %s", r.file, gvk.Kind, obj.GetName(), strings.Join(lost, "\n"))
		}
	}
	t.Logf("%d objects were accepted", len(all))
}

// seedHelmRelease is the example that people paste, of an old version.
func seedHelmRelease(t *testing.T) recorded {
	t.Helper()
	files, _ := filepath.Glob(filepath.Join(sharedDir, "seeds", "*.txt"))
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		_, text, found := strings.Cut(string(data), "\napiVersion: helm.toolkit.fluxcd.io/v2beta1\n")
		if !found {
			continue
		}
		text, _, _ = strings.Cut("apiVersion: helm.toolkit.fluxcd.io/v2beta1\n"+text, "\n\nBecause ")
		return recorded{file: file, obj: fluxObjects(t, file, []byte(text))[0]}
	}
	t.Fatal("the example of a v2beta1 HelmRelease is not in the seeds")
	return recorded{}
}

// TestRecordedObjectsSurviveGo reads recorded objects into the Go types, status included, and
// writes them: no field is unknown, none is lost, no value changes.
func TestRecordedObjectsSurviveGo(t *testing.T) {
	t.Parallel()
	scheme := runtime.NewScheme()
	if err := api.AddToScheme(scheme); err != nil {
		t.Fatal(err)
	}
	for _, r := range recordedObjects(t, "recorded/inputs/manifests/*.yaml", "recorded/objects/*.yaml", "recorded/objects-initial/*.yaml") {
		data, err := json.Marshal(r.obj)
		if err != nil {
			t.Fatal(err)
		}
		typed, err := scheme.New(r.obj.GroupVersionKind())
		if err != nil {
			t.Fatalf("%s: %v", r.file, err)
		}
		strict, err := sigsjson.UnmarshalStrict(data, typed)
		if err != nil || len(strict) > 0 {
			t.Errorf("%s: %v %v", r.file, err, strict)
			continue
		}
		back, err := runtime.DefaultUnstructuredConverter.ToUnstructured(typed)
		if err != nil {
			t.Fatalf("%s: %v", r.file, err)
		}
		for _, part := range []string{"spec", "status"} {
			if r.obj.Object[part] == nil {
				continue
			}
			want := dropFalse(r.obj.Object[part])
			if lost := missing(part, want, back[part]); len(lost) > 0 {
				t.Errorf("%s: %s %s: %s", r.file, r.obj.GetKind(), r.obj.GetName(), strings.Join(lost, "\n"))
			}
		}
	}
}

// dropFalse removes explicit zero values, which mean the same as no value and are not written.
func dropFalse(v any) any {
	if list, ok := v.([]any); ok {
		out := make([]any, len(list))
		for i := range list {
			out[i] = dropFalse(list[i])
		}
		return out
	}
	m, ok := v.(map[string]any)
	if !ok {
		return v
	}
	out := map[string]any{}
	for k, x := range m {
		switch x {
		case false, "", int64(0), float64(0):
			continue
		}
		out[k] = dropFalse(x)
	}
	return out
}
