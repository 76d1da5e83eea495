package providers

import (
	"context"
	"errors"

	"github.com/gitops-toolkit/flux/internal/auth/cloud"
)

// UsesCloud tells whether a type logs in with an identity at a cloud when it has no token.
func UsesCloud(name string) bool {
	return name == "azuredevops" || name == "azureeventhub" || name == "googlepubsub"
}

// azureToken is the Provider's identity at Azure, for a resource.
func (c *Config) azureToken(ctx context.Context, resource string) (string, error) {
	token, err := c.clouds().Azure(ctx, c.identity(), resource)
	return token.Value, identityError(err)
}

// googleToken is the Provider's identity at Google Cloud: the account whose key file the Secret holds,
// else its ServiceAccount's, else the controller's.
func (c *Config) googleToken(ctx context.Context) (string, error) {
	var token cloud.Token
	var err error
	if c.Token != "" {
		token, err = c.clouds().GCPKey(ctx, []byte(c.Token), c.Proxy)
	} else {
		token, err = c.clouds().GCP(ctx, c.identity())
	}
	return token.Value, identityError(err)
}

func (c *Config) identity() cloud.Identity { return cloud.Identity{Account: c.Account, Proxy: c.Proxy} }

func (c *Config) clouds() *cloud.Clouds {
	if c.Clouds == nil {
		c.Clouds = cloud.New(cloud.Options{Transport: c.transport})
	}
	return c.Clouds
}

// identityError tells a cloud that says no from one that cannot be asked.
func identityError(err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, cloud.ErrRefused):
		return refused("%v", err)
	}
	out := passing("%v", err)
	var answer *cloud.AnswerError
	if errors.As(err, &answer) {
		out.Code, out.after = answer.Status, answer.After
	}
	return out
}
