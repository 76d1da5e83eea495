package image_test

import (
	"os"
	"regexp"
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/yaml"

	imagev1 "github.com/gitops-toolkit/flux/api/image/v1"
	sourcev1 "github.com/gitops-toolkit/flux/api/source/v1"
	"github.com/gitops-toolkit/flux/internal/image/message"
	"github.com/gitops-toolkit/flux/internal/image/selection"
	"github.com/gitops-toolkit/flux/internal/image/setters"
)

var examples = regexp.MustCompile("(?s)```yaml\n(.*?)```")

// Every example of the pages is one that the controllers accept. The scenario tests run that of the task page.
func TestExamples(t *testing.T) {
	t.Parallel()
	for _, page := range []string{"image-updates.md", "kinds/imagerepository.md", "kinds/imagepolicy.md", "kinds/imageupdateautomation.md"} {
		text, err := os.ReadFile("../../docs/" + page)
		if err != nil {
			t.Fatal(err)
		}
		for _, block := range examples.FindAllStringSubmatch(string(text), -1) {
			for _, doc := range strings.Split(block[1], "\n---\n") {
				checkExample(t, page, doc)
			}
		}
	}
}

func checkExample(t *testing.T, page, doc string) {
	t.Helper()
	var kind metav1.TypeMeta
	if err := yaml.Unmarshal([]byte(doc), &kind); err != nil {
		t.Fatalf("%s: %v", page, err)
	}
	read := func(into any) {
		t.Helper()
		if err := yaml.UnmarshalStrict([]byte(doc), into); err != nil {
			t.Errorf("%s: %v", page, err)
		}
	}
	switch kind.Kind {
	case "": // A part of a file, with markers.
		got, err := setters.Apply([]byte(doc), func(string, string) (setters.Image, bool) {
			return setters.Image{Name: "new", Tag: "9.9.9"}, true
		})
		if err != nil || len(got.Changes) == 0 || len(got.Skipped) != 0 {
			t.Errorf("%s: %+v, %v", page, got, err)
		}
	case "ImagePolicy":
		var o imagev1.ImagePolicy
		read(&o)
		if s := o.Spec.Policy.SemVer; s != nil {
			if _, err := selection.New(selection.Filter{}, selection.Policy{SemVer: s.Range}); err != nil {
				t.Errorf("%s: %v", page, err)
			}
		}
	case "ImageRepository":
		read(&imagev1.ImageRepository{})
	case "GitRepository":
		read(&sourcev1.GitRepository{})
	case "ImageUpdateAutomation":
		var o imagev1.ImageUpdateAutomation
		read(&o)
		if _, err := message.Parse(o.Spec.GitSpec.Commit.MessageTemplate); err != nil {
			t.Errorf("%s: %v", page, err)
		}
	default:
		t.Errorf("%s: an example of the kind %s", page, kind.Kind)
	}
}
