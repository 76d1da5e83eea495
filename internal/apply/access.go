package apply

import (
	"context"
	"fmt"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

var selfReviews = schema.GroupVersionResource{Group: "authorization.k8s.io", Version: "v1", Resource: "selfsubjectaccessreviews"}

// MayApply asks the server whether the client's identity may apply an object. It costs one request
// and changes nothing.
func (c *Client) MayApply(ctx context.Context, ref Ref) (bool, error) {
	m, err := c.mapper.ForKind(ctx, ref.GroupVersionKind)
	if err != nil {
		return false, err
	}
	review := &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "authorization.k8s.io/v1", "kind": "SelfSubjectAccessReview",
		"spec": map[string]any{"resourceAttributes": map[string]any{
			"verb": "patch", "group": m.Resource.Group, "version": m.Resource.Version, "resource": m.Resource.Resource,
			"namespace": ref.Namespace, "name": ref.Name,
		}},
	}}
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	answer, err := c.dynamic.Resource(selfReviews).Create(ctx, review, metav1.CreateOptions{})
	if err != nil {
		return false, fmt.Errorf("ask whether %s may be applied: %w", ref.Subject(), err)
	}
	allowed, _, err := unstructured.NestedBool(answer.Object, "status", "allowed")
	return allowed, err
}
