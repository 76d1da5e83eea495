package receivers

import (
	"context"
	"errors"
)

func init() { register(Type{Name: "harbor", Accept: acceptHarbor}) }

func acceptHarbor(_ context.Context, _ *OIDC, c *Call) (Result, error) {
	if !equal(c.Header.Get("Authorization"), c.token()) {
		return Result{}, errors.New("the Harbor Authorization header value does not match the receiver token")
	}
	return Result{}, nil
}
