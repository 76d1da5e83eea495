package kustomize_test

import (
	"os"
	"regexp"
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"
)

var examples = regexp.MustCompile("(?s)```yaml\n(.*?)```")

// Every example of the pages is one that the API server takes as it stands, without unknown fields.
func TestExamplesOfThePages(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	count := 0
	for _, page := range []string{"drift.md", "secrets.md", "rollouts.md", "clusters-and-tenants.md", "kinds/kustomization.md"} {
		text, err := os.ReadFile("../../docs/" + page)
		if err != nil {
			t.Fatal(err)
		}
		for _, block := range examples.FindAllStringSubmatch(string(text), -1) {
			for _, doc := range strings.Split(block[1], "\n---\n") {
				o := &unstructured.Unstructured{}
				if err := yaml.Unmarshal([]byte(doc), &o.Object); err != nil {
					t.Fatalf("%s: %v\n%s", page, err, doc)
				}
				if o.GetKind() == "" {
					continue
				}
				o.SetNamespace(l.namespace)
				strict := &client.CreateOptions{Raw: &metav1.CreateOptions{FieldValidation: metav1.FieldValidationStrict}}
				if err := l.client.Create(t.Context(), o, strict, client.DryRunAll); err != nil {
					t.Errorf("%s: %v\n%s", page, err, doc)
				}
				count++
			}
		}
	}
	if count < 9 {
		t.Errorf("only %d examples", count)
	}
}
