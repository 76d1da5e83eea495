package doctor

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"

	appsv1 "k8s.io/api/apps/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/gitops-toolkit/flux/internal/refusal"
)

// What the API server says when it refuses.
var (
	forbidden = regexp.MustCompile(`User "([^"]+)" cannot (\S+) resource "([^"]+)" in API group "([^"]*)"(?: in the namespace "([^"]+)"| at the cluster scope)`)
	noKind    = regexp.MustCompile(`no matches for kind "([^"]+)" in version "([^"]+)"`)
)

// refusals reads what controllers and others were refused.
func (d *Doctor) refusals(ctx context.Context, objects []*object, controllers []appsv1.Deployment) ([]string, error) {
	warnings, err := d.warnings(ctx, objects)
	if err != nil {
		return nil, err
	}
	var lines []string
	add := func(line string) {
		if line != "" && !slices.Contains(lines, line) {
			lines = append(lines, line)
		}
	}
	for _, w := range warnings {
		for _, m := range forbidden.FindAllStringSubmatch(w.message, -1) {
			line, err := d.forbidden(ctx, w, request{user: m[1], verb: m[2], resource: m[3], group: m[4], namespace: m[5]}, controllers)
			if err != nil {
				return nil, err
			}
			add(line)
		}
		if g, ok := refusal.Granting(w.message); ok {
			add(fmt.Sprintf("%s: %s grants by %s %q what it may not do itself: give it those rights, or let another account apply this object", w.who(), person(g.User), g.Resource, g.Name))
		}
		for _, m := range noKind.FindAllStringSubmatch(w.message, -1) {
			add(d.unserved(ctx, w, m[1], m[2]))
		}
		for _, p := range refusal.Policies(w.message) {
			add(fmt.Sprintf("%s: %s (%s)", w.who(), p.Text, p.Advice))
		}
	}
	return lines, nil
}

// who is the controller and the object, or the object only.
func (w warning) who() string {
	if w.controller == "" {
		return w.about
	}
	return w.controller + ", " + w.about
}

// forbidden tells of a permission that is still lacking, and notes the role for it.
func (d *Doctor) forbidden(ctx context.Context, w warning, r request, controllers []appsv1.Deployment) (string, error) {
	allowed, err := d.access.allowed(ctx, r)
	if errors.Is(err, errMute) || apierrors.IsNotFound(err) {
		allowed, err = false, nil // then the message is all there is
	}
	if allowed || err != nil {
		return "", err
	}
	verbs := []string{r.verb}
	if slices.Contains(applier, r.verb) && w.controller != "" && !strings.Contains(r.resource, "/") {
		verbs = applier
	}
	if r.verb == "impersonate" {
		verbs = []string{"impersonate"}
	}
	ours := slices.ContainsFunc(controllers, func(c appsv1.Deployment) bool {
		return r.user == accountPrefix+c.Namespace+":"+c.Spec.Template.Spec.ServiceAccountName
	})
	d.healers.add(healing{user: r.user, namespace: r.namespace, group: r.group, resource: r.resource, verbs: verbs, ours: ours})
	what := lack{group: r.group, resource: r.resource, namespace: r.namespace}.what()
	return fmt.Sprintf("%s: %s may not %s %s", w.who(), person(r.user), r.verb, what), nil
}

// unserved tells in which version the server has a kind that was asked for in another.
func (d *Doctor) unserved(ctx context.Context, w warning, kind, version string) string {
	gv, err := schema.ParseGroupVersion(version)
	if err != nil {
		return ""
	}
	served, err := d.Discovery.Versions(ctx, schema.GroupKind{Group: gv.Group, Kind: kind})
	switch {
	case err != nil || slices.Contains(served, gv.Version):
		return ""
	case len(served) == 0:
		return fmt.Sprintf("%s: the API server has no kind %s of %s: apply its definition first, or let this object depend on what brings it", w.who(), kind, version)
	}
	cure := "change its apiVersion"
	if strings.HasSuffix(gv.Group, ".fluxcd.io") {
		cure = "`flux migrate --path=.` rewrites it in your repository"
	}
	return fmt.Sprintf("%s: the API server serves %s as %s/%s, no longer as %s: %s", w.who(), kind, gv.Group, strings.Join(served, ", "), version, cure)
}
