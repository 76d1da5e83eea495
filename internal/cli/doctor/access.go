package doctor

import (
	"context"
	"fmt"
	"strings"
	"sync"

	authzv1 "k8s.io/api/authorization/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/client-go/rest"

	"github.com/gitops-toolkit/flux/internal/cli/cluster"
	"github.com/gitops-toolkit/flux/internal/cli/kinds"
)

var (
	reviews     = cluster.Resource{Group: authzv1.GroupName, Version: "v1", Kind: "SubjectAccessReview", Plural: "subjectaccessreviews", Clusters: true}
	selfReviews = cluster.Resource{Group: authzv1.GroupName, Version: "v1", Kind: "SelfSubjectAccessReview", Plural: "selfsubjectaccessreviews", Clusters: true}
)

// request is one thing that somebody may want to do. An empty namespace or name means all of them.
type request struct {
	user, verb, group, resource, namespace, name string
	path                                         string // of a request that is about no resource
}

// access asks the API server's authorizers what others may do: by a SubjectAccessReview, or, for a
// person who may not create those, by a SelfSubjectAccessReview made in the other's name.
type access struct {
	client *cluster.Client

	mu      sync.Mutex
	answers map[request]bool
	inName  bool // reviews of others are refused: impersonate
	mute    bool // impersonation is refused too
}

// errMute says that the person may not ask what others may do.
var errMute = fmt.Errorf("you may neither create subjectaccessreviews.authorization.k8s.io nor impersonate service accounts")

func (a *access) allowed(ctx context.Context, r request) (bool, error) {
	a.mu.Lock()
	answer, known := a.answers[r]
	inName, mute := a.inName, a.mute
	a.mu.Unlock()
	if known {
		return answer, nil
	}
	if mute {
		return false, errMute
	}
	answer, err := a.ask(ctx, r, inName)
	if err != nil {
		return false, err
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.answers == nil {
		a.answers = map[request]bool{}
	}
	a.answers[r] = answer
	return answer, nil
}

func (a *access) ask(ctx context.Context, r request, inName bool) (bool, error) {
	if !inName {
		review := &authzv1.SubjectAccessReview{Spec: authzv1.SubjectAccessReviewSpec{User: r.user, Groups: groupsOf(r.user)}}
		review.Spec.ResourceAttributes, review.Spec.NonResourceAttributes = r.attributes()
		err := a.client.Create(ctx, reviews, review)
		if err == nil || !apierrors.IsForbidden(err) {
			return review.Status.Allowed, err
		}
		a.mu.Lock()
		a.inName = true
		a.mu.Unlock()
	}
	config := a.client.Config()
	config.Impersonate = rest.ImpersonationConfig{UserName: r.user, Groups: groupsOf(r.user)}
	client, err := cluster.New(config)
	if err != nil {
		return false, err
	}
	review := &authzv1.SelfSubjectAccessReview{}
	review.Spec.ResourceAttributes, review.Spec.NonResourceAttributes = r.attributes()
	err = client.Create(ctx, selfReviews, review)
	if apierrors.IsForbidden(err) {
		a.mu.Lock()
		a.mute = true
		a.mu.Unlock()
		return false, errMute
	}
	return review.Status.Allowed, err
}

func (r request) attributes() (*authzv1.ResourceAttributes, *authzv1.NonResourceAttributes) {
	if r.path != "" {
		return nil, &authzv1.NonResourceAttributes{Path: r.path, Verb: r.verb}
	}
	resource, subresource, _ := strings.Cut(r.resource, "/")
	return &authzv1.ResourceAttributes{
		Namespace: r.namespace, Name: r.name, Verb: r.verb, Group: r.group, Resource: resource, Subresource: subresource,
	}, nil
}

const accountPrefix = "system:serviceaccount:"

// account splits the name of a user that is a ServiceAccount.
func account(user string) (namespace, name string, ok bool) {
	rest, ok := strings.CutPrefix(user, accountPrefix)
	if !ok {
		return "", "", false
	}
	return strings.Cut(rest, ":")
}

// person is how a finding calls a user.
func person(user string) string {
	if namespace, name, ok := account(user); ok {
		return "ServiceAccount " + namespace + "/" + name
	}
	return fmt.Sprintf("user %q", user)
}

// groupsOf are the groups that the API server adds to a user.
func groupsOf(user string) []string {
	groups := []string{"system:authenticated"}
	if namespace, _, ok := account(user); ok {
		groups = append(groups, "system:serviceaccounts", "system:serviceaccounts:"+namespace)
	}
	return groups
}

// ToInstall are the resources that an installation creates and most people may not.
var ToInstall = []cluster.Resource{kinds.Namespaces, kinds.CRDs,
	{Group: "rbac.authorization.k8s.io", Plural: "clusterroles"}, {Group: "rbac.authorization.k8s.io", Plural: "clusterrolebindings"}}

// Lacking returns which of the verbs the person who runs the command may not do to a resource in
// any namespace.
func Lacking(ctx context.Context, c *cluster.Client, group, resource string, verbs ...string) (lacking []string, err error) {
	for _, verb := range verbs {
		review := &authzv1.SelfSubjectAccessReview{}
		review.Spec.ResourceAttributes, _ = request{verb: verb, group: group, resource: resource}.attributes()
		if err := c.Create(ctx, selfReviews, review); err != nil {
			return nil, err
		}
		if !review.Status.Allowed {
			lacking = append(lacking, verb)
		}
	}
	return lacking, nil
}
