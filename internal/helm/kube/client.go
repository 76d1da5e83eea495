package kube

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"time"

	helm "helm.sh/helm/v4/pkg/kube"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/cli-runtime/pkg/resource"

	"github.com/gitops-toolkit/flux/internal/apply"
	"github.com/gitops-toolkit/flux/internal/apply/health"
	"github.com/gitops-toolkit/flux/internal/helm/release"
)

// FieldManager owns the fields of the objects of releases.
const FieldManager = "helm-controller"

// Options say how a Client works.
type Options struct {
	// Namespace of objects that name none.
	Namespace string
	// Release is the name of the release.
	Release string
	// ServerSide applies objects on the server; otherwise as Helm 3 did.
	ServerSide bool
	// Adopt takes objects over that exist already, without a look at who they belong to.
	Adopt bool
	// Validate refuses fields that the server does not know.
	Validate bool
	// Legacy waits as Helm 3 did.
	Legacy bool
	// NoWait waits for hooks only.
	NoWait bool
	// Uninstalling says that kinds which the server does not know any more are passed over, and that waits for the end
	// of objects can be cancelled, and are left out with NoWait.
	Uninstalling bool
	// Former is the manifest of the release that is replaced: of its kinds those are passed over, too, which the server
	// does not know any more, unless the manifest that is built first, that of the new release, is the same.
	Former string
	// Takeover are field managers whose fields are taken over besides Helm's own.
	Takeover []string
	// Exprs tell how custom kinds fare.
	Exprs *health.Exprs
	// Watch tells when to look again while waiting; nil polls.
	Watch *health.Hub
	// WaitContext ends waits for objects, but neither writes nor waits for hooks.
	WaitContext context.Context
	// Log is told what happens.
	Log slog.Handler
}

// Client is Helm's kube.Interface for one action.
type Client struct {
	Options
	cluster *Cluster
	// legacy is Helm's own client, for what it does better: client-side apply, waiting as Helm 3 did.
	legacy *helm.Client
	log    *slog.Logger
	// first is the manifest that was built first.
	first *string
	// undeleted is why objects were not deleted.
	undeleted error
	// unread is set while a release is uninstalled.
	unread *unread
}

var _ helm.Interface = &Client{}

// Client returns a client for one action.
func (c *Cluster) Client(o Options) *Client {
	if o.Log == nil {
		o.Log = slog.DiscardHandler
	}
	if o.WaitContext == nil {
		o.WaitContext = context.Background()
	}
	old := helm.New(c.Getter(o.Namespace))
	old.Namespace = o.Namespace
	//lint:ignore SA1019 the legacy waiter is made by Helm itself, which takes its context from here alone
	old.WaitContext = o.WaitContext
	old.SetLogger(o.Log)
	client := &Client{Options: o, cluster: c, legacy: old, log: slog.New(o.Log)}
	if o.Uninstalling {
		client.unread = newUnread(o.Release, o.Namespace)
	}
	return client
}

// requestTimeout bounds one request, admission webhooks included.
const requestTimeout = time.Minute

func requestContext() (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.Background(), requestTimeout)
}

// IsReachable asks nothing: the next request tells.
func (c *Client) IsReachable() error { return nil }

// Build reads the objects of a manifest.
func (c *Client) Build(reader io.Reader, _ bool) (helm.ResourceList, error) {
	content, err := io.ReadAll(reader)
	if err != nil {
		return nil, err
	}
	manifest := string(content)
	if c.first == nil {
		c.first = &manifest
	}
	lenient := c.Uninstalling || manifest == c.Former && manifest != *c.first
	objects, err := release.Objects(manifest)
	if err != nil {
		return nil, fmt.Errorf("error parsing manifest: %w", err)
	}
	var list helm.ResourceList
	var errs []error
	for _, o := range objects {
		info, err := c.info(o)
		if lenient && meta.IsNoMatchError(err) {
			c.log.Debug("passing over an object whose kind is gone", "kind", o.GetKind(), "name", o.GetName())
			continue
		}
		if err != nil {
			errs = append(errs, err)
			continue
		}
		list = append(list, info)
	}
	if c.Uninstalling {
		c.undeleted = errors.Join(errs...)
	}
	return list, errors.Join(errs...)
}

// BuildTable is Build: nobody prints tables here.
func (c *Client) BuildTable(reader io.Reader, validate bool) (helm.ResourceList, error) {
	return c.Build(reader, validate)
}

func (c *Client) info(o *unstructured.Unstructured) (*resource.Info, error) {
	gvk := o.GroupVersionKind()
	if gvk.Kind == "" || gvk.Version == "" {
		return nil, fmt.Errorf("unable to decode %q: apiVersion and kind must be set", o.GetName())
	}
	m, err := c.cluster.apply.Mapper().For(context.Background(), gvk)
	if meta.IsNoMatchError(err) {
		return nil, fmt.Errorf("resource mapping not found for name: %q namespace: %q from \"\": %w\nensure CRDs are installed first", o.GetName(), o.GetNamespace(), err)
	}
	if err != nil {
		return nil, err
	}
	client, err := c.restClient(gvk.GroupVersion())
	if err != nil {
		return nil, err
	}
	if m.Namespaced && o.GetNamespace() == "" {
		o.SetNamespace(c.Namespace)
	}
	info := &resource.Info{
		Client: client, Mapping: asRESTMapping(gvk, m), Name: o.GetName(), Object: o, ResourceVersion: o.GetResourceVersion(),
	}
	if m.Namespaced {
		info.Namespace = o.GetNamespace()
	}
	return info, nil
}

func (c *Client) restClient(gv schema.GroupVersion) (resource.RESTClient, error) {
	if c.unread != nil {
		return c.unread.client(c.cluster, gv)
	}
	client, err := c.cluster.restClient(gv)
	if err == nil && c.ServerSide && c.Adopt {
		client = blind{client} // whatever is there is applied over: no need to look first
	}
	return client, err
}

// Get reads objects; it is for helm status, which is not run here.
func (c *Client) Get(resources helm.ResourceList, related bool) (map[string][]runtime.Object, error) {
	return c.legacy.Get(resources, related)
}

// Create creates objects, or applies over those that exist.
func (c *Client) Create(resources helm.ResourceList, options ...helm.ClientCreateOption) (*helm.Result, error) {
	if !c.ServerSide {
		return c.legacy.Create(resources, options...)
	}
	c.log.Debug("creating resource(s)", "resources", len(resources))
	if len(resources) == 0 {
		return nil, helm.ErrNoObjectsVisited
	}
	res := &helm.Result{Created: resources}
	return res, inGroups(resources, func(i *resource.Info) error {
		_, err := c.applyOne(i)
		return err
	})
}

// Update brings objects from one state to another, and deletes those that are wanted no more.
func (c *Client) Update(original, target helm.ResourceList, options ...helm.ClientUpdateOption) (*helm.Result, error) {
	if !c.ServerSide {
		return c.legacy.Update(original, target, options...)
	}
	res := &results{}
	err := inGroups(target, func(i *resource.Info) error {
		created, err := c.applyOne(i)
		res.note(i, created)
		return err
	})
	if err != nil {
		return &res.Result, err
	}
	var errs []error
	for _, i := range original.Difference(target) {
		gone, err := c.deleteUnkept(i)
		if err != nil {
			errs = append(errs, err)
		}
		if gone {
			res.Deleted = append(res.Deleted, i)
		}
	}
	return &res.Result, errors.Join(errs...)
}

// Delete deletes objects side by side; one that resists does not stop the others.
func (c *Client) Delete(resources helm.ResourceList, policy metav1.DeletionPropagation) (*helm.Result, []error) {
	res := &results{}
	_ = inGroups(resources, func(i *resource.Info) error {
		c.log.Debug("starting delete resource", "namespace", i.Namespace, "name", i.Name, "kind", i.Mapping.GroupVersionKind.Kind)
		err := c.deleteOne(i, policy)
		if err != nil {
			res.fail(err)
			return nil
		}
		res.gone(i)
		return nil
	})
	if len(res.errs) > 0 {
		c.undeleted = errors.Join(res.errs...)
		return nil, res.errs
	}
	return &res.Result, nil
}

// Undeleted is why the last Delete left objects, nil where it left none.
func (c *Client) Undeleted() error { return c.undeleted }

func (c *Client) deleteOne(i *resource.Info, policy metav1.DeletionPropagation) error {
	if c.unread != nil {
		if err := c.unread.of(i); err != nil {
			return err
		}
	}
	ctx, cancel := requestContext()
	defer cancel()
	err := c.dynamic(i).Delete(ctx, i.Name, metav1.DeleteOptions{PropagationPolicy: &policy})
	if apierrors.IsNotFound(err) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("delete %s: %w", subject(i), err)
	}
	return nil
}

// deleteUnkept deletes an object unless the live one asks to be kept.
func (c *Client) deleteUnkept(i *resource.Info) (bool, error) {
	ctx, cancel := requestContext()
	defer cancel()
	live, err := c.dynamic(i).Get(ctx, i.Name, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("failed to delete resource namespace=%s, name=%s, kind=%s: %w", i.Namespace, i.Name, i.Mapping.GroupVersionKind.Kind, err)
	}
	if live.GetAnnotations()[helm.ResourcePolicyAnno] == helm.KeepPolicy {
		c.log.Debug("skipping delete due to annotation", "namespace", i.Namespace, "name", i.Name, "kind", i.Mapping.GroupVersionKind.Kind)
		return false, nil
	}
	c.log.Debug("deleting resource", "namespace", i.Namespace, "name", i.Name, "kind", i.Mapping.GroupVersionKind.Kind)
	if err := c.deleteOne(i, metav1.DeletePropagationBackground); err != nil {
		return false, err
	}
	return true, nil
}

// GetPodList lists pods, for the logs of hooks.
func (c *Client) GetPodList(namespace string, o metav1.ListOptions) (*corev1.PodList, error) {
	ctx, cancel := requestContext()
	defer cancel()
	return c.cluster.core.Pods(namespace).List(ctx, o)
}

// OutputContainerLogsForPodList copies the logs of pods.
func (c *Client) OutputContainerLogsForPodList(pods *corev1.PodList, namespace string, writer func(namespace, pod, container string) io.Writer) error {
	if writer == nil {
		return nil
	}
	for _, pod := range pods.Items {
		for _, container := range pod.Spec.Containers {
			if err := c.copyLog(namespace, pod.Name, container.Name, writer(namespace, pod.Name, container.Name)); err != nil {
				return err
			}
		}
	}
	return nil
}

// maxLog bounds what is copied of one container's log.
const maxLog = 64 << 10

func (c *Client) copyLog(namespace, pod, container string, w io.Writer) error {
	ctx, cancel := requestContext()
	defer cancel()
	stream, err := c.cluster.core.Pods(namespace).GetLogs(pod, &corev1.PodLogOptions{Container: container}).Stream(ctx)
	if err != nil {
		return fmt.Errorf("failed to stream pod logs for pod: %s, container: %s", pod, container)
	}
	defer stream.Close() //nolint:errcheck // only read
	_, err = io.Copy(w, io.LimitReader(stream, maxLog))
	return err
}

func subject(i *resource.Info) string {
	return apply.Ref{GroupVersionKind: i.Mapping.GroupVersionKind, Namespace: i.Namespace, Name: i.Name}.Subject()
}

// BuildObjects is Build for objects that are read already.
func (c *Client) BuildObjects(objects ...*unstructured.Unstructured) (helm.ResourceList, error) {
	var list helm.ResourceList
	for _, o := range objects {
		info, err := c.info(o)
		if err != nil {
			return nil, err
		}
		list = append(list, info)
	}
	return list, nil
}
