package apply

import (
	"slices"
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/runtime/schema"
)

func TestID(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		reason                   string
		ns, name, group, kind, w string
	}{
		{"namespaced, core group", "apps", "a", "", "ConfigMap", "apps_a__ConfigMap"},
		{"cluster scoped, core group", "", "apps", "", "Namespace", "_apps__Namespace"},
		{"group", "apps", "web", "apps", "Deployment", "apps_web_apps_Deployment"},
		{"colons of RBAC names", "", "system:a:b", "rbac.authorization.k8s.io", "ClusterRole", "_system__a__b_rbac.authorization.k8s.io_ClusterRole"},
	} {
		t.Run(tc.reason, func(t *testing.T) {
			t.Parallel()
			id := NewID(tc.ns, tc.name, tc.group, tc.kind)
			if string(id) != tc.w {
				t.Errorf("got %s, want %s", id, tc.w)
			}
			ns, name, group, kind, ok := id.Parse()
			if !ok || ns != tc.ns || name != tc.name || group != tc.group || kind != tc.kind {
				t.Errorf("parsed %q %q %q %q %v", ns, name, group, kind, ok)
			}
		})
	}
	for _, bad := range []ID{"", "a", "a_b", "a_b_c", "__"} {
		if _, _, _, _, ok := bad.Parse(); ok {
			t.Errorf("%q was parsed", bad)
		}
	}
}

func FuzzIDParse(f *testing.F) {
	f.Add("apps_a__ConfigMap")
	f.Fuzz(func(_ *testing.T, s string) { ID(s).Parse() })
}

func TestInventorySets(t *testing.T) {
	t.Parallel()
	a, b, c := Entry{"a", "v1"}, Entry{"b", "v1"}, Entry{"c", "v1"}
	inv := Inventory{a, b}
	if !inv.SameIDs(Inventory{{"b", "v2"}, a}) || inv.SameIDs(Inventory{a}) || inv.SameIDs(Inventory{a, b, c}) {
		t.Error("SameIDs looks at more than the set of ids, or at less")
	}
	if got := inv.Union(Inventory{c, b}); !slices.Equal(got, Inventory{a, b, c}) {
		t.Errorf("union %v", got)
	}
	if got := inv.Without(Inventory{a}); !slices.Equal(got, Inventory{b}) {
		t.Errorf("without %v", got)
	}
}

// TestOrder holds the order of kinds of the tables.
func TestOrder(t *testing.T) {
	t.Parallel()
	wanted := strings.Fields("CustomResourceDefinition Namespace ClusterRole ClusterClass RuntimeClass PriorityClass StorageClass VolumeSnapshotClass IngressClass GatewayClass ClusterRoleBinding ResourceQuota ServiceAccount Role RoleBinding ConfigMap Secret Service LimitRange Deployment StatefulSet CronJob PodDisruptionBudget DaemonSet Ingress MutatingWebhookConfiguration ValidatingWebhookConfiguration")
	kinds := slices.Clone(wanted)
	slices.Reverse(kinds)
	slices.SortFunc(kinds, func(a, b string) int {
		return compareRefs(Ref{GroupVersionKind: schema.GroupVersionKind{Kind: a}}, Ref{GroupVersionKind: schema.GroupVersionKind{Kind: b}})
	})
	if !slices.Equal(kinds, wanted) {
		t.Errorf("got %v", kinds)
	}
}

func TestStages(t *testing.T) {
	t.Parallel()
	custom, err := ParseStageKinds("rbac.authorization.k8s.io/Role, ConfigMap,/Secret")
	if err != nil {
		t.Fatal(err)
	}
	for _, wrong := range []string{"apps/", "job", "batch/v1/Job"} {
		if _, err := ParseStageKinds(wrong); err == nil {
			t.Errorf("%q is taken for a kind", wrong)
		}
	}
	for _, tc := range []struct {
		group, kind string
		want        stage
	}{
		{"apiextensions.k8s.io", "CustomResourceDefinition", stageDefinitions},
		{"", "Namespace", stageDefinitions},
		{"rbac.authorization.k8s.io", "ClusterRole", stageDefinitions},
		{"example.com", "Namespace", stageRest},
		{"example.com", "AnyClass", stageClasses},
		{"rbac.authorization.k8s.io", "Role", stageCustom},
		{"", "ConfigMap", stageCustom},
		{"", "Secret", stageCustom},
		{"apps", "Deployment", stageRest},
		{"admissionregistration.k8s.io", "ValidatingWebhookConfiguration", stageRest},
	} {
		if got := stageOf(schema.GroupKind{Group: tc.group, Kind: tc.kind}, custom); got != tc.want {
			t.Errorf("%s/%s: stage %d, want %d", tc.group, tc.kind, got, tc.want)
		}
	}
}

func TestChangeLog(t *testing.T) {
	t.Parallel()
	ref := func(kind, ns, name string) Ref {
		return Ref{GroupVersionKind: schema.GroupVersionKind{Version: "v1", Kind: kind}, Namespace: ns, Name: name}
	}
	log := ChangeLog{
		{Ref: ref("Namespace", "", "apps"), Action: Created},
		{Ref: ref("ConfigMap", "apps", "a"), Action: Unchanged},
		{Ref: ref("ConfigMap", "apps", "b"), Action: Configured},
		{Ref: ref("ConfigMap", "apps", "c"), Action: Skipped},
	}
	if got := log.Changed().String(); got != "Namespace/apps created\nConfigMap/apps/b configured" {
		t.Errorf("got %q", got)
	}
	if log.BySubject()["ConfigMap/apps/c"] != "skipped" || len(log.ByAction()["unchanged"]) != 1 {
		t.Errorf("maps: %v %v", log.BySubject(), log.ByAction())
	}
	if inv := log.Inventory(); len(inv) != 4 || inv[0].ID != "_apps__Namespace" {
		t.Errorf("inventory %v", inv)
	}
}
