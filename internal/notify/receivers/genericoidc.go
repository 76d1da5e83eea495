package receivers

import (
	"context"
	"errors"
	"fmt"
	"strings"

	notificationv1 "github.com/gitops-toolkit/flux/api/notification/v1"
	"github.com/gitops-toolkit/flux/internal/cel"
)

func init() { register(Type{Name: "generic-oidc", Accept: acceptOIDC}) }

// defaultAudience of tokens, where a provider names none.
const defaultAudience = "notification-controller"

// acceptOIDC takes calls with a token of one of the Receiver's issuers that meets all validations.
func acceptOIDC(ctx context.Context, o *OIDC, c *Call) (Result, error) {
	token, err := c.bearer()
	if err != nil {
		return Result{}, err
	}
	name, err := issuerOf(token)
	if err != nil {
		return Result{}, err
	}
	for _, p := range c.Receiver.Spec.OIDCProviders {
		if p.IssuerURL != name {
			continue
		}
		audience := p.Audience
		if audience == "" {
			audience = defaultAudience
		}
		claims, err := o.verify(ctx, p.IssuerURL, audience, token)
		if err != nil {
			return Result{}, err
		}
		return Result{Claims: claims}, validate(ctx, p, claims)
	}
	return Result{}, errors.New("the token's issuer is none of the Receiver's")
}

// validate evaluates the variables in their order, then all validations over them.
func validate(ctx context.Context, p notificationv1.OIDCProvider, claims map[string]any) error {
	vars := map[string]any{}
	known := map[string]any{"claims": claims, "vars": vars}
	for _, v := range p.Variables {
		expr, err := cel.CompileAny(v.Expression, "claims", "vars")
		if err != nil {
			return err
		}
		if vars[v.Name], err = expr.Any(ctx, known); err != nil {
			return fmt.Errorf("variable %q: %w", v.Name, err)
		}
	}
	var failed []string
	for _, v := range p.Validations {
		expr, err := cel.Compile(v.Expression, "claims", "vars")
		if err != nil {
			return err
		}
		ok, err := expr.Eval(ctx, known)
		if err != nil {
			return fmt.Errorf("token validation failed: %w", err)
		}
		if !ok {
			failed = append(failed, v.Message)
		}
	}
	if len(failed) > 0 {
		return fmt.Errorf("token validation failed: %s", strings.Join(failed, "; "))
	}
	return nil
}
