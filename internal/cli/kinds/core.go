package kinds

import "github.com/gitops-toolkit/flux/internal/cli/cluster"

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
