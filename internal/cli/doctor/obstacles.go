package doctor

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	admissionv1 "k8s.io/api/admissionregistration/v1"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/gitops-toolkit/flux/internal/cli/cluster"
	"github.com/gitops-toolkit/flux/internal/cli/kinds"
)

// Kinds of Kubernetes that stand in the way.
var (
	validating  = cluster.Resource{Group: admissionv1.GroupName, Version: "v1", Kind: "ValidatingWebhookConfiguration", Plural: "validatingwebhookconfigurations", Clusters: true}
	mutating    = cluster.Resource{Group: admissionv1.GroupName, Version: "v1", Kind: "MutatingWebhookConfiguration", Plural: "mutatingwebhookconfigurations", Clusters: true}
	slicesOf    = cluster.Resource{Group: discoveryv1.GroupName, Version: "v1", Kind: "EndpointSlice", Plural: "endpointslices"}
	quotas      = cluster.Resource{Version: "v1", Kind: "ResourceQuota", Plural: "resourcequotas"}
	apiServices = cluster.Resource{Group: "apiregistration.k8s.io", Version: "v1", Kind: "APIService", Plural: "apiservices", Clusters: true}
)

// patience is how long a deletion may take before it counts as stuck.
const patience = 2 * time.Minute

// obstacles looks at the cluster's state for what will refuse or delay the next change.
func (d *Doctor) obstacles(ctx context.Context, objects []*object, controllers []appsv1.Deployment) ([]string, error) {
	lines := d.stuck(objects, controllers)
	for _, look := range []func(context.Context) ([]string, error){d.webhooks, d.apis, d.definitions, d.namespaces} {
		found, err := look(ctx)
		if err != nil {
			return nil, err
		}
		lines = append(lines, found...)
	}
	full, err := d.quotas(ctx, controllers)
	return append(append(lines, full...), d.oldVersions(ctx, objects)...), err
}

// webhook is what validating and mutating ones have in common.
type webhook struct {
	config, name string
	client       admissionv1.WebhookClientConfig
	policy       *admissionv1.FailurePolicyType
	rules        []admissionv1.RuleWithOperations
}

// webhooks reports those that must answer and whose Service has nobody behind it.
func (d *Doctor) webhooks(ctx context.Context) (lines []string, err error) {
	v, err := list[admissionv1.ValidatingWebhookConfiguration](ctx, d.Client, validating, cluster.ListOptions{})
	if err != nil {
		return nil, err
	}
	m, err := list[admissionv1.MutatingWebhookConfiguration](ctx, d.Client, mutating, cluster.ListOptions{})
	if err != nil {
		return nil, err
	}
	var all []webhook
	for _, c := range v {
		for _, w := range c.Webhooks {
			all = append(all, webhook{validating.Kind + "/" + c.Name, w.Name, w.ClientConfig, w.FailurePolicy, w.Rules})
		}
	}
	for _, c := range m {
		for _, w := range c.Webhooks {
			all = append(all, webhook{mutating.Kind + "/" + c.Name, w.Name, w.ClientConfig, w.FailurePolicy, w.Rules})
		}
	}
	for _, w := range all {
		service := w.client.Service
		if service == nil || w.policy != nil && *w.policy == admissionv1.Ignore {
			continue
		}
		alive, err := d.answers(ctx, service.Namespace, service.Name)
		if err != nil {
			return nil, err
		}
		if !alive {
			lines = append(lines, fmt.Sprintf("%s: webhook %s has no ready endpoint behind Service %s/%s, and its failurePolicy is Fail: it refuses every %s; bring its program back, or delete the configuration",
				w.config, w.name, service.Namespace, service.Name, w.concerns()))
		}
	}
	return lines, nil
}

// concerns says which changes a webhook is asked about.
func (w webhook) concerns() string {
	var parts []string
	for _, r := range w.rules {
		var operations, resources []string
		for _, o := range r.Operations {
			operations = append(operations, strings.ToLower(string(o)))
		}
		for _, resource := range r.Resources {
			for _, group := range r.APIGroups {
				resources = append(resources, resourceName(group, resource))
			}
		}
		parts = append(parts, strings.Join(operations, ", ")+" of "+strings.Join(resources, ", "))
	}
	return strings.Join(parts, "; ")
}

// answers tells whether a Service has an endpoint that is ready. Who may not see gets a yes.
func (d *Doctor) answers(ctx context.Context, namespace, name string) (bool, error) {
	found, err := cluster.All[discoveryv1.EndpointSlice](ctx, d.Client, slicesOf, cluster.ListOptions{Namespace: namespace, Labels: discoveryv1.LabelServiceName + "=" + name})
	if err != nil {
		if unseen(err) {
			return true, nil
		}
		return false, err
	}
	for _, s := range found {
		for _, e := range s.Endpoints {
			if e.Conditions.Ready == nil || *e.Conditions.Ready {
				return true, nil
			}
		}
	}
	return false, nil
}

// apis reports groups of the API that another server should serve and does not: while one is down,
// no namespace can be deleted and lists of all kinds are incomplete.
func (d *Doctor) apis(ctx context.Context) (lines []string, err error) {
	type condition struct{ Type, Status, Message string }
	type apiService struct {
		metav1.ObjectMeta `json:"metadata"`
		Status            struct{ Conditions []condition }
	}
	found, err := list[apiService](ctx, d.Client, apiServices, cluster.ListOptions{})
	for _, s := range found {
		for _, c := range s.Status.Conditions {
			if c.Type == "Available" && c.Status == "False" {
				lines = append(lines, fmt.Sprintf("APIService/%s is not available: %s; bring its server back, or delete the APIService", s.Name, c.Message))
			}
		}
	}
	return lines, err
}

// definitions reports the toolkit's own that are being deleted or still have old objects stored.
func (d *Doctor) definitions(ctx context.Context) (lines []string, err error) {
	found, err := list[apiextensionsv1.CustomResourceDefinition](ctx, d.Client, kinds.CRDs, cluster.ListOptions{Labels: kinds.PartOf})
	for _, crd := range found {
		if crd.DeletionTimestamp != nil {
			lines = append(lines, fmt.Sprintf("CustomResourceDefinition/%s is being deleted since %s, and its objects with it: finalizers of the objects hold it back; install again when it is gone", crd.Name, stamp(crd.DeletionTimestamp)))
		}
		for _, v := range crd.Spec.Versions {
			if v.Storage && slices.ContainsFunc(crd.Status.StoredVersions, func(s string) bool { return s != v.Name }) {
				lines = append(lines, fmt.Sprintf("CustomResourceDefinition/%s has objects stored as %s: an upgrade that drops the older version fails; run `flux migrate`", crd.Name, strings.Join(crd.Status.StoredVersions, ", ")))
			}
		}
	}
	return lines, err
}

// namespaces reports those whose deletion does not end.
func (d *Doctor) namespaces(ctx context.Context) (lines []string, err error) {
	found, err := list[corev1.Namespace](ctx, d.Client, kinds.Namespaces, cluster.ListOptions{})
	for _, ns := range found {
		if ns.DeletionTimestamp == nil || d.Now.Sub(ns.DeletionTimestamp.Time) < patience {
			continue
		}
		var why []string
		for _, c := range ns.Status.Conditions {
			if c.Status == corev1.ConditionTrue {
				why = append(why, c.Message)
			}
		}
		lines = append(lines, fmt.Sprintf("Namespace/%s is being deleted since %s: %s", ns.Name, stamp(ns.DeletionTimestamp), strings.Join(why, "; ")))
	}
	return lines, err
}

// quotas reports those of the controllers' namespaces that are used up.
func (d *Doctor) quotas(ctx context.Context, controllers []appsv1.Deployment) (lines []string, err error) {
	var seen []string
	for i := range controllers {
		namespace := controllers[i].Namespace
		if slices.Contains(seen, namespace) {
			continue
		}
		seen = append(seen, namespace)
		found, err := list[corev1.ResourceQuota](ctx, d.Client, quotas, cluster.ListOptions{Namespace: namespace})
		if err != nil {
			return nil, err
		}
		for _, q := range found {
			for _, name := range slices.Sorted(maps.Keys(q.Status.Hard)) {
				hard, used := q.Status.Hard[name], q.Status.Used[name]
				if used.Cmp(hard) >= 0 {
					lines = append(lines, fmt.Sprintf("ResourceQuota/%s/%s: %s are used up (%s of %s): pods of the controllers cannot be replaced; raise it", q.Namespace, q.Name, name, used.String(), hard.String()))
				}
			}
		}
	}
	return lines, nil
}

// stuck reports objects whose deletion does not end, and who would have to act.
func (d *Doctor) stuck(objects []*object, controllers []appsv1.Deployment) (lines []string) {
	for _, o := range objects {
		if o.deleted == nil || d.Now.Sub(o.deleted.Time) < patience {
			continue
		}
		why := strings.Join(o.finalizers, ", ") + " is a finalizer of another program, which has to take it off"
		if slices.Contains(o.finalizers, "finalizers.fluxcd.io") {
			why = o.controllerName + " has to take off finalizers.fluxcd.io" + d.holdsBack(o, controllers)
		}
		lines = append(lines, fmt.Sprintf("%s is being deleted since %s: %s", o, stamp(o.deleted), why))
	}
	return lines
}

// holdsBack says what keeps a controller from finishing a deletion.
func (d *Doctor) holdsBack(o *object, controllers []appsv1.Deployment) string {
	i := slices.IndexFunc(controllers, func(c appsv1.Deployment) bool {
		if c.Name == o.controllerName || c.Labels[componentLabel] == o.controllerName {
			return true
		}
		args := fmt.Sprint(c.Spec.Template.Spec.Containers)
		return strings.Contains(args, "--controllers=") && strings.Contains(args, o.controllerName)
	})
	switch {
	case i < 0:
		return ", and is not installed: install it, or take the finalizer off if what the object applied may stay"
	case controllers[i].Status.ReadyReplicas == 0:
		return ", and is not running: start its Deployment"
	case len(o.messages) > 0:
		return "; it says: " + o.messages[0]
	}
	return "; see flux logs --kind=" + o.kind.Kind + " --name=" + o.name + " --namespace=" + o.namespace
}

// oldVersions reports who still writes objects in versions that are deprecated or gone.
func (d *Doctor) oldVersions(ctx context.Context, objects []*object) (lines []string) {
	type writing struct{ kind, version, manager string }
	found := map[writing][]string{}
	for _, o := range objects {
		for _, m := range o.managers {
			group, version, _ := strings.Cut(m.APIVersion, "/")
			if group == o.kind.Group && version != o.kind.Version && m.Subresource == "" {
				w := writing{o.kind.Kind, m.APIVersion, m.Manager}
				if name := o.namespace + "/" + o.name; !slices.Contains(found[w], name) {
					found[w] = append(found[w], name)
				}
			}
		}
	}
	order := slices.SortedFunc(maps.Keys(found), func(a, b writing) int { return strings.Compare(fmt.Sprint(a), fmt.Sprint(b)) })
	for _, w := range order {
		names := found[w]
		lines = append(lines, fmt.Sprintf("%s writes %d %s in the old version %s, such as %s: `flux migrate --path=.` rewrites manifests, `flux migrate` the objects in the cluster", w.manager, len(names), w.kind, w.version, names[0]))
	}
	return lines
}

func stamp(t *metav1.Time) string { return t.UTC().Format(time.RFC3339) }
