package receivers

import (
	"cmp"
	"context"
	"errors"
	"fmt"
)

func init() { register(Type{Name: "github", Accept: acceptGitHub}) }

// acceptGitHub takes calls of GitHub, and of Gitea, which signs them in the same way.
func acceptGitHub(_ context.Context, _ *OIDC, c *Call) (Result, error) {
	signature := cmp.Or(c.Header.Get("X-Hub-Signature-256"), c.Header.Get("X-Hub-Signature"))
	if err := checkSignature(signature, c.Body, c.token()); err != nil {
		return Result{}, fmt.Errorf("the GitHub signature header is invalid, err: %w", err)
	}
	if t := c.mediaType(); t != "application/json" && t != "application/x-www-form-urlencoded" {
		return Result{}, errors.New("the GitHub payload is neither JSON nor a form")
	}
	event := c.Header.Get("X-GitHub-Event")
	return Result{Event: "GitHub event: " + clip(event)}, c.allowed("GitHub event", event)
}
