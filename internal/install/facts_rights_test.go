package install

import (
	"slices"
	"strings"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	netv1 "k8s.io/api/networking/v1"
	rbacv1 "k8s.io/api/rbac/v1"
)

// TestServicesAndPortsEqualTheTable: names, selectors and ports by which everything is reached.
func TestServicesAndPortsEqualTheTable(t *testing.T) {
	t.Parallel()
	text := strings.Join(table(t, "ports and HTTP paths"), "\n")
	if !strings.Contains(text, "Services (ClusterIP, port 80 name http, label control-plane: controller): source-controller -> http; notification-controller -> http; webhook-receiver (selector app: notification-controller) -> http-webhook; source-watcher -> http (label control-plane: source-watcher)") {
		t.Fatal("the table of Services has changed: read it again and change this test")
	}
	objects := build(t, everything())
	for _, want := range []struct{ name, app, target, label string }{
		{"source-controller", "source-controller", "http", "controller"},
		{"notification-controller", "notification-controller", "http", "controller"},
		{"webhook-receiver", "notification-controller", "http-webhook", "controller"},
		{"source-watcher", "source-watcher", "http", "source-watcher"},
	} {
		s := get[corev1.Service](t, objects, "Service", want.name)
		p := s.Spec.Ports[0]
		if s.Spec.Type != "ClusterIP" || p.Port != 80 || p.Name != "http" || p.TargetPort.String() != want.target ||
			s.Spec.Selector["app"] != want.app || s.Labels["control-plane"] != want.label {
			t.Errorf("Service %s: %+v", want.name, s.Spec)
		}
	}
	numbers := map[string]int32{"http-prom": 8080, "healthz": 9440, "http": 9090, "http-webhook": 9292}
	for _, name := range everything().Components {
		c := get[appsv1.Deployment](t, objects, "Deployment", name).Spec.Template.Spec.Containers[0]
		var got []string
		for _, p := range c.Ports {
			got = append(got, p.Name)
			if numbers[p.Name] != p.ContainerPort {
				t.Errorf("%s: port %s is %d", name, p.Name, p.ContainerPort)
			}
		}
		want := []string{"healthz", "http-prom"}
		switch name {
		case "source-controller", "source-watcher":
			want = append(want, "http")
		case "notification-controller":
			want = append(want, "http", "http-webhook")
		}
		if slices.Sort(got); !slices.Equal(got, slices.Sorted(slices.Values(want))) {
			t.Errorf("%s: ports %v, want %v", name, got, want)
		}
	}
}

// TestRolesEqualTheTable compares the rules in order.
func TestRolesEqualTheTable(t *testing.T) {
	t.Parallel()
	lines := table(t, "RBAC in the bundle")
	objects := build(t, everything())
	var want []string
	for i := slices.Index(lines, "ClusterRole crd-controller:") + 1; i > 0 && strings.HasPrefix(lines[i], "  "); i++ {
		want = append(want, expandRule(strings.TrimSpace(lines[i]))...)
	}
	var got []string
	for _, r := range get[rbacv1.ClusterRole](t, objects, "ClusterRole", "crd-controller-flux-system").Rules {
		got = append(got, ruleText(r))
	}
	if len(want) < 10 || !slices.Equal(got, want) {
		t.Errorf("crd-controller:\n got %s\nwant %s", strings.Join(got, "\n     "), strings.Join(want, "\n     "))
	}
	binding := get[rbacv1.ClusterRoleBinding](t, objects, "ClusterRoleBinding", "crd-controller-flux-system")
	if binding.RoleRef.Name != "crd-controller-flux-system" || len(binding.Subjects) != 7 {
		t.Errorf("crd-controller binds %s to %v", binding.RoleRef.Name, binding.Subjects)
	}
	binding = get[rbacv1.ClusterRoleBinding](t, objects, "ClusterRoleBinding", "cluster-reconciler-flux-system")
	if binding.RoleRef.Name != "cluster-admin" || len(binding.Subjects) != 2 ||
		binding.Subjects[0].Name != "kustomize-controller" || binding.Subjects[1].Name != "helm-controller" {
		t.Errorf("cluster-reconciler binds %s to %v", binding.RoleRef.Name, binding.Subjects)
	}
	six := []string{"source.toolkit.fluxcd.io", "kustomize.toolkit.fluxcd.io", "helm.toolkit.fluxcd.io", "notification.toolkit.fluxcd.io", "image.toolkit.fluxcd.io", "source.extensions.fluxcd.io"}
	for name, verbs := range map[string]string{"flux-edit": "create,delete,deletecollection,patch,update", "flux-view": "get,list,watch"} {
		role := get[rbacv1.ClusterRole](t, objects, "ClusterRole", name+"-flux-system")
		r := role.Rules[0]
		if !slices.Equal(r.APIGroups, six) || strings.Join(r.Verbs, ",") != verbs || r.Resources[0] != "*" || len(role.Rules) != 1 {
			t.Errorf("%s: %v", name, role.Rules)
		}
		for _, to := range []string{"admin", "edit", "view"} {
			want := to != "view" || name == "flux-view"
			if got := role.Labels["rbac.authorization.k8s.io/aggregate-to-"+to] == "true"; got != want {
				t.Errorf("%s aggregates to %s: %v", name, to, got)
			}
		}
	}
}

// expandRule turns a line of the table into the rules that it stands for.
func expandRule(line string) []string {
	if groups, ok := strings.CutSuffix(line, ": * -> *"); ok {
		var out []string
		toolkit, extensions, _ := strings.Cut(groups, " .fluxcd.io and ")
		for group := range strings.SplitSeq(toolkit, "|") {
			if !strings.HasSuffix(group, ".toolkit") {
				group += ".toolkit"
			}
			out = append(out, group+".fluxcd.io * -> *")
		}
		return append(out, extensions+" * -> *")
	}
	if path, ok := strings.CutPrefix(line, "nonResourceURL "); ok {
		return []string{path}
	}
	return []string{strings.TrimPrefix(line, "core ")}
}

func ruleText(r rbacv1.PolicyRule) string {
	verbs := " -> " + strings.Join(r.Verbs, ",")
	if len(r.NonResourceURLs) > 0 {
		return strings.Join(r.NonResourceURLs, ",") + verbs
	}
	return strings.TrimPrefix(r.APIGroups[0]+" ", " ") + strings.Join(r.Resources, ",") + verbs
}

func TestPoliciesAndQuotaEqualTheTable(t *testing.T) {
	t.Parallel()
	text := strings.Join(append(table(t, "NetworkPolicies"), table(t, "ResourceQuota")...), "\n")
	for _, fact := range []string{
		"allow-egress: podSelector {}; Ingress from podSelector {} (same namespace); Egress all",
		"allow-scraping: podSelector {}; Ingress from any namespace TCP 8080",
		"allow-webhooks: podSelector app=notification-controller; Ingress from any namespace TCP 9292",
		`critical-pods: hard pods "1000"; scopeSelector PriorityClass In [system-node-critical, system-cluster-critical]`,
	} {
		if !strings.Contains(text, fact) {
			t.Fatalf("the table no longer says %q: read it again and change this test", fact)
		}
	}
	objects := build(t, everything())
	egress := get[netv1.NetworkPolicy](t, objects, "NetworkPolicy", "allow-egress").Spec
	if len(egress.PodSelector.MatchLabels) != 0 || len(egress.PolicyTypes) != 2 || len(egress.Egress) != 1 || len(egress.Egress[0].To) != 0 ||
		egress.Ingress[0].From[0].PodSelector == nil || egress.Ingress[0].From[0].NamespaceSelector != nil {
		t.Errorf("allow-egress: %+v", egress)
	}
	for name, want := range map[string]struct {
		port int
		app  string
	}{"allow-scraping": {8080, ""}, "allow-webhooks": {9292, "notification-controller"}} {
		s := get[netv1.NetworkPolicy](t, objects, "NetworkPolicy", name).Spec
		in := s.Ingress[0]
		if s.PodSelector.MatchLabels["app"] != want.app || in.From[0].NamespaceSelector == nil || in.Ports[0].Port.IntValue() != want.port || *in.Ports[0].Protocol != "TCP" {
			t.Errorf("%s: %+v", name, s)
		}
	}
	quota := get[corev1.ResourceQuota](t, objects, "ResourceQuota", "critical-pods-flux-system").Spec
	scope := quota.ScopeSelector.MatchExpressions[0]
	if quota.Hard.Pods().Value() != 1000 || scope.ScopeName != "PriorityClass" || scope.Operator != "In" ||
		!slices.Equal(scope.Values, []string{"system-node-critical", "system-cluster-critical"}) {
		t.Errorf("critical-pods: %+v", quota)
	}
}
