package receivers

import (
	"errors"
	"fmt"
	"net/url"

	notificationv1 "github.com/gitops-toolkit/flux/api/notification/v1"
	"github.com/gitops-toolkit/flux/internal/cel"
	"github.com/gitops-toolkit/flux/internal/notify/push"
)

// ExpressionError is a CEL expression of a Receiver that does not compile.
type ExpressionError struct{ err error }

// Error implements error.
func (e *ExpressionError) Error() string { return e.err.Error() }

// Unwrap returns the cause.
func (e *ExpressionError) Unwrap() error { return e.err }

// Filters are the compiled filters of a Receiver.
type Filters struct {
	All       *cel.Expression
	Resources []*cel.Expression
}

// Compile compiles the filters of a Receiver; those that it does not have are nil.
func Compile(r *notificationv1.Receiver) (Filters, error) {
	variables := []string{"res", "req"}
	if r.Spec.Type == "generic-oidc" {
		variables = append(variables, "claims")
	}
	f := Filters{Resources: make([]*cel.Expression, len(r.Spec.Resources))}
	var err error
	if r.Spec.ResourceFilter != "" {
		if f.All, err = cel.Compile(r.Spec.ResourceFilter, variables...); err != nil {
			return f, &ExpressionError{fmt.Errorf("invalid resourceFilter expression: %w", err)}
		}
	}
	for i, resource := range r.Spec.Resources {
		if resource.Filter == "" {
			continue
		}
		if f.Resources[i], err = cel.Compile(resource.Filter, variables...); err != nil {
			return f, &ExpressionError{fmt.Errorf("invalid filter expression for resources[%d] (kind=%q, name=%q): %w", i, resource.Kind, resource.Name, err)}
		}
	}
	return f, nil
}

// Check finds what is wrong with the token issuers of a Receiver, or with what it asks of its calls.
func Check(r *notificationv1.Receiver) error {
	if r.Spec.MatchRepository && !push.Knows(r.Spec.Type) {
		return fmt.Errorf("matchRepository: calls of the type %s do not name a repository, list the resources instead", r.Spec.Type)
	}
	if r.Spec.Type != "generic-oidc" {
		switch {
		case len(r.Spec.OIDCProviders) > 0:
			return errors.New("oidcProviders can only be set when type is generic-oidc")
		case r.Spec.SecretRef == nil || r.Spec.SecretRef.Name == "":
			return errors.New("secretRef is required when type is not generic-oidc")
		}
		return nil
	}
	switch {
	case len(r.Spec.OIDCProviders) == 0:
		return errors.New("generic-oidc receivers must define at least one oidcProvider")
	case r.Spec.SecretRef != nil:
		return errors.New("secretRef cannot be set when type is generic-oidc")
	}
	seen := map[string]bool{}
	for i, p := range r.Spec.OIDCProviders {
		if seen[p.IssuerURL] {
			return fmt.Errorf("oidcProviders[%d]: the issuerURL %q is there already", i, p.IssuerURL)
		}
		seen[p.IssuerURL] = true
		if err := checkIssuer(p); err != nil {
			return fmt.Errorf("oidcProviders[%d]: %w", i, err)
		}
	}
	return nil
}

func checkIssuer(p notificationv1.OIDCProvider) error {
	u, err := url.Parse(p.IssuerURL)
	if err != nil || u.Host == "" || (u.Scheme != "https" && u.Scheme != "http") {
		return fmt.Errorf("the issuerURL %q is not a URL with http or https", p.IssuerURL)
	}
	for i, v := range p.Variables {
		if v.Name == "" || v.Expression == "" {
			return fmt.Errorf("variables[%d] must have a name and an expression", i)
		}
		if _, err := cel.CompileAny(v.Expression, "claims", "vars"); err != nil {
			return fmt.Errorf("variables[%d]: %w", i, err)
		}
	}
	if len(p.Validations) == 0 {
		return errors.New("at least one validation is required")
	}
	for i, v := range p.Validations {
		if v.Expression == "" || v.Message == "" {
			return fmt.Errorf("validations[%d] must have an expression and a message", i)
		}
		if _, err := cel.Compile(v.Expression, "claims", "vars"); err != nil {
			return fmt.Errorf("validations[%d]: %w", i, err)
		}
	}
	return nil
}
