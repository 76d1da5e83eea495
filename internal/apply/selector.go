package apply

import (
	"fmt"
	"regexp"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/labels"

	"github.com/gitops-toolkit/flux/api/meta"
)

// Selector picks objects as a meta.Selector says, compiled.
type Selector struct {
	patterns            [5]*regexp.Regexp // group, version, kind, name, namespace; nil picks all
	labels, annotations labels.Selector
}

// CompileSelector compiles a selector, nil for all objects. The error begins with the name of the field.
func CompileSelector(from *meta.Selector) (*Selector, error) {
	s := &Selector{labels: labels.Everything(), annotations: labels.Everything()}
	if from == nil {
		return s, nil
	}
	for i, field := range []struct{ name, pattern string }{
		{"group", from.Group}, {"version", from.Version}, {"kind", from.Kind}, {"name", from.Name}, {"namespace", from.Namespace},
	} {
		if field.pattern == "" {
			continue
		}
		compiled, err := regexp.Compile("^(?:" + field.pattern + ")$")
		if err != nil {
			return nil, fmt.Errorf("%s: %w", field.name, err)
		}
		s.patterns[i] = compiled
	}
	var err error
	if s.labels, err = labels.Parse(from.LabelSelector); err != nil {
		return nil, fmt.Errorf("labelSelector: %w", err)
	}
	if s.annotations, err = labels.Parse(from.AnnotationSelector); err != nil {
		return nil, fmt.Errorf("annotationSelector: %w", err)
	}
	return s, nil
}

// Picks reports whether the selector picks an object.
func (s *Selector) Picks(u *unstructured.Unstructured) bool {
	gvk := u.GroupVersionKind()
	for i, value := range []string{gvk.Group, gvk.Version, gvk.Kind, u.GetName(), u.GetNamespace()} {
		if s.patterns[i] != nil && !s.patterns[i].MatchString(value) {
			return false
		}
	}
	return s.labels.Matches(labels.Set(u.GetLabels())) && s.annotations.Matches(labels.Set(u.GetAnnotations()))
}
