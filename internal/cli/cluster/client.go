package cluster

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/rest"
)

// fieldManager is the name under which the command line writes.
const fieldManager = "flux"

// Resource says where objects of a kind live on the API server.
type Resource struct {
	Group    string
	Version  string
	Kind     string
	Plural   string
	Clusters bool // true when objects have no namespace
}

// GVK returns group, version and kind.
func (r Resource) GVK() schema.GroupVersionKind {
	return schema.GroupVersionKind{Group: r.Group, Version: r.Version, Kind: r.Kind}
}

// GroupResource returns what error messages name.
func (r Resource) GroupResource() schema.GroupResource {
	return schema.GroupResource{Group: r.Group, Resource: r.Plural}
}

// Client reads and writes objects.
type Client struct {
	rest *rest.RESTClient
	cfg  *rest.Config
}

// New connects nothing yet; the first request does.
func New(cfg *rest.Config) (*Client, error) {
	scheme := runtime.NewScheme()
	metav1.AddToGroupVersion(scheme, schema.GroupVersion{Version: "v1"})
	cfg = rest.CopyConfig(cfg)
	cfg.ContentConfig = rest.ContentConfig{
		GroupVersion:         &schema.GroupVersion{},
		NegotiatedSerializer: serializer.NewCodecFactory(scheme).WithoutConversion(),
	}
	httpClient, err := rest.HTTPClientFor(cfg)
	if err != nil {
		return nil, err
	}
	client, err := rest.UnversionedRESTClientForConfigAndClient(cfg, httpClient)
	if err != nil {
		return nil, err
	}
	return &Client{rest: client, cfg: cfg}, nil
}

// Config returns the connection's configuration.
func (c *Client) Config() *rest.Config { return rest.CopyConfig(c.cfg) }

// Get reads one object into the value that into points to.
func (c *Client) Get(ctx context.Context, r Resource, namespace, name string, into any) error {
	return c.send(ctx, c.request(http.MethodGet, r, namespace, name), into)
}

// Create writes a new object and reads the server's answer back into it.
func (c *Client) Create(ctx context.Context, r Resource, obj metav1.Object) error {
	body, err := json.Marshal(obj)
	if err != nil {
		return err
	}
	req := c.request(http.MethodPost, r, obj.GetNamespace(), "").Body(body).Param("fieldManager", fieldManager)
	return c.send(ctx, req, obj)
}

// Update replaces an object and reads the server's answer back into it.
func (c *Client) Update(ctx context.Context, r Resource, obj metav1.Object) error {
	body, err := json.Marshal(obj)
	if err != nil {
		return err
	}
	req := c.request(http.MethodPut, r, obj.GetNamespace(), obj.GetName()).Body(body).Param("fieldManager", fieldManager)
	return c.send(ctx, req, obj)
}

// MergePatch sends a JSON merge patch; into may be nil.
func (c *Client) MergePatch(ctx context.Context, r Resource, namespace, name string, patch, into any, subresource ...string) error {
	body, err := json.Marshal(patch)
	if err != nil {
		return err
	}
	req := c.request(http.MethodPatch, r, namespace, name, subresource...).
		SetHeader("Content-Type", string(types.MergePatchType)).
		Param("fieldManager", fieldManager).Body(body)
	return c.send(ctx, req, into)
}

// DeleteOptions tune a deletion.
type DeleteOptions struct {
	Propagation metav1.DeletionPropagation
	DryRun      bool
}

// Delete removes an object.
func (c *Client) Delete(ctx context.Context, r Resource, namespace, name string, opts DeleteOptions) error {
	options := metav1.DeleteOptions{TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "DeleteOptions"}}
	if opts.Propagation != "" {
		options.PropagationPolicy = &opts.Propagation
	}
	if opts.DryRun {
		options.DryRun = []string{metav1.DryRunAll}
	}
	body, err := json.Marshal(options)
	if err != nil {
		return err
	}
	return c.send(ctx, c.request(http.MethodDelete, r, namespace, name).Body(body), nil)
}

// Version reads what the server says of itself; errors are the connection's own.
func (c *Client) Version(ctx context.Context, into any) error {
	result := c.rest.Get().AbsPath("/version").Do(ctx)
	if err := result.Error(); err != nil {
		return err
	}
	body, err := result.Raw()
	if err != nil {
		return err
	}
	return json.Unmarshal(body, into)
}

// Logs streams what a container of a pod has written.
func (c *Client) Logs(ctx context.Context, namespace, pod string, params map[string]string) (io.ReadCloser, error) {
	req := c.request(http.MethodGet, Resource{Version: "v1", Plural: "pods"}, namespace, pod, "log").SetHeader("Accept", "text/plain, */*")
	for name, value := range params {
		req.Param(name, value)
	}
	stream, err := req.Stream(ctx)
	if err != nil {
		return nil, c.explain(ctx, err)
	}
	return stream, nil
}

func (c *Client) request(verb string, r Resource, namespace, name string, subresource ...string) *rest.Request {
	segments := []string{"apis", r.Group, r.Version}
	if r.Group == "" {
		segments = []string{"api", r.Version}
	}
	if namespace != "" && !r.Clusters {
		segments = append(segments, "namespaces", namespace)
	}
	segments = append(segments, r.Plural)
	if name != "" {
		segments = append(segments, name)
	}
	segments = append(segments, subresource...)
	return c.rest.Verb(verb).AbsPath(segments...).SetHeader("Accept", "application/json").
		SetHeader("Content-Type", "application/json")
}

func (c *Client) send(ctx context.Context, req *rest.Request, into any) error {
	body, err := c.raw(ctx, req)
	if err != nil || into == nil {
		return err
	}
	if err := json.Unmarshal(body, into); err != nil {
		return fmt.Errorf("decode the API server's answer to %s: %w", req.URL().Path, err)
	}
	return nil
}

func (c *Client) raw(ctx context.Context, req *rest.Request) ([]byte, error) {
	result := req.Do(ctx)
	if err := result.Error(); err != nil {
		return nil, unknown(req.URL().Path, c.explain(ctx, err))
	}
	return result.Raw()
}

// unknown names the resource, and the next step, where the server does not serve what a path leads to.
func unknown(path string, err error) error {
	_, rest, found := strings.Cut(path, "/apis/")
	if !found || !IsNoKind(err) {
		return err
	}
	parts := strings.Split(rest, "/") // group, version, perhaps a namespace, resource
	if len(parts) > 4 && parts[2] == "namespaces" {
		parts = append(parts[:2], parts[4:]...)
	}
	if len(parts) < 3 {
		return err
	}
	gr := schema.GroupResource{Group: parts[0], Resource: parts[2]}
	return fmt.Errorf("the cluster does not know %s: run 'flux check', or choose another --context%s: %w", gr, extra(gr.Group), err)
}

// extra tells how the kinds of controllers come that are not installed unless they are asked for.
func extra(group string) string {
	controllers := map[string]string{
		"image.toolkit.fluxcd.io":     "image-reflector-controller,image-automation-controller",
		"source.extensions.fluxcd.io": "source-watcher",
	}[group]
	if controllers == "" {
		return ""
	}
	return fmt.Sprintf("; 'flux install --components-extra=%s' brings them", controllers)
}

// explain turns a failed connection into the error that a person knows from kubectl: the
// server is asked once more, for its groups.
func (c *Client) explain(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	var status apierrors.APIStatus
	var dial *url.Error
	if errors.As(err, &status) || !errors.As(err, &dial) {
		return err
	}
	if groups := c.rest.Get().AbsPath("/api").Do(ctx).Error(); groups != nil && ctx.Err() == nil {
		return fmt.Errorf("failed to get server groups: %w", groups)
	}
	return err
}
