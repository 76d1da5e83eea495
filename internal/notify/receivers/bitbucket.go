package receivers

import (
	"context"
	"fmt"
)

func init() { register(Type{Name: "bitbucket", Accept: acceptBitbucket}) }

// acceptBitbucket takes calls of Bitbucket, the server and the cloud.
func acceptBitbucket(_ context.Context, _ *OIDC, c *Call) (Result, error) {
	if err := checkSignature(c.Header.Get("X-Hub-Signature"), c.Body, c.token()); err != nil {
		return Result{}, fmt.Errorf("the Bitbucket server signature header is invalid, err: %w", err)
	}
	event := c.Header.Get("X-Event-Key")
	return Result{Event: "Bitbucket server event: " + clip(event)}, c.allowed("Bitbucket server event", event)
}
