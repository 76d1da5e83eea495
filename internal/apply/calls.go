package apply

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"strings"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/metadata"
)

// callTimeout bounds one request, admission webhooks (30 s at most each) included.
const callTimeout = time.Minute

// errNotServed is the server's own text for a path that it does not serve.
const errNotServed = "the server could not find the requested resource"

func (c *Client) resource(m Mapping, namespace string) dynamic.ResourceInterface {
	r := c.dynamic.Resource(m.Resource)
	if m.Namespaced {
		return r.Namespace(namespace)
	}
	return r
}

func (c *Client) metadataOf(m Mapping, namespace string) metadata.ResourceInterface {
	r := c.metadata.Resource(m.Resource)
	if m.Namespaced {
		return r.Namespace(namespace)
	}
	return r
}

// Get reads an object. The error is the server's, or a meta.NoKindMatchError.
func (c *Client) Get(ctx context.Context, ref Ref) (*unstructured.Unstructured, error) {
	m, err := c.mapper.ForKind(ctx, ref.GroupVersionKind)
	if err != nil {
		return nil, err
	}
	if m.Namespaced && ref.Namespace == "" {
		return nil, noNamespace(ref)
	}
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	return c.resource(m, ref.Namespace).Get(ctx, ref.Name, metav1.GetOptions{})
}

// getMetadata reads only an object's metadata.
func (c *Client) getMetadata(ctx context.Context, m Mapping, ref Ref) (*metav1.PartialObjectMetadata, error) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	return c.metadataOf(m, ref.Namespace).Get(ctx, ref.Name, metav1.GetOptions{})
}

// send applies an object with server-side apply, taking fields from other managers.
func (p *pass) send(ctx context.Context, m Mapping, u *unstructured.Unstructured, dryRun bool) (*unstructured.Unstructured, error) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	opts := metav1.ApplyOptions{FieldManager: p.FieldManager, Force: true}
	if dryRun {
		opts.DryRun = []string{metav1.DryRunAll}
	}
	return p.Client.resource(m, u.GetNamespace()).Apply(ctx, u.GetName(), u, opts)
}

// sendAt applies an object if it is still the version that was seen.
func (p *pass) sendAt(ctx context.Context, v *verdict) (*unstructured.Unstructured, error) {
	payload := v.payload.DeepCopy()
	payload.SetResourceVersion(v.version)
	return p.send(ctx, v.mapping, payload, false)
}

type jsonOp struct {
	Op    string `json:"op"`
	Path  string `json:"path"`
	Value any    `json:"value,omitempty"`
}

// patchMetadata sends a JSON patch under our field manager.
func (p *pass) patchMetadata(ctx context.Context, m Mapping, ref Ref, ops []jsonOp) error {
	body, err := json.Marshal(ops)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	opts := metav1.PatchOptions{FieldManager: p.FieldManager}
	_, err = p.Client.metadataOf(m, ref.Namespace).Patch(ctx, ref.Name, types.JSONPatchType, body, opts)
	return err
}

// deleteLive deletes exactly the object that was looked at.
func (c *Client) deleteLive(ctx context.Context, m Mapping, live metav1.Object, withVersion bool) error {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	uid, background := live.GetUID(), metav1.DeletePropagationBackground
	pre := &metav1.Preconditions{UID: &uid}
	if rv := live.GetResourceVersion(); withVersion {
		pre.ResourceVersion = &rv
	}
	opts := metav1.DeleteOptions{Preconditions: pre, PropagationPolicy: &background}
	return c.resource(m, live.GetNamespace()).Delete(ctx, live.GetName(), opts)
}

// noNamespace is the server's answer to a namespaced kind without a namespace, given without asking.
func noNamespace(ref Ref) error {
	return &apierrors.StatusError{ErrStatus: metav1.Status{
		Status:  metav1.StatusFailure,
		Code:    http.StatusNotFound,
		Reason:  metav1.StatusReasonNotFound,
		Message: errNotServed,
		Details: &metav1.StatusDetails{Group: ref.Group, Kind: ref.Kind, Name: ref.Name},
	}}
}

// notServed tells a kind or version that is gone from an object that is absent.
func notServed(err error) bool {
	return apierrors.IsNotFound(err) && strings.Contains(err.Error(), errNotServed)
}

// transient tells an error of the way to the server from the server's verdict on the object.
func transient(err error) bool {
	var verdict apierrors.APIStatus
	if !errors.As(err, &verdict) {
		return true
	}
	return apierrors.IsServerTimeout(err) || apierrors.IsTooManyRequests(err) || apierrors.IsTimeout(err) ||
		apierrors.IsServiceUnavailable(err)
}

type groupKind = schema.GroupKind

var getOptions = metav1.GetOptions{}

// pause waits with growing steps, from 50 ms to 2 s; it returns false when the context ended.
type pause struct{ step time.Duration }

func (w *pause) wait(ctx context.Context) bool {
	w.step = min(max(2*w.step, 50*time.Millisecond), 2*time.Second)
	t := time.NewTimer(w.step)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-t.C:
		return true
	}
}
