package providers

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"strings"
)

func init() {
	registerStatus("bitbucket", states{success: "SUCCESSFUL", failure: "FAILED"}, func(c *Config) (statusHost, error) { return newBitbucket(c) })
}

// maxBuildText is the longest name or description of a build, here and at servers of one's own.
const maxBuildText = 255

const bitbucketAPI = "https://api.bitbucket.org/2.0"

// bitbucket is a repository at bitbucket.org.
type bitbucket struct {
	*Config
	repo string
	auth http.Header
}

func newBitbucket(c *Config) (*bitbucket, error) {
	at, err := gitAddress(c)
	if err != nil {
		return nil, err
	}
	owner, name, err := at.ownerAndName()
	if err != nil {
		return nil, err
	}
	token, err := c.secret()
	if err != nil {
		return nil, err
	}
	user, password, ok := strings.Cut(token, ":")
	if !ok {
		return nil, errors.New("the Secret's key 'token' must be <user>:<app password>")
	}
	return &bitbucket{
		Config: c, auth: header("Authorization", basicAuth(user, password)),
		repo: bitbucketAPI + "/repositories/" + url.PathEscape(owner) + "/" + url.PathEscape(name),
	}, nil
}

func (b *bitbucket) current(ctx context.Context, commit string, s status) (state, description string, found bool, err error) {
	var one struct{ State, Description string }
	found, err = b.getJSON(ctx, b.repo+"/commit/"+commit+"/statuses/build/"+s.key(), b.auth, &one)
	return one.State, one.Description, found, err
}

func (b *bitbucket) write(ctx context.Context, commit string, s status) error {
	_, err := b.postJSON(ctx, b.repo+"/commit/"+commit+"/statuses/build", map[string]string{
		"key": s.key(), "name": cut(s.Object, maxBuildText), "state": s.State, "description": cut(s.Description, maxBuildText), "url": "https://bitbucket.org",
	}, b.auth)
	return err
}
