package receivers

import (
	"context"
	"errors"
)

func init() { register(Type{Name: "gitlab", Accept: acceptGitLab}) }

func acceptGitLab(_ context.Context, _ *OIDC, c *Call) (Result, error) {
	if !equal(c.Header.Get("X-Gitlab-Token"), c.token()) {
		return Result{}, errors.New("the X-Gitlab-Token header value does not match the receiver token")
	}
	event := c.Header.Get("X-Gitlab-Event")
	return Result{Event: "GitLab event: " + clip(event)}, c.allowed("GitLab event", event)
}
