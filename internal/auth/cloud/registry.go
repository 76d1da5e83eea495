package cloud

import (
	"context"
	"fmt"
	"net/url"
	"strings"
	"time"

	"github.com/gitops-toolkit/flux/internal/auth"
)

// Registry returns a login for a registry of a cloud, and when to ask for another. The host is checked first: an
// identity is shown to nobody else.
func (c *Clouds) Registry(ctx context.Context, provider string, id Identity, host string) (auth.Login, time.Time, error) {
	host = strings.ToLower(host)
	ask := map[string]func(context.Context, Identity, string) (auth.Login, time.Time, error){
		AWS: c.awsRegistry, Azure: c.azureRegistry, GCP: c.gcpRegistryLogin,
	}[provider]
	if ask == nil {
		return auth.Login{}, time.Time{}, unknownProvider(provider)
	}
	return kept(ctx, c, "registry/"+provider+"/"+id.key()+"/"+host, func(ctx context.Context) (auth.Login, time.Time, error) {
		return ask(ctx, id, host)
	})
}

// CheckRegistry tells whether a host is a registry of the cloud, as Registry does before it shows an identity.
func CheckRegistry(provider, host string, getenv func(string) string) error {
	c := New(Options{Getenv: getenv})
	host = strings.ToLower(host)
	switch provider {
	case AWS:
		return checkECR(host)
	case Azure:
		_, err := c.managerOf(host)
		return err
	case GCP:
		return checkGCPRegistry(host)
	}
	return unknownProvider(provider)
}

// RegistryRegion is the region of a registry of ECR, "" for the public one.
func RegistryRegion(host string) string {
	if m := ecrHost().FindStringSubmatch(strings.ToLower(host)); m != nil {
		return m[2]
	}
	return ""
}

// GitLogin is what opens a repository of a cloud's Git host: a bearer token, or a name and a password.
type GitLogin struct {
	Username, Password, BearerToken string
}

// Git returns a login for a repository at Azure DevOps (azure) or CodeCommit (aws), and when to ask for another.
func (c *Clouds) Git(ctx context.Context, provider string, id Identity, repository string) (GitLogin, time.Time, error) {
	u, err := url.Parse(repository)
	if err != nil {
		return GitLogin{}, time.Time{}, fmt.Errorf("invalid URL of the repository: %w", bare(err))
	}
	switch provider {
	case AWS:
		return kept(ctx, c, "git/aws/"+id.key()+"/"+repository, func(ctx context.Context) (GitLogin, time.Time, error) {
			return c.awsGit(ctx, id, u)
		})
	case Azure:
		if u.Scheme != "https" {
			return GitLogin{}, time.Time{}, fmt.Errorf("the Azure identity is sent over https only, not %s", u.Scheme)
		}
		t, err := c.Azure(ctx, id, azureDevOps)
		return GitLogin{BearerToken: t.Value}, t.Until, err
	}
	return GitLogin{}, time.Time{}, fmt.Errorf("the provider '%s' has no Git host: use %s or %s", provider, AWS, Azure)
}
