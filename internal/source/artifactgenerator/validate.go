package artifactgenerator

import (
	"fmt"
	"strings"

	"k8s.io/apimachinery/pkg/util/validation"

	extensionsv1 "github.com/gitops-toolkit/flux/api/extensions/v1beta1"
	"github.com/gitops-toolkit/flux/api/meta"
	sourcev1 "github.com/gitops-toolkit/flux/api/source/v1"
	"github.com/gitops-toolkit/flux/internal/kernel"
)

// Reasons of Ready.
const (
	reasonValidationFailed     = "ValidationFailed"
	reasonSourceFetchFailed    = "SourceFetchFailed"
	reasonBuildFailed          = "BuildFailed"
	reasonReconciliationFailed = "ReconciliationFailed"
)

// failure is why an attempt came to nothing.
type failure struct {
	reason  string
	err     error
	stalled bool
	retry   kernel.Outcome // how to go on, from kernel.Failed
}

func (f *failure) Error() string { return f.err.Error() }
func (f *failure) Unwrap() error { return f.err }

func stalled(reason string, err error) *failure {
	return &failure{reason: reason, err: err, stalled: true, retry: kernel.Stalled(reason, err)}
}

func failed(reason string, err error) *failure {
	return &failure{reason: reason, err: err, retry: kernel.Failed(reason, err).Backoff()}
}

func (f *failure) outcome() kernel.Outcome { return f.retry }

// check finds what no repetition would mend.
func (c *controller) check(obj *extensionsv1.ArtifactGenerator) *failure {
	for _, s := range obj.Spec.Sources {
		ref := referenceOf(obj, s)
		if c.m.CheckNamespace(obj.Namespace, ref) != nil {
			return stalled(meta.AccessDeniedReason, fmt.Errorf("cross-namespace reference to source %s is not allowed", ref))
		}
	}
	if err := validate(obj); err != nil {
		return stalled(reasonValidationFailed, err)
	}
	return nil
}

func validate(obj *extensionsv1.ArtifactGenerator) error {
	aliases := map[string]bool{}
	for _, s := range obj.Spec.Sources {
		if aliases[s.Alias] {
			return fmt.Errorf("duplicate source alias '%s' found", s.Alias)
		}
		aliases[s.Alias] = true
	}
	names := map[string]bool{}
	for _, a := range obj.Spec.OutputArtifacts {
		if names[a.Name] {
			return fmt.Errorf("duplicate artifact name '%s' found", a.Name)
		}
		names[a.Name] = true
		if alias := strings.TrimPrefix(a.Revision, "@"); alias != "" && !aliases[alias] {
			return fmt.Errorf("artifact %s revision source alias '%s' not found", a.Name, alias)
		}
		for _, op := range a.Copy {
			if alias, _ := splitAlias(op.From); !aliases[alias] {
				return fmt.Errorf("artifact %s copies from the source alias '%s', which is not found", a.Name, alias)
			}
		}
		if obj.Spec.PathPattern == "" {
			if problems := validation.IsDNS1123Subdomain(a.Name); len(problems) > 0 {
				return fmt.Errorf("invalid artifact name '%s': %s", a.Name, strings.Join(problems, "; "))
			}
		}
	}
	for _, s := range obj.Spec.Sources {
		if s.Kind == sourcev1.ExternalArtifactKind && names[s.Name] && (s.Namespace == "" || s.Namespace == obj.Namespace) {
			return fmt.Errorf("the ExternalArtifact '%s' is both a source and an artifact of this generator", s.Name)
		}
	}
	return nil
}

// splitAlias takes @alias/rest apart.
func splitAlias(text string) (alias, rest string) {
	alias, rest, _ = strings.Cut(strings.TrimPrefix(text, "@"), "/")
	return alias, rest
}
