// Package clusters finds the cluster that an object of a controller works on, and as whom: the controller's own, one
// whose kubeconfig is in a Secret, or one that a ConfigMap describes and that is reached with a cloud identity. All kinds
// with spec.kubeConfig and spec.serviceAccountName use it.
package clusters

import (
	"context"
	"errors"
	"fmt"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/rest"

	"github.com/gitops-toolkit/flux/api/meta"
	"github.com/gitops-toolkit/flux/internal/auth/cloud"
	"github.com/gitops-toolkit/flux/internal/auth/kubeconfig"
	"github.com/gitops-toolkit/flux/internal/kernel"
)

// Finder finds clusters for the objects of one controller.
type Finder struct {
	// Manager reads Secrets, ConfigMaps and ServiceAccounts, and knows the controller's own cluster.
	Manager *kernel.Manager
	// Clouds prove identities to clusters; nil refuses spec.kubeConfig.configMapRef.
	Clouds *cloud.Clouds
	// Policy is what kubeconfigs in Secrets may contain.
	Policy kubeconfig.Policy
	// Account is whose identity a ConfigMap uses that names none (--default-kubeconfig-service-account).
	Account string
}

// Place says where an object wants to work, and as whom.
type Place struct {
	// Namespace is that of the object.
	Namespace string
	// KubeConfig is its spec.kubeConfig, nil for the controller's own cluster.
	KubeConfig *meta.KubeConfigReference
	// ServiceAccount is its spec.serviceAccountName; where it is empty the default of the controller counts.
	ServiceAccount string
}

// Config returns the configuration for a place, and a key for its identity where the configuration itself does not tell
// it. The configuration is the caller's.
func (f *Finder) Config(ctx context.Context, p Place) (*rest.Config, string, error) {
	config, key, err := f.cluster(ctx, p)
	if err != nil {
		return nil, "", err
	}
	if account := f.Manager.ServiceAccount(p.ServiceAccount); account != "" {
		config.Impersonate = rest.ImpersonationConfig{UserName: fmt.Sprintf("system:serviceaccount:%s:%s", p.Namespace, account)}
	}
	return config, key, nil
}

func (f *Finder) cluster(ctx context.Context, p Place) (*rest.Config, string, error) {
	switch ref := p.KubeConfig; {
	case ref == nil:
		return f.Manager.RESTConfig(), "", nil
	case (ref.SecretRef == nil) == (ref.ConfigMapRef == nil):
		return nil, "", errors.New("exactly one of .spec.kubeConfig.configMapRef or spec.kubeConfig.secretRef must be set")
	case ref.SecretRef != nil:
		config, err := f.fromSecret(ctx, p.Namespace, ref.SecretRef)
		return config, "", err
	}
	return f.fromConfigMap(ctx, p.Namespace, p.KubeConfig.ConfigMapRef.Name)
}

// fromSecret reads the kubeconfig in a Secret.
func (f *Finder) fromSecret(ctx context.Context, namespace string, ref *meta.SecretKeyReference) (*rest.Config, error) {
	name := types.NamespacedName{Namespace: namespace, Name: ref.Name}
	secret, err := f.Manager.GetSecret(ctx, name)
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
	config, err := kubeconfig.Parse(content, f.Policy)
	if err != nil {
		return nil, fmt.Errorf("KubeConfig secret '%s', key '%s': %w", name, key, err)
	}
	return config, nil
}

// defaultKeys are looked for in a Secret when the reference names no key.
var defaultKeys = []string{"value", "value.yaml"}

// kubeConfigIn finds the kubeconfig of a Secret, and the key under which it is or should be.
func kubeConfigIn(data map[string][]byte, key string) ([]byte, string) {
	if key != "" {
		return data[key], key
	}
	for _, key := range defaultKeys {
		if content := data[key]; content != nil {
			return content, key
		}
	}
	return nil, defaultKeys[0]
}
