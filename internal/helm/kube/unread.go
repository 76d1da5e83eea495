package kube

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"sync"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/cli-runtime/pkg/resource"
)

// unread remembers which objects of a release could not be read while it is uninstalled. Helm passes over an object of
// which it cannot see whose it is, and then forgets the release, so that nobody would delete the object any more. Here
// Helm is told that the object is the release's, and its deletion fails with what happened.
type unread struct {
	answer []byte // an object of the release
	rests  map[schema.GroupVersion]resource.RESTClient

	mu   sync.Mutex
	errs map[string]error // by the path of the object
}

func newUnread(name, namespace string) *unread {
	object := metav1.PartialObjectMetadata{
		TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "ConfigMap"},
		ObjectMeta: metav1.ObjectMeta{
			Labels:      map[string]string{"app.kubernetes.io/managed-by": "Helm"},
			Annotations: map[string]string{"meta.helm.sh/release-name": name, "meta.helm.sh/release-namespace": namespace},
		},
	}
	answer, err := json.Marshal(object)
	if err != nil {
		panic(err) // strings only
	}
	return &unread{answer: answer, rests: map[schema.GroupVersion]resource.RESTClient{}, errs: map[string]error{}}
}

// client returns a client for a group and version that notes what it cannot read.
func (u *unread) client(c *Cluster, gv schema.GroupVersion) (resource.RESTClient, error) {
	if r := u.rests[gv]; r != nil {
		return r, nil
	}
	r, err := c.newRESTClient(gv, u.wrap)
	if err != nil {
		return nil, err
	}
	u.rests[gv] = r
	return r, nil
}

// of returns why an object could not be read, nil when it was or when nobody tried.
func (u *unread) of(i *resource.Info) error {
	path := i.Client.Get().NamespaceIfScoped(i.Namespace, i.Namespaced()).Resource(i.Mapping.Resource.Resource).Name(i.Name).URL().Path
	u.mu.Lock()
	defer u.mu.Unlock()
	if err := u.errs[path]; err != nil {
		return fmt.Errorf("see whose %s is: %w", subject(i), err)
	}
	return nil
}

func (u *unread) wrap(next http.RoundTripper) http.RoundTripper {
	return roundTripper(func(r *http.Request) (*http.Response, error) {
		resp, err := next.RoundTrip(r)
		if r.Method != http.MethodGet || err == nil && (resp.StatusCode < 300 || resp.StatusCode == http.StatusNotFound) {
			return resp, err
		}
		if err == nil {
			err = answered(resp)
		}
		u.mu.Lock()
		u.errs[r.URL.Path] = err
		u.mu.Unlock()
		return jsonResponse(r, http.StatusOK, u.answer), nil
	})
}

// answered is the error of a server.
func answered(resp *http.Response) error {
	defer resp.Body.Close() //nolint:errcheck // only read
	body, err := io.ReadAll(io.LimitReader(resp.Body, 64<<10))
	if err != nil {
		return err
	}
	status := &apierrors.StatusError{}
	if json.Unmarshal(body, &status.ErrStatus) != nil || status.ErrStatus.Message == "" {
		return fmt.Errorf("the server answers %s", resp.Status)
	}
	return status
}

type roundTripper func(*http.Request) (*http.Response, error)

// RoundTrip calls the function.
func (f roundTripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

func jsonResponse(r *http.Request, code int, body []byte) *http.Response {
	return &http.Response{
		StatusCode: code, Request: r, Header: http.Header{"Content-Type": {"application/json"}},
		Body: io.NopCloser(bytes.NewReader(body)), ProtoMajor: 1, ProtoMinor: 1,
	}
}
