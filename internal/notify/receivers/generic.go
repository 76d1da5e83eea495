package receivers

import (
	"context"
	"fmt"
)

func init() {
	// The path is the only secret of a generic receiver.
	register(Type{Name: "generic", Accept: func(context.Context, *OIDC, *Call) (Result, error) { return Result{}, nil }})
	register(Type{Name: "generic-hmac", Accept: acceptHMAC})
}

func acceptHMAC(_ context.Context, _ *OIDC, c *Call) (Result, error) {
	if err := checkSignature(c.Header.Get("X-Signature"), c.Body, c.token()); err != nil {
		return Result{}, fmt.Errorf("unable to validate HMAC signature: %w", err)
	}
	return Result{}, nil
}
