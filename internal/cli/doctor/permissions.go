package doctor

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"slices"
	"strings"

	"golang.org/x/sync/errgroup"
	appsv1 "k8s.io/api/apps/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/util/yaml"

	"github.com/gitops-toolkit/flux/manifests"
)

const (
	componentLabel = "app.kubernetes.io/component"
	clusterSuffix  = "-cluster"
	// asking is how many questions are under way at once.
	asking = 8
)

// need is what a controller does itself, whatever people describe.
type need struct {
	rbacv1.PolicyRule
	// here says that it is needed in the controller's own namespace only, everywhere that it is
	// needed in all namespaces even of a controller that watches one.
	here, everywhere bool
}

// needs are the rights of the installation with least privilege, by controller: the manifests are
// made from what each controller says that it does.
func needs() (map[string][]need, error) {
	text, err := fs.ReadFile(manifests.Files(), "install/rbac-minimal.yaml")
	if err != nil {
		return nil, err
	}
	found := map[string][]need{}
	decoder := yaml.NewYAMLOrJSONDecoder(bytes.NewReader(text), 4096)
	for {
		var role rbacv1.ClusterRole
		if err := decoder.Decode(&role); errors.Is(err, io.EOF) {
			return found, nil
		} else if err != nil {
			return nil, err
		}
		component := role.Labels[componentLabel]
		if component == "" || role.Kind != "ClusterRole" && role.Kind != "Role" {
			continue
		}
		for _, rule := range role.Rules {
			found[component] = append(found[component], need{rule, role.Kind == "Role", strings.HasSuffix(role.Name, clusterSuffix)})
		}
	}
}

// lack is a resource, or the object of that name, on which somebody lacks verbs.
type lack struct{ controller, user, group, resource, namespace, name, path string }

// permissions asks for everything that each controller needs.
func (d *Doctor) permissions(ctx context.Context, controllers []appsv1.Deployment) ([]string, error) {
	wanted, err := needs()
	if err != nil {
		return nil, err
	}
	lacks := map[lack][]string{}
	for i := range controllers {
		if err := d.controller(ctx, &controllers[i], wanted, lacks); err != nil {
			if errors.Is(err, errMute) {
				d.Log.Warningf("permissions of the controllers are not checked: %s", err)
				return nil, nil
			}
			if apierrors.IsNotFound(err) {
				return nil, nil // a server that answers no such questions
			}
			return nil, err
		}
	}
	var lines []string
	for _, l := range slices.SortedFunc(maps.Keys(lacks), lack.compare) {
		verbs := lacks[l]
		d.healers.add(healing{user: l.user, namespace: l.namespace, group: l.group, resource: l.resource, name: l.name, path: l.path, verbs: verbs, ours: true})
		lines = append(lines, fmt.Sprintf("%s: %s may not %s %s", l.controller, person(l.user), strings.Join(verbs, ", "), l.what()))
	}
	return lines, nil
}

func (l lack) compare(o lack) int {
	return strings.Compare(fmt.Sprint(l), fmt.Sprint(o))
}

// what names the resource and where.
func (l lack) what() string {
	if l.path != "" {
		return l.path
	}
	where := "in all namespaces"
	if l.namespace != "" {
		where = "in the namespace " + l.namespace
	}
	what := resourceName(l.group, l.resource)
	if l.name != "" {
		what += " " + l.name
	}
	return what + " " + where
}

func resourceName(group, resource string) string {
	if group == "" {
		return resource
	}
	name, sub, found := strings.Cut(resource, "/")
	if found {
		sub = "/" + sub
	}
	return name + "." + group + sub
}

// controller asks for what one Deployment needs.
func (d *Doctor) controller(ctx context.Context, c *appsv1.Deployment, wanted map[string][]need, lacks map[lack][]string) error {
	pod := c.Spec.Template.Spec
	user := accountPrefix + c.Namespace + ":" + pod.ServiceAccountName
	one := false // watches its own namespace only
	components := []string{c.Labels[componentLabel], c.Name}
	for _, container := range pod.Containers {
		for _, arg := range container.Args {
			one = one || arg == "--watch-all-namespaces=false"
			if chosen, ok := strings.CutPrefix(arg, "--controllers="); ok {
				components = strings.Split(chosen, ",")
			}
		}
	}
	if all, err := d.access.allowed(ctx, request{user: user, verb: "*", group: "*", resource: "*"}); err != nil || all {
		return err
	}
	var todo []question
	for _, component := range slices.Compact(components) {
		for _, n := range wanted[component] {
			namespace := ""
			if n.here || one && !n.everywhere {
				namespace = c.Namespace
			}
			todo = append(todo, questions(n.PolicyRule, lack{controller: c.Name, user: user, namespace: namespace})...)
		}
	}
	return d.askAll(ctx, todo, lacks)
}

// question is about some verbs on one resource.
type question struct {
	lack
	verbs []string
}

// questions takes a rule apart.
func questions(rule rbacv1.PolicyRule, about lack) (out []question) {
	for _, path := range rule.NonResourceURLs {
		about.path = path
		out = append(out, question{about, rule.Verbs})
	}
	for _, group := range rule.APIGroups {
		for _, resource := range rule.Resources {
			about.group, about.resource = group, resource
			for _, about.name = range named(rule) {
				out = append(out, question{about, rule.Verbs})
			}
		}
	}
	return out
}

// named are the objects that a rule is about, one without a name for all of them.
func named(rule rbacv1.PolicyRule) []string {
	if len(rule.ResourceNames) > 0 {
		return rule.ResourceNames
	}
	return []string{""}
}

// askAll notes what is not allowed. A question about all verbs at once often answers the rest.
func (d *Doctor) askAll(ctx context.Context, todo []question, lacks map[lack][]string) error {
	missing := make([][]string, len(todo))
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(asking)
	for i, q := range todo {
		group.Go(func() (err error) {
			missing[i], err = d.missing(ctx, q)
			return err
		})
	}
	if err := group.Wait(); err != nil {
		return err
	}
	for i, verbs := range missing {
		for _, verb := range verbs {
			if l := todo[i].lack; !slices.Contains(lacks[l], verb) {
				lacks[l] = append(lacks[l], verb)
			}
		}
	}
	return nil
}

func (d *Doctor) missing(ctx context.Context, q question) (verbs []string, err error) {
	r := request{user: q.user, group: q.group, resource: q.resource, namespace: q.namespace, name: q.name, path: q.path}
	if len(q.verbs) > 2 {
		r.verb = "*"
		if all, err := d.access.allowed(ctx, r); err != nil || all {
			return nil, err
		}
	}
	for _, r.verb = range q.verbs {
		allowed, err := d.access.allowed(ctx, r)
		if err != nil {
			return nil, err
		}
		if !allowed {
			verbs = append(verbs, r.verb)
		}
	}
	return verbs, nil
}
