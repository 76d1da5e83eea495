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
)

// What the API server says when it refuses.
var (
	forbidden = regexp.MustCompile(`User "([^"]+)" cannot (\S+) resource "([^"]+)" in API group "([^"]*)"(?: in the namespace "([^"]+)"| at the cluster scope)`)
	granting  = regexp.MustCompile(`(\S+) "([^"]+)" is forbidden: user "([^"]+)"(?: \([^)]*\))? is attempting to grant RBAC permissions not currently held`)
	noKind    = regexp.MustCompile(`no matches for kind "([^"]+)" in version "([^"]+)"`)
)

// sayings are refusals that speak for themselves, with what to do about them. $1 is what the
// message names.
var sayings = []struct {
	pattern *regexp.Regexp
	advice  string
}{
	{regexp.MustCompile(`failed calling webhook "([^"]+)"[^\n]*`), "the webhook $1 does not answer: mend the program that serves it, or set its failurePolicy to Ignore until it runs"},
	{regexp.MustCompile(`admission webhook "([^"]+)" denied the request[^\n]*`), "the webhook $1 does not accept the object: change the object as the message says, or the policy behind the webhook"},
	{regexp.MustCompile(`ValidatingAdmissionPolicy '([^']+)' with binding '[^']+' denied request[^\n]*`), "change the object as the message says, or the ValidatingAdmissionPolicy $1 or its binding"},
	{regexp.MustCompile(`violates PodSecurity "([^"]+)"[^\n]*`), "give the pod the securityContext that the message names, or the namespace a pod-security.kubernetes.io/enforce label that allows it"},
	{regexp.MustCompile(`exceeded quota: ([^,]+),[^\n]*`), "raise the ResourceQuota $1, or ask for less"},
	{regexp.MustCompile(`failed quota: ([^:]+): must specify[^\n]*`), "give every container the requests and limits that the ResourceQuota $1 counts, or add a LimitRange with defaults"},
	{regexp.MustCompile(`(?:maximum|minimum) (\S+) usage per (?:Container|Pod|PersistentVolumeClaim) is [^\n]*`), "keep to the LimitRange of the namespace for $1, or change it"},
	{regexp.MustCompile(`unable to create new content in namespace (\S+) because it is being terminated`), "the namespace $1 is being deleted: wait until it is gone"},
}

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
		if m := granting.FindStringSubmatch(w.message); m != nil {
			add(fmt.Sprintf("%s: %s grants by %s %q what it may not do itself: give it those rights, or let another account apply this object", w.who(), person(m[3]), m[1], m[2]))
		}
		for _, m := range noKind.FindAllStringSubmatch(w.message, -1) {
			add(d.unserved(ctx, w, m[1], m[2]))
		}
		for _, s := range sayings {
			if m := s.pattern.FindStringSubmatchIndex(w.message); m != nil {
				add(fmt.Sprintf("%s: %s (%s)", w.who(), w.message[m[0]:m[1]], s.pattern.ExpandString(nil, s.advice, w.message, m)))
			}
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
