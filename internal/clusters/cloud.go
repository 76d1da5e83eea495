package clusters

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/rest"

	"github.com/gitops-toolkit/flux/internal/auth/cloud"
)

// remoteTimeout bounds one request to a cluster that is not our own.
const remoteTimeout = 30 * time.Second

// fromConfigMap returns the configuration for the cluster that a ConfigMap describes, and a key that names cluster and
// identity. A token is asked for with each request; it is kept until it ends.
func (f *Finder) fromConfigMap(ctx context.Context, namespace, configMap string) (*rest.Config, string, error) {
	name := types.NamespacedName{Namespace: namespace, Name: configMap}
	stored, err := f.Manager.GetConfigMap(ctx, name)
	if apierrors.IsNotFound(err) {
		err = fmt.Errorf("%w; create it, or correct spec.kubeConfig.configMapRef", err)
	}
	if err != nil {
		return nil, "", fmt.Errorf("unable to read KubeConfig ConfigMap '%s' error: %w", name, err)
	}
	ref, err := f.clusterIn(ctx, namespace, stored.Data)
	if err != nil {
		return nil, "", fmt.Errorf("KubeConfig ConfigMap '%s': %w", name, err)
	}
	place, err := f.Clouds.Cluster(ctx, ref)
	if err != nil {
		return nil, "", fmt.Errorf("KubeConfig ConfigMap '%s': %w", name, err)
	}
	config := &rest.Config{
		Host: place.Address, TLSClientConfig: rest.TLSClientConfig{CAData: place.CA}, Timeout: remoteTimeout, QPS: -1,
		WrapTransport: func(next http.RoundTripper) http.RoundTripper { return &bearer{clouds: f.Clouds, ref: ref, next: next} },
	}
	return config, identity(ref), nil
}

// clusterIn reads the keys of the ConfigMap.
func (f *Finder) clusterIn(ctx context.Context, namespace string, data map[string]string) (cloud.ClusterRef, error) {
	ref := cloud.ClusterRef{
		Provider: data["provider"], Cluster: strings.TrimSpace(data["cluster"]), Address: strings.TrimSpace(data["address"]),
		CA: []byte(data["ca.crt"]), Audiences: strings.Fields(data["audiences"]),
	}
	switch {
	case ref.Provider == "":
		return ref, fmt.Errorf("the key 'provider' is missing: set it to %s, %s, %s or %s", cloud.AWS, cloud.Azure, cloud.GCP, cloud.Generic)
	case f.Clouds == nil:
		return ref, errors.New("this program has no workload identity: use spec.kubeConfig.secretRef")
	}
	named := data["serviceAccountName"]
	if err := f.Manager.CheckCloudAccount(named, "the key 'serviceAccountName'", "kubeConfig"); err != nil {
		return ref, err
	}
	sa, err := f.Manager.CloudAccount(ctx, namespace, named, f.Account)
	if err == nil && sa == nil && f.Manager.ServiceAccount("") != "" {
		// Whoever writes the ConfigMap chooses the address that gets the token.
		return ref, errors.New("the key 'serviceAccountName' is missing: where objects act as ServiceAccounts by default, the controller's own identity is not lent to them")
	}
	ref.Identity.Account = cloud.AccountOf(sa)
	return ref, err
}

func identity(ref cloud.ClusterRef) string {
	account := "controller"
	if a := ref.Identity.Account; a != nil {
		account = a.String() + "/" + a.UID
	}
	return fmt.Sprintf("%s %s %s %x %q %s", ref.Provider, ref.Cluster, ref.Address, sha256.Sum256(ref.CA), ref.Audiences, account)
}

// bearer puts a token that is still good into each request.
type bearer struct {
	clouds *cloud.Clouds
	ref    cloud.ClusterRef
	next   http.RoundTripper
}

// RoundTrip makes the request.
func (b *bearer) RoundTrip(req *http.Request) (*http.Response, error) {
	place, err := b.clouds.Cluster(req.Context(), b.ref)
	if err != nil {
		return nil, err
	}
	req = req.Clone(req.Context())
	req.Header.Set("Authorization", "Bearer "+place.Token)
	return b.next.RoundTrip(req)
}
