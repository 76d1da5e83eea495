package kustomize

import (
	"context"
	"errors"
	"fmt"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/rest"

	kustomizev1 "github.com/gitops-toolkit/flux/api/kustomize/v1"
	"github.com/gitops-toolkit/flux/api/meta"
	"github.com/gitops-toolkit/flux/internal/apply"
	"github.com/gitops-toolkit/flux/internal/auth/kubeconfig"
)

// defaultKubeConfigKeys are looked for in a Secret when the reference names no key.
var defaultKubeConfigKeys = []string{"value", "value.yaml"}

// clientFor returns the client as which a Kustomization applies, prunes and checks: on its cluster, as its
// ServiceAccount.
func (c *controller) clientFor(ctx context.Context, k *kustomizev1.Kustomization) (*apply.Client, error) {
	config, identity, err := c.clusterOf(ctx, k)
	if err != nil {
		return nil, err
	}
	if account := c.m.ServiceAccount(k.Spec.ServiceAccountName); account != "" {
		config.Impersonate = rest.ImpersonationConfig{UserName: fmt.Sprintf("system:serviceaccount:%s:%s", k.Namespace, account)}
	}
	return c.Clients.Get(config, identity)
}

// clusterOf returns the configuration for the cluster of a Kustomization, and a key for its identity where the
// configuration itself does not tell it.
func (c *controller) clusterOf(ctx context.Context, k *kustomizev1.Kustomization) (*rest.Config, string, error) {
	switch ref := k.Spec.KubeConfig; {
	case ref == nil:
		return c.m.RESTConfig(), "", nil
	case ref.SecretRef != nil:
		config, err := c.kubeConfigOf(ctx, k, ref.SecretRef)
		return config, "", err
	case ref.ConfigMapRef != nil:
		return c.cloudCluster(ctx, k)
	}
	return nil, "", errors.New("spec.kubeConfig has neither secretRef nor configMapRef: set one of them")
}

// kubeConfigOf reads the kubeconfig in a Secret.
func (c *controller) kubeConfigOf(ctx context.Context, k *kustomizev1.Kustomization, ref *meta.SecretKeyReference) (*rest.Config, error) {
	name := types.NamespacedName{Namespace: k.Namespace, Name: ref.Name}
	secret, err := c.m.GetSecret(ctx, name)
	if apierrors.IsNotFound(err) {
		err = fmt.Errorf("%w; create it, or correct spec.kubeConfig.secretRef", err)
	}
	if err != nil {
		return nil, fmt.Errorf("unable to read KubeConfig secret '%s' error: %w", name, err)
	}
	content, key := kubeConfigIn(secret.Data, ref.Key)
	if content == nil {
		return nil, fmt.Errorf("KubeConfig secret '%s' does not contain a '%s' key with a kubeconfig; put it there, or name the key in spec.kubeConfig.secretRef.key", name, key)
	}
	config, err := kubeconfig.Parse(content, c.KubeConfig)
	if err != nil {
		return nil, fmt.Errorf("KubeConfig secret '%s', key '%s': %w", name, key, err)
	}
	return config, nil
}

// kubeConfigIn finds the kubeconfig of a Secret, and the key under which it is or should be.
func kubeConfigIn(data map[string][]byte, key string) ([]byte, string) {
	if key != "" {
		return data[key], key
	}
	for _, key := range defaultKubeConfigKeys {
		if content := data[key]; content != nil {
			return content, key
		}
	}
	return nil, defaultKubeConfigKeys[0]
}
