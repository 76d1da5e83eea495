package apply

import "k8s.io/apimachinery/pkg/runtime/schema"

func gvr(group, version, resource string) schema.GroupVersionResource {
	return schema.GroupVersionResource{Group: group, Version: version, Resource: resource}
}
