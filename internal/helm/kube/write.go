package kube

import (
	"bytes"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"time"

	helm "helm.sh/helm/v4/pkg/kube"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/sets"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/cli-runtime/pkg/resource"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/util/csaupgrade"
	"k8s.io/client-go/util/retry"

	"github.com/gitops-toolkit/flux/internal/apply"
)

// sideBySide is how many objects of one kind are written at a time.
const sideBySide = 8

// inGroups calls f for objects in their order, side by side for neighbours of the same kind.
func inGroups(list helm.ResourceList, f func(*resource.Info) error) error {
	for from := 0; from < len(list); {
		to := from + 1
		for to < len(list) && kindOf(list[to]) == kindOf(list[from]) {
			to++
		}
		if err := sideways(list[from:to], f); err != nil {
			return err
		}
		from = to
	}
	return nil
}

func kindOf(i *resource.Info) schema.GroupKind { return i.Mapping.GroupVersionKind.GroupKind() }

func sideways(list helm.ResourceList, f func(*resource.Info) error) error {
	if len(list) == 1 {
		return f(list[0])
	}
	slots, errs := make(chan struct{}, sideBySide), make([]error, len(list))
	var wg sync.WaitGroup
	for n, i := range list {
		slots <- struct{}{}
		wg.Go(func() {
			errs[n] = f(i)
			<-slots
		})
	}
	wg.Wait()
	return errors.Join(errs...)
}

// results collects what happened to objects.
type results struct {
	mu sync.Mutex
	helm.Result
	errs []error
}

func (r *results) note(i *resource.Info, created bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if created {
		r.Created = append(r.Created, i)
		return
	}
	r.Updated = append(r.Updated, i)
}

func (r *results) gone(i *resource.Info) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.Deleted = append(r.Deleted, i)
}

func (r *results) fail(err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.errs = append(r.errs, err)
}

// blind is a client for objects that are applied over whatever is there: it tells Helm that nothing is.
type blind struct{ resource.RESTClient }

// Get returns a request that is answered without the server: not found.
func (blind) Get() *rest.Request { return nothing.Get() }

type notFound struct{}

// RoundTrip answers that the object is not there.
func (notFound) RoundTrip(r *http.Request) (*http.Response, error) {
	const body = `{"kind":"Status","apiVersion":"v1","metadata":{},"status":"Failure","message":"not found","reason":"NotFound","code":404}`
	return jsonResponse(r, http.StatusNotFound, []byte(body)), nil
}

var nothing = func() *rest.RESTClient {
	config := &rest.Config{Host: "http://nothing.invalid", Transport: notFound{}, QPS: -1}
	config.NegotiatedSerializer = resource.UnstructuredPlusDefaultContentConfig().NegotiatedSerializer
	config.GroupVersion = &schema.GroupVersion{Version: "v1"}
	client, err := rest.RESTClientFor(config)
	if err != nil {
		panic(err) // a constant configuration
	}
	return client
}()

// real returns the client that asks the server.
func real(r resource.RESTClient) resource.RESTClient {
	if b, ok := r.(blind); ok {
		return b.RESTClient
	}
	return r
}

func (c *Client) dynamic(i *resource.Info) dynamic.ResourceInterface {
	r := c.cluster.apply.Dynamic().Resource(i.Mapping.Resource)
	if i.Namespaced() {
		return r.Namespace(i.Namespace)
	}
	return r
}

// applyOne applies an object on the server, tells whether that created it, and takes over the fields that were written
// by Helm from the client's side before.
func (c *Client) applyOne(i *resource.Info) (created bool, err error) {
	if u, ok := i.Object.(*unstructured.Unstructured); ok {
		if IsSecret(u) {
			apply.FoldStringData(u)
		}
		apply.DropAggregatedRules(u)
	}
	body, err := runtime.Encode(unstructured.UnstructuredJSONScheme, i.Object)
	if err != nil {
		return false, fmt.Errorf("failed to encode object %s/%s %s: %w", i.Namespace, i.Name, i.Mapping.GroupVersionKind, err)
	}
	if i.Name == "" {
		return true, c.createNamed(i)
	}
	err = retry.OnError(beginning, unserved, func() error {
		return retry.OnError(retry.DefaultRetry, passing, func() error {
			created, err = c.patch(i, body)
			return err
		})
	})
	if err != nil {
		c.log.Debug("Error patching resource", "namespace", i.Namespace, "name", i.Name, "gvk", i.Mapping.GroupVersionKind.String(), "error", err.Error())
		return created, fmt.Errorf("server-side apply failed for object %s/%s %s: %w", i.Namespace, i.Name, i.Mapping.GroupVersionKind, err)
	}
	word := "Patched resource"
	if created {
		word = "Created resource via patch"
	}
	c.log.Debug(word, "namespace", i.Namespace, "name", i.Name, "gvk", i.Mapping.GroupVersionKind.String())
	if created {
		return true, nil
	}
	return false, c.takeOver(i, body)
}

// IsSecret tells whether an object is a Secret.
func IsSecret(u *unstructured.Unstructured) bool {
	return u.GetKind() == "Secret" && u.GroupVersionKind().Group == ""
}

// passing tells whether an error of the server goes away by itself at once.
func passing(err error) bool {
	if apierrors.IsConflict(err) {
		return bytes.Contains([]byte(err.Error()), []byte("resourcequotas"))
	}
	return apierrors.IsInternalError(err) && transient(err.Error())
}

// beginning is how long the server gets until it serves a kind that it has just been given.
var beginning = wait.Backoff{Duration: 100 * time.Millisecond, Factor: 2, Steps: 7}

// unserved tells whether the server does not serve a kind which it says it has: its definition has just come, or gone.
func unserved(err error) bool {
	return apierrors.IsNotFound(err) && strings.Contains(err.Error(), "the server could not find the requested resource")
}

func (c *Client) patch(i *resource.Info, body []byte) (created bool, err error) {
	ctx, cancel := requestContext()
	defer cancel()
	validation := metav1.FieldValidationIgnore
	if c.Validate {
		validation = metav1.FieldValidationStrict
	}
	var code int
	answer, err := real(i.Client).Patch(types.ApplyPatchType).
		NamespaceIfScoped(i.Namespace, i.Namespaced()).Resource(i.Mapping.Resource.Resource).Name(i.Name).
		Param("fieldManager", FieldManager).Param("force", "true").Param("fieldValidation", validation).
		Body(body).Do(ctx).StatusCode(&code).Get()
	if err != nil {
		return false, err
	}
	return code == http.StatusCreated, i.Refresh(answer, true)
}

// createNamed creates an object whose name the server makes.
func (c *Client) createNamed(i *resource.Info) error {
	answer, err := resource.NewHelper(real(i.Client), i.Mapping).WithFieldManager(FieldManager).Create(i.Namespace, true, i.Object)
	if err != nil {
		return err
	}
	return i.Refresh(answer, true)
}

// takeOver moves the fields that Helm wrote from the client's side to our entry, and applies once more, so that fields
// that are wanted no more really go.
func (c *Client) takeOver(i *resource.Info, body []byte) error {
	live, ok := i.Object.(*unstructured.Unstructured)
	if !ok {
		return nil
	}
	managers := sets.New("helm", FieldManager).Insert(c.Takeover...)
	found := false
	for _, e := range live.GetManagedFields() {
		found = found || e.Operation == metav1.ManagedFieldsOperationUpdate && e.Subresource == "" && managers.Has(e.Manager)
	}
	if !found {
		return nil
	}
	err := retry.RetryOnConflict(retry.DefaultRetry, func() error {
		ctx, cancel := requestContext()
		defer cancel()
		patch, err := csaupgrade.UpgradeManagedFieldsPatch(live, managers, FieldManager)
		if err != nil || len(patch) == 0 {
			return err
		}
		_, err = c.dynamic(i).Patch(ctx, i.Name, types.JSONPatchType, patch, metav1.PatchOptions{FieldManager: FieldManager})
		if apierrors.IsConflict(err) {
			if fresh, getErr := c.dynamic(i).Get(ctx, i.Name, metav1.GetOptions{}); getErr == nil {
				live = fresh
			}
		}
		return err
	})
	if err != nil {
		return fmt.Errorf("failed to upgrade managed fields for object %s: %w", subject(i), err)
	}
	_, err = c.patch(i, body)
	return err
}
