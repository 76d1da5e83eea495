package cloud

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/gitops-toolkit/flux/internal/subject"
)

// Generic is the provider of clusters that take tokens of this cluster's ServiceAccounts.
const Generic = "generic"

// ClusterRef names a cluster of a cloud, as the ConfigMap of kubeConfig.configMapRef does.
type ClusterRef struct {
	// Provider is one of aws, azure, gcp and generic.
	Provider string
	// Cluster is its name at the cloud: an ARN, a resource id, projects/P/locations/L/clusters/N.
	Cluster string
	// Address chooses one of the cluster's addresses; generic needs it.
	Address string
	// CA is the authority to trust, in PEM; that of the cluster if empty.
	CA []byte
	// Audiences of the token for a generic cluster; its address if empty.
	Audiences []string
	Identity  Identity
}

// Cluster is how to reach an API server.
type Cluster struct {
	Address string
	// CA is the authority to trust, in PEM; the system's if empty.
	CA []byte
	// Token is a bearer token, good until Until.
	Token string
	Until time.Time
}

// Cluster returns the way to a cluster. Ask again at Until, or for each request: it is kept.
func (c *Clouds) Cluster(ctx context.Context, ref ClusterRef) (Cluster, error) {
	if err := checkAddress(ref.Address); err != nil {
		return Cluster{}, err
	}
	key := fmt.Sprintf("cluster/%s/%s/%s/%s/%x/%s", ref.Provider, ref.Identity.key(), ref.Cluster, ref.Address, ref.CA, strings.Join(ref.Audiences, " "))
	out, until, err := kept(subject.Doing(ctx, "fetch_kubeconfig"), c, key, func(ctx context.Context) (Cluster, time.Time, error) {
		out, err := c.cluster(ctx, ref)
		return out, out.Until, err
	})
	out.Until = until
	return out, err
}

func checkAddress(address string) error {
	if address == "" {
		return nil
	}
	if u, err := url.Parse(address); err != nil || u.Scheme != "https" || u.Host == "" || u.User != nil {
		return fmt.Errorf("invalid address of the cluster '%s': it must be an https URL", address)
	}
	return nil
}

func (c *Clouds) cluster(ctx context.Context, ref ClusterRef) (out Cluster, err error) {
	var describe func() ([]string, []byte, error)
	switch ref.Provider {
	case Generic:
		return c.genericCluster(ctx, ref)
	case AWS:
		m := eksARN().FindStringSubmatch(ref.Cluster)
		if m == nil {
			return out, fmt.Errorf("invalid EKS cluster '%s': it must match %s", ref.Cluster, eksARN())
		}
		out.Token, out.Until, err = c.eksToken(ctx, ref.Identity, m[1], m[2])
		describe = func() ([]string, []byte, error) { return c.eksCluster(ctx, ref.Identity, m[1], m[2]) }
	case Azure:
		if ref.Cluster != "" && !aksCluster().MatchString(ref.Cluster) {
			return out, fmt.Errorf("invalid AKS cluster '%s': it must match %s", ref.Cluster, aksCluster())
		}
		var t Token
		t, err = c.Azure(ctx, ref.Identity, azureAKS)
		out.Token, out.Until = t.Value, t.Until
		describe = func() ([]string, []byte, error) { return c.aksDescribe(ctx, ref.Identity, ref.Cluster) }
	case GCP:
		if ref.Cluster != "" && !gkeCluster().MatchString(ref.Cluster) {
			return out, fmt.Errorf("invalid GKE cluster '%s': it must match %s", ref.Cluster, gkeCluster())
		}
		var t Token
		t, err = c.GCP(ctx, ref.Identity)
		out.Token, out.Until = t.Value, t.Until
		describe = func() ([]string, []byte, error) { return c.gkeDescribe(ctx, ref.Identity, ref.Cluster) }
	default:
		return out, fmt.Errorf("unknown provider '%s' of the cluster: use %s, %s, %s or %s", ref.Provider, AWS, Azure, GCP, Generic)
	}
	if err != nil {
		return out, err
	}
	out.Address, out.CA, err = place(ref, describe)
	return out, err
}

// place is where the cluster is: what is given, completed and checked by what the cloud knows.
func place(ref ClusterRef, describe func() ([]string, []byte, error)) (address string, ca []byte, err error) {
	if ref.Address != "" && len(ref.CA) > 0 {
		return ref.Address, ref.CA, nil
	}
	if ref.Cluster == "" {
		return "", nil, errors.New("the cluster needs the key 'cluster', or both 'address' and 'ca.crt'")
	}
	addresses, ca, err := describe()
	if err != nil {
		return "", nil, fmt.Errorf("failed to describe the cluster '%s': %w", ref.Cluster, err)
	}
	address = addresses[0]
	if ref.Address != "" {
		i := slices.IndexFunc(addresses, func(a string) bool { return strings.TrimSuffix(a, "/") == strings.TrimSuffix(ref.Address, "/") })
		if i < 0 {
			return "", nil, fmt.Errorf("the address '%s' is not one of the cluster's: %s", ref.Address, strings.Join(addresses, ", "))
		}
		address = addresses[i]
		if ref.Provider == GCP && i > 0 {
			ca = nil // The address by name has a certificate of a public authority.
		}
	}
	if len(bytes.TrimSpace(ref.CA)) > 0 {
		ca = ref.CA
	}
	return address, ca, nil
}

// genericCluster takes a token of the account itself.
func (c *Clouds) genericCluster(ctx context.Context, ref ClusterRef) (Cluster, error) {
	a := ref.Identity.Account
	switch {
	case ref.Address == "":
		return Cluster{}, errors.New("a cluster of the provider 'generic' needs the key 'address'")
	case a == nil:
		return Cluster{}, errors.New("a cluster of the provider 'generic' needs the key 'serviceAccountName'")
	case c.opts.Mint == nil:
		return Cluster{}, fmt.Errorf("service account '%s': this controller requests no tokens of service accounts", a)
	}
	audiences := ref.Audiences
	if len(audiences) == 0 {
		audiences = []string{ref.Address}
	}
	token, ends, err := c.opts.Mint(ctx, a.Namespace, a.Name, audiences)
	if err != nil {
		return Cluster{}, fmt.Errorf("failed to create a token of the service account '%s': %w", a, err)
	}
	return Cluster{Address: ref.Address, CA: ref.CA, Token: token, Until: ends}, nil
}
