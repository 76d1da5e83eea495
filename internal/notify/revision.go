package notify

import (
	"cmp"
	"context"
	"net/url"
	"regexp"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"

	"github.com/gitops-toolkit/flux/internal/notify/event"
	"github.com/gitops-toolkit/flux/internal/notify/providers"
)

var (
	sourceVersion = schema.GroupVersion{Group: "source.toolkit.fluxcd.io", Version: "v1"}
	gitHash       = regexp.MustCompile(`sha1:([0-9a-f]{40})$`)
)

// revisionURL finds the page of a commit: the event's object is a GitRepository, or names one as its
// source. Whatever stands in the way, there is just no link.
func (s *senders) revisionURL(ctx context.Context, n *providers.Notification) string {
	e := n.Event
	m := gitHash.FindStringSubmatch(cmp.Or(e.Metadata[event.KeyOriginRevision], e.Metadata[event.KeyRevision]))
	if m == nil {
		return ""
	}
	o := e.InvolvedObject
	obj := &unstructured.Unstructured{}
	obj.SetGroupVersionKind(schema.FromAPIVersionAndKind(o.APIVersion, o.Kind))
	if err := s.m.Live().Get(ctx, types.NamespacedName{Namespace: o.Namespace, Name: o.Name}, obj); err != nil {
		return ""
	}
	if o.Kind != "GitRepository" {
		kind, _, _ := unstructured.NestedString(obj.Object, "spec", "sourceRef", "kind")
		name, _, _ := unstructured.NestedString(obj.Object, "spec", "sourceRef", "name")
		namespace, _, _ := unstructured.NestedString(obj.Object, "spec", "sourceRef", "namespace")
		if kind != "GitRepository" || namespace != "" && namespace != o.Namespace && s.m.Settings().NoCrossNamespaceRefs {
			return ""
		}
		obj = &unstructured.Unstructured{}
		obj.SetGroupVersionKind(sourceVersion.WithKind(kind))
		if err := s.m.Live().Get(ctx, types.NamespacedName{Namespace: cmp.Or(namespace, o.Namespace), Name: name}, obj); err != nil {
			return ""
		}
	}
	address, _, _ := unstructured.NestedString(obj.Object, "spec", "url")
	return commitPage(address, m[1])
}

// commitPage is where the well-known Git hosts show a commit.
func commitPage(address, commit string) string {
	u, err := url.Parse(address)
	if err != nil || u.Hostname() == "" {
		return ""
	}
	path := strings.TrimSuffix(strings.Trim(u.Path, "/"), ".git")
	host := u.Host
	if u.Scheme == "ssh" {
		host = u.Hostname()
	}
	part := "/commit/"
	switch {
	case strings.Contains(host, "gitlab"):
		part = "/-/commit/"
	case strings.Contains(host, "bitbucket"):
		part = "/commits/"
	}
	return "https://" + host + "/" + path + part + commit
}
