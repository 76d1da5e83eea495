package kinds

import (
	"context"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/gitops-toolkit/flux/internal/cli/cluster"
)

// Kinds of Kubernetes itself that commands read or write.
var (
	Namespaces  = cluster.Resource{Version: "v1", Kind: "Namespace", Plural: "namespaces", Clusters: true}
	Secrets     = cluster.Resource{Version: "v1", Kind: "Secret", Plural: "secrets"}
	ConfigMaps  = cluster.Resource{Version: "v1", Kind: "ConfigMap", Plural: "configmaps"}
	Events      = cluster.Resource{Version: "v1", Kind: "Event", Plural: "events"}
	Pods        = cluster.Resource{Version: "v1", Kind: "Pod", Plural: "pods"}
	Accounts    = cluster.Resource{Version: "v1", Kind: "ServiceAccount", Plural: "serviceaccounts"}
	Deployments = cluster.Resource{Group: "apps", Version: "v1", Kind: "Deployment", Plural: "deployments"}
	Bindings    = cluster.Resource{Group: "rbac.authorization.k8s.io", Version: "v1", Kind: "RoleBinding", Plural: "rolebindings"}
	CRDs        = cluster.Resource{Group: "apiextensions.k8s.io", Version: "v1", Kind: "CustomResourceDefinition", Plural: "customresourcedefinitions", Clusters: true}
)

// PartOf selects what belongs to an installation.
const PartOf = "app.kubernetes.io/part-of=flux"

// Reader reads Secrets and ConfigMaps as the user, for what the controllers' own libraries do here.
type Reader struct{ *cluster.Client }

// GetSecret reads a Secret.
func (r Reader) GetSecret(ctx context.Context, name types.NamespacedName) (*corev1.Secret, error) {
	secret := &corev1.Secret{}
	return secret, r.Get(ctx, Secrets, name.Namespace, name.Name, secret)
}

// GetConfigMap reads a ConfigMap.
func (r Reader) GetConfigMap(ctx context.Context, name types.NamespacedName) (*corev1.ConfigMap, error) {
	config := &corev1.ConfigMap{}
	return config, r.Get(ctx, ConfigMaps, name.Namespace, name.Name, config)
}
