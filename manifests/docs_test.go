package manifests_test

import (
	"os"
	"path/filepath"
	"regexp"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/gitops-toolkit/flux/internal/testenv"
)

var yamlBlock = regexp.MustCompile("(?s)```yaml\n(apiVersion: .*?)```")

// TestExamplesAreAccepted creates, as a dry run, the examples of the reference pages.
func TestExamplesAreAccepted(t *testing.T) {
	t.Parallel()
	client, ns := newClient(t), testenv.Namespace(t)
	kinds := map[string]schema.GroupVersionResource{}
	for _, crd := range definitions(t) {
		kinds[crd.Spec.Names.Kind] = schema.GroupVersionResource{Group: crd.Spec.Group, Version: current(crd).Name, Resource: crd.Spec.Names.Plural}
	}
	pages, err := filepath.Glob("../docs/kinds/*.md")
	if err != nil {
		t.Fatal(err)
	}
	seen := map[string]bool{}
	for _, page := range pages {
		text, err := os.ReadFile(page)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range yamlBlock.FindAllSubmatch(text, -1) {
			for _, obj := range fluxObjects(t, page, m[1]) {
				gvr := kinds[obj.GetKind()]
				if obj.GroupVersionKind().GroupVersion() != gvr.GroupVersion() {
					t.Errorf("%s: the example has the apiVersion %s", page, obj.GetAPIVersion())
					continue
				}
				obj.SetNamespace(ns)
				_, err := client.Resource(gvr).Namespace(ns).Create(timeout(t), obj,
					metav1.CreateOptions{DryRun: []string{metav1.DryRunAll}, FieldValidation: metav1.FieldValidationStrict})
				if err != nil {
					t.Errorf("%s: %v", page, err)
				}
				seen[obj.GetKind()] = true
			}
		}
	}
	for kind := range kinds {
		if !seen[kind] {
			t.Errorf("no page has an example of a %s", kind)
		}
	}
}
