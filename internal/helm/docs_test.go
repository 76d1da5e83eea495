package helm_test

import (
	"os"
	"regexp"
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"
)

var examples = regexp.MustCompile("(?s)```yaml\n(.*?)```")

// Every example of the documentation is one that the API server accepts, unknown fields refused.
func TestExamples(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	for _, page := range []string{"../../docs/helm-releases.md", "../../docs/kinds/helmrelease.md"} {
		text, err := os.ReadFile(page)
		if err != nil {
			t.Fatal(err)
		}
		n := 0
		for _, block := range examples.FindAllStringSubmatch(string(text), -1) {
			for _, doc := range strings.Split(block[1], "\n---\n") {
				u := &unstructured.Unstructured{}
				if err := yaml.Unmarshal([]byte(doc), &u.Object); err != nil {
					t.Fatalf("%s: %v", page, err)
				}
				u.SetNamespace(l.namespace)
				if err := l.client.Create(t.Context(), u, client.DryRunAll, client.FieldValidation("Strict")); err != nil {
					t.Errorf("%s: %s: %v", page, u.GetKind(), err)
				}
				n++
			}
		}
		if n == 0 {
			t.Errorf("%s has no example", page)
		}
	}
}
