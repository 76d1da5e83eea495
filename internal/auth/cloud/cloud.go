// Package cloud is what a controller, or a ServiceAccount, is at AWS, Azure and Google Cloud, and what that opens:
// registries, Git hosts, buckets, clusters.
//
// # Identities
//
// The zero Identity is the controller's own, found where the clouds put it: environment, projected token, metadata
// service of the node. With an Account it is that of a ServiceAccount of the cluster (object-level workload identity):
// a token is requested for the account with the audience of the cloud, and exchanged there as the annotations of the
// account say. The account alone decides: nothing of the controller's own identity is used for it.
//
// # Contracts
//
// Requests are made by hand, as published: AWS STS AssumeRoleWithWebIdentity, IMDSv2, the container credentials endpoint
// (EKS Pod Identity), ECR GetAuthorizationToken, EKS DescribeCluster; the token endpoint of Microsoft Entra ID, the Azure
// instance metadata service, ACR's oauth2/exchange, AKS listClusterUserCredential; Google's security token service, IAM
// credentials, metadata server and container API. The SDKs of the clouds would double the size of the program.
//
// Everything that ends is kept by Clouds until shortly before it does; see package tokens.
package cloud

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"time"

	"github.com/gitops-toolkit/flux/internal/auth/tokens"
)

// Names of the clouds, as fields called provider have them.
const (
	AWS   = "aws"
	Azure = "azure"
	GCP   = "gcp"
)

// ErrRefused is wrapped when a cloud refuses an identity, or does not let it do what is wanted.
var ErrRefused = errors.New("refused")

// AnswerError is an answer of a cloud that is no success. It is ErrRefused where asking again does not help.
type AnswerError struct {
	Status int
	// After is how long the cloud wants to be left alone; zero: it does not say.
	After time.Duration
	text  string
}

// Pause is how long the cloud wants to be left alone.
func (e *AnswerError) Pause() time.Duration { return e.After }

// Error tells what the cloud says.
func (e *AnswerError) Error() string {
	if e.Is(ErrRefused) {
		return ErrRefused.Error() + ": " + e.text
	}
	return e.text
}

// Is tells whether the answer is a refusal.
func (e *AnswerError) Is(target error) bool {
	if target != ErrRefused || e.Status/100 != 4 {
		return false
	}
	return e.Status != http.StatusRequestTimeout && e.Status != http.StatusTooEarly && e.Status != http.StatusTooManyRequests
}

// Mint requests a token of a ServiceAccount for audiences.
type Mint func(ctx context.Context, namespace, name string, audiences []string) (token string, ends time.Time, err error)

// Account is a ServiceAccount of the cluster.
type Account struct {
	Namespace, Name, UID string
	Annotations          map[string]string
}

func (a *Account) String() string { return a.Namespace + "/" + a.Name }

// Identity says as whom to act.
type Identity struct {
	// Account of the cluster; nil for the controller itself.
	Account *Account
	// Proxy to the cloud's services; nil lets the environment decide.
	Proxy *url.URL
}

// key names the identity in the cache.
func (id Identity) key() string {
	key := "controller"
	if a := id.Account; a != nil {
		key = fmt.Sprintf("account/%s/%s/%s", a.Namespace, a.Name, a.UID)
		for _, name := range annotations {
			key += "/" + a.Annotations[name]
		}
	}
	if id.Proxy != nil {
		key += " through " + id.Proxy.String()
	}
	return key
}

// Token is an access token.
type Token struct {
	Value string
	// Until is when to ask for another.
	Until time.Time
}

// Options of Clouds. Only Mint is needed, and only for accounts.
type Options struct {
	Mint Mint
	// Size and MaxAge limit the cache: 0 for a hundred entries, less for none, and an hour.
	Size   int
	MaxAge time.Duration
	// Transport and Getenv replace the network and the environment in tests.
	Transport http.RoundTripper
	Getenv    func(string) string
	// Now is the clock, time.Now if nil.
	Now func() time.Time
}

// Clouds gets proofs of identity and keeps them. It is safe for concurrent use.
type Clouds struct {
	opts  Options
	cache *tokens.Cache[any]
}

// New returns Clouds with an empty cache.
func New(o Options) *Clouds {
	if o.Getenv == nil {
		o.Getenv = os.Getenv
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	return &Clouds{opts: o, cache: tokens.New[any](tokens.Options{Size: o.Size, MaxAge: o.MaxAge, Now: o.Now})}
}

// kept gets a value through the cache.
func kept[T any](ctx context.Context, c *Clouds, key string, ask func(context.Context) (T, time.Time, error)) (T, time.Time, error) {
	v, until, err := c.cache.Get(ctx, key, func(ctx context.Context) (any, time.Time, error) {
		return ask(ctx)
	})
	if err != nil {
		var none T
		return none, time.Time{}, err
	}
	return v.(T), until, nil
}

// mint requests a token of the account for an audience of the cloud.
func (c *Clouds) mint(ctx context.Context, a *Account, audience ...string) (string, error) {
	if c.opts.Mint == nil {
		return "", fmt.Errorf("service account '%s': this controller requests no tokens of service accounts", a)
	}
	token, _, err := c.opts.Mint(ctx, a.Namespace, a.Name, audience)
	if err != nil {
		return "", fmt.Errorf("failed to create a token of the service account '%s': %w", a, err)
	}
	return token, nil
}

// AccountToken returns a token of an account for a service that takes those of this cluster, such as a Vault.
func (c *Clouds) AccountToken(ctx context.Context, a *Account, audience string) (string, error) {
	if c.opts.Mint == nil {
		return "", fmt.Errorf("service account '%s': this controller requests no tokens of service accounts", a)
	}
	token, _, err := kept(ctx, c, "token/"+Identity{Account: a}.key()+"/"+audience, func(ctx context.Context) (string, time.Time, error) {
		return c.opts.Mint(ctx, a.Namespace, a.Name, []string{audience})
	})
	if err != nil {
		return "", fmt.Errorf("failed to create a token of the service account '%s': %w", a, err)
	}
	return token, nil
}

// unknownProvider is the error for a provider that is none of the clouds.
func unknownProvider(provider string) error {
	return fmt.Errorf("unknown cloud provider '%s': use %s, %s or %s", provider, AWS, Azure, GCP)
}
