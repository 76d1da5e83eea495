package bootstrap

import (
	"context"
	"errors"
	"fmt"
	"net/url"

	"github.com/gitops-toolkit/flux/internal/auth/cloud"
)

// checkCodeCommit looks at what Git at AWS takes: over SSH a key of the person's, which it knows by an id, over HTTPS, where no
// password is given, the identity that AWS knows the person and source-controller by.
func (f *gitFlags) checkCodeCommit(u *url.URL) error {
	if !cloud.IsCodeCommit(u.Hostname()) {
		return nil
	}
	user := u.User.Username()
	if f.username != defaultUsername {
		user = f.username
	}
	switch {
	case u.Scheme == "https":
		_, set := u.User.Password()
		f.iam = !f.tokenAuth && f.password == "" && !set
	case user == "" || user == defaultUsername:
		return fmt.Errorf("CodeCommit knows an SSH key by its id: upload yours to IAM, and write --url=ssh://<SSH key ID>@%s%s", u.Host, u.Path)
	case f.keys.File == "":
		return errors.New("CodeCommit has no deploy keys: give the key that IAM knows with --private-key-file")
	}
	return nil
}

// awsLogin signs a password for a repository at CodeCommit; it is good for a quarter of an hour.
func awsLogin(ctx context.Context, repository string) (cloud.GitLogin, error) {
	login, _, err := cloud.New(cloud.Options{}).Git(ctx, cloud.AWS, cloud.Identity{}, repository)
	if errors.Is(err, cloud.ErrNoIdentity) {
		return login, fmt.Errorf("AWS does not know who you are: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, for instance by `eval $(aws configure export-credentials --format env)`, or give a password of Git with --token-auth: %w", err)
	}
	return login, err
}
