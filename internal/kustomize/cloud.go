package kustomize

import (
	"cmp"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/rest"

	kustomizev1 "github.com/gitops-toolkit/flux/api/kustomize/v1"
	"github.com/gitops-toolkit/flux/internal/auth/cloud"
)

// remoteTimeout bounds one request to a cluster that is not our own.
const remoteTimeout = 30 * time.Second

// cloudCluster returns the configuration for the cluster that a ConfigMap describes, and a key that names cluster and
// identity. A token is asked for with each request; it is kept until it ends.
func (c *controller) cloudCluster(ctx context.Context, k *kustomizev1.Kustomization) (*rest.Config, string, error) {
	name := types.NamespacedName{Namespace: k.Namespace, Name: k.Spec.KubeConfig.ConfigMapRef.Name}
	stored, err := c.m.GetConfigMap(ctx, name)
	if apierrors.IsNotFound(err) {
		err = fmt.Errorf("%w; create it, or correct spec.kubeConfig.configMapRef", err)
	}
	if err != nil {
		return nil, "", fmt.Errorf("unable to read KubeConfig ConfigMap '%s' error: %w", name, err)
	}
	ref, err := c.clusterIn(ctx, k.Namespace, stored.Data)
	if err != nil {
		return nil, "", fmt.Errorf("KubeConfig ConfigMap '%s': %w", name, err)
	}
	place, err := c.Clouds.Cluster(ctx, ref)
	if err != nil {
		return nil, "", fmt.Errorf("KubeConfig ConfigMap '%s': %w", name, err)
	}
	config := &rest.Config{
		Host: place.Address, TLSClientConfig: rest.TLSClientConfig{CAData: place.CA}, Timeout: remoteTimeout, QPS: -1,
		WrapTransport: func(next http.RoundTripper) http.RoundTripper { return &bearer{clouds: c.Clouds, ref: ref, next: next} },
	}
	return config, clusterIdentity(ref), nil
}

// clusterIn reads the keys of the ConfigMap.
func (c *controller) clusterIn(ctx context.Context, namespace string, data map[string]string) (cloud.ClusterRef, error) {
	ref := cloud.ClusterRef{
		Provider: data["provider"], Cluster: strings.TrimSpace(data["cluster"]), Address: strings.TrimSpace(data["address"]),
		CA: []byte(data["ca.crt"]), Audiences: strings.Fields(data["audiences"]),
	}
	switch {
	case ref.Provider == "":
		return ref, fmt.Errorf("the key 'provider' is missing: set it to %s, %s, %s or %s", cloud.AWS, cloud.Azure, cloud.GCP, cloud.Generic)
	case c.Clouds == nil:
		return ref, errors.New("this program has no workload identity: use spec.kubeConfig.secretRef")
	}
	named := data["serviceAccountName"]
	if err := c.m.CheckCloudAccount(named, "the key 'serviceAccountName'", "kubeConfig"); err != nil {
		return ref, err
	}
	sa, err := c.m.CloudAccount(ctx, namespace, named, c.KubeConfigAccount)
	if err == nil && sa == nil && c.m.ServiceAccount("") != "" {
		// Whoever writes the ConfigMap chooses the address that gets the token.
		return ref, errors.New("the key 'serviceAccountName' is missing: where Kustomizations act as ServiceAccounts by default, the controller's own identity is not lent to them")
	}
	ref.Identity.Account = cloud.AccountOf(sa)
	return ref, err
}

func clusterIdentity(ref cloud.ClusterRef) string {
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

// ownAccount is the ServiceAccount that the controller runs as.
func (c *controller) ownAccount(ctx context.Context) (*corev1.ServiceAccount, error) {
	review := &authenticationv1.SelfSubjectReview{}
	if err := c.m.Client().Create(ctx, review); err != nil {
		return nil, fmt.Errorf("cannot find out the controller's own service account: %w", err)
	}
	user := review.Status.UserInfo.Username
	rest, found := strings.CutPrefix(user, "system:serviceaccount:")
	namespace, name, ok := strings.Cut(rest, ":")
	if !found || !ok {
		return nil, fmt.Errorf("the controller runs as '%s', which is no service account: name one", cmp.Or(user, "nobody"))
	}
	sa := &corev1.ServiceAccount{}
	return sa, c.m.Live().Get(ctx, types.NamespacedName{Namespace: namespace, Name: name}, sa)
}
