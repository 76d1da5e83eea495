package apply

import (
	"context"
	"errors"
	"strings"
	"testing"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/rest"
)

func (b *bench) configMaps() Mapping {
	return Mapping{Resource: gvr("", "v1", "configmaps"), Namespaced: true}
}

// edit merges JSON into a ConfigMap as another manager.
func (b *bench) edit(name, as, patch string) {
	b.t.Helper()
	opts := metav1.PatchOptions{FieldManager: as}
	_, err := b.client.resource(b.configMaps(), b.ns).Patch(context.Background(), name, types.MergePatchType, []byte(patch), opts)
	if err != nil {
		b.t.Fatal(err)
	}
}

const immutableV1 = `apiVersion: v1
kind: ConfigMap
metadata: {name: imm, namespace: $NS}
immutable: true
data: {k: "1"}`

// TestImmutable shows what happens when a field that cannot change is to change.
func TestImmutable(t *testing.T) {
	t.Parallel()
	v2 := strings.Replace(immutableV1, `"1"`, `"2"`, 1)
	forced := strings.Replace(v2, "$NS}", "$NS, annotations: {kustomize.toolkit.fluxcd.io/force: Enabled}}", 1)
	for _, tc := range []struct {
		reason string
		docs   string
		force  bool
		live   string // patch by kubectl before
		err    string
	}{
		{reason: "not allowed", docs: v2, err: "ConfigMap/NS/imm dry-run failed (Invalid): ConfigMap \"imm\" is invalid: data: Forbidden: field is immutable when `immutable` is set\n" +
			"  in doc0.yaml\n  to have the object deleted and created anew, annotate it with kustomize.toolkit.fluxcd.io/force: enabled or set spec.force\n"},
		{reason: "allowed for all", docs: v2, force: true},
		{reason: "allowed for this one, in any case", docs: forced},
		{reason: "allowed by the live object", docs: v2, live: `{"metadata":{"labels":{"kustomize.toolkit.fluxcd.io/force":"enabled"}}}`},
		{reason: "kubectl owned it too: nothing is left to clean up", docs: v2, force: true, live: `{"metadata":{"annotations":{"kubectl.kubernetes.io/last-applied-configuration":"{}"}}}`},
		{reason: "wrong for another reason: nothing is deleted", docs: strings.Replace(v2, `data: {k: "2"}`, `data: {"not a key": "2"}`, 1), force: true, err: "Invalid value"},
	} {
		t.Run(tc.reason, func(t *testing.T) {
			t.Parallel()
			b := newBench(t)
			b.mustApply(immutableV1, nil)
			if tc.live != "" {
				b.edit("imm", "kubectl-edit", tc.live)
			}
			before := b.live("v1/ConfigMap", "imm").GetUID()
			b.count.take()
			res, err := b.apply(tc.docs, func(o *Options) { o.Force = tc.force })
			after := b.live("v1/ConfigMap", "imm")
			if tc.err != "" {
				if err == nil || !strings.Contains(strings.ReplaceAll(err.Error(), b.ns, "NS"), tc.err) {
					t.Errorf("got %v, want %s", err, tc.err)
				}
				if after.GetUID() != before {
					t.Error("the object was deleted")
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			want(t, "changes", b.lines(res.Changes), "ConfigMap/NS/imm created")
			if after.GetUID() == before || after.Object["data"].(map[string]any)["k"] != "2" {
				t.Errorf("not recreated: %v", after.Object)
			}
		})
	}
}

// TestFixedFields shows that the way out is named also where the server does not call a field immutable, and only where
// it is one.
func TestFixedFields(t *testing.T) {
	t.Parallel()
	const hint = "to have the object deleted and created anew"
	const pod = `apiVersion: v1
kind: Pod
metadata: {name: db, namespace: $NS}
spec: {containers: [{name: c, image: "db:1", workingDir: /one}]}`
	b := newBench(t)
	b.mustApply(pod, nil)
	_, err := b.apply(strings.Replace(pod, "/one", "/two", 1), nil)
	if err == nil || namesImmutable(err) || !strings.Contains(err.Error(), hint) {
		t.Errorf("got %v", err)
	}
	if _, err = b.apply(strings.Replace(pod, "name: c,", "name: C,", 1), nil); err == nil || strings.Contains(err.Error(), hint) {
		t.Errorf("force would not cure this: %v", err)
	}
}

// TestLivePolicies shows that labels and annotations of the live object count.
func TestLivePolicies(t *testing.T) {
	t.Parallel()
	const doc = `apiVersion: v1
kind: ConfigMap
metadata: {name: c, namespace: $NS}
data: {k: git}`
	for _, tc := range []struct{ reason, live, as, want, data string }{
		{"reconcile disabled", `{"metadata":{"annotations":{"kustomize.toolkit.fluxcd.io/reconcile":"Disabled"}},"data":{"k":"mine"}}`, "me", "skipped", "mine"},
		{"ssa Ignore as a label", `{"metadata":{"labels":{"kustomize.toolkit.fluxcd.io/ssa":"ignore"}},"data":{"k":"mine"}}`, "me", "skipped", "mine"},
		{"kubectl edit is taken over", `{"data":{"extra":"x"}}`, "kubectl-edit", "configured", "git"},
		{"another manager's field stays", `{"data":{"extra":"x"}}`, "me", "unchanged", "git"},
		{"ssa Merge keeps kubectl's field", `{"metadata":{"annotations":{"kustomize.toolkit.fluxcd.io/ssa":"Merge"}},"data":{"extra":"x"}}`, "kubectl-edit", "unchanged", "git"},
	} {
		t.Run(tc.reason, func(t *testing.T) {
			t.Parallel()
			b := newBench(t)
			b.mustApply(doc, nil)
			b.edit("c", tc.as, tc.live)
			res := b.mustApply(doc, full)
			want(t, "change", b.lines(res.Changes), "ConfigMap/NS/c "+tc.want)
			data := b.live("v1/ConfigMap", "c").Object["data"].(map[string]any)
			want(t, "data.k", data["k"].(string), tc.data)
			if _, stays := data["extra"]; stays != (tc.want == "unchanged") {
				t.Errorf("data %v", data)
			}
		})
	}
}

// TestTakeOverRace shows that a clean-up starts again when the object changed in between.
func TestTakeOverRace(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	const doc = `apiVersion: v1
kind: ConfigMap
metadata: {name: c, namespace: $NS}
data: {k: git}`
	b.mustApply(doc, nil)
	b.edit("c", "kubectl-edit", `{"data":{"extra":"x"}}`)
	other := plainClient(t, nil)
	raced := false
	b.count.before = func(class string) {
		if class != "patch" || raced {
			return
		}
		raced = true
		opts := metav1.PatchOptions{FieldManager: "kubectl-patch"}
		_, err := other.resource(b.configMaps(), b.ns).Patch(context.Background(), "c", types.MergePatchType, []byte(`{"data":{"late":"x"}}`), opts)
		if err != nil {
			t.Error(err)
		}
	}
	b.mustApply(doc, full)
	data := b.live("v1/ConfigMap", "c").Object["data"].(map[string]any)
	if len(data) != 1 || !raced {
		t.Errorf("data %v, raced %v", data, raced)
	}
}

// TestTakeOverRemoves: what leaves the description goes, also in the write that takes another manager over.
func TestTakeOverRemoves(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	const doc = `apiVersion: v1
kind: ConfigMap
metadata: {name: c, namespace: $NS}
data: {stays: git`
	b.mustApply(doc+", goes: git}", nil)
	b.edit("c", "kubectl-edit", `{"data":{"extra":"x"}}`)
	b.mustApply(doc+"}", full)
	if data := b.live("v1/ConfigMap", "c").Object["data"].(map[string]any); len(data) != 1 || data["stays"] != "git" {
		t.Errorf("data %v", data)
	}
}

// TestPrune shows what is deleted, what is spared, and that one failure does not stop the others.
func TestPrune(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	doc := func(name string) string {
		return "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: " + name + ", namespace: $NS}"
	}
	const secret = "\n---\napiVersion: v1\nkind: Secret\nmetadata: {name: forbidden, namespace: $NS}"
	names := []string{"a", "gone", "labelled", "annotated", "moved", "disabled"}
	var docs []string
	for _, n := range names {
		docs = append(docs, doc(n))
	}
	b.mustApply(strings.Join(docs, "\n---\n")+secret, nil)
	b.edit("labelled", "me", `{"metadata":{"labels":{"kustomize.toolkit.fluxcd.io/prune":"Disabled"}}}`)
	b.edit("annotated", "me", `{"metadata":{"annotations":{"kustomize.toolkit.fluxcd.io/ssa":"Ignore"}}}`)
	b.edit("moved", "me", `{"metadata":{"labels":{"kustomize.toolkit.fluxcd.io/name":"other"}}}`)
	b.edit("disabled", "me", `{"metadata":{"annotations":{"kustomize.toolkit.fluxcd.io/reconcile":"disabled"}}}`)
	if err := b.client.resource(b.configMaps(), b.ns).Delete(context.Background(), "gone", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	b.grant("tenant", `{"apiGroups":[""],"resources":["configmaps"],"verbs":["get","delete"]},{"apiGroups":[""],"resources":["secrets"],"verbs":["get"]}`)
	tenant := plainClient(t, func(c *rest.Config) {
		c.Impersonate = rest.ImpersonationConfig{UserName: "system:serviceaccount:" + b.ns + ":tenant"}
	})

	stale := append(b.inv, Entry{ID: NewID(b.ns, "x", "absent.example.com", "Gone"), Version: "v1"})
	res, err := Prune(context.Background(), PruneOptions{Client: tenant, Owner: testOwner, Objects: stale})
	if !strings.HasPrefix(err.Error(), "delete failed, errors: Secret/"+b.ns+"/forbidden delete failed: secrets \"forbidden\" is forbidden") || !strings.HasSuffix(err.Error(), ";") {
		t.Errorf("error %q", err)
	}
	var perr *PruneError
	if !errors.As(err, &perr) || !apierrors.IsForbidden(perr.Errs[0]) {
		t.Errorf("error %v", err)
	}
	want(t, "changes", b.lines(res.Changes), `Gone/NS/x deleted
ConfigMap/NS/moved skipped
ConfigMap/NS/labelled skipped
ConfigMap/NS/gone deleted
ConfigMap/NS/disabled skipped
ConfigMap/NS/annotated skipped
ConfigMap/NS/a deleted`)
	if len(res.Survivors) != 1 || res.Survivors[0].ID != NewID(b.ns, "forbidden", "", "Secret") {
		t.Errorf("survivors %v", res.Survivors)
	}
}

// grant gives a service account of the namespace the rules of a Role, in JSON.
func (b *bench) grant(name, rules string) {
	b.t.Helper()
	set := b.prepare(`apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata: {name: ` + name + `, namespace: $NS}
rules: [` + rules + `]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: {name: ` + name + `, namespace: $NS}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: Role, name: ` + name + `}
subjects: [{kind: ServiceAccount, name: ` + name + `, namespace: $NS}]`)
	if _, err := Apply(context.Background(), set, Options{Client: b.client, FieldManager: "test"}); err != nil {
		b.t.Fatal(err)
	}
}

// TestTenantBinding applies a Role and its binding as somebody who is no admin: the binding is
// refused until the role exists, which is mended within the pass.
func TestTenantBinding(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.grant("tenant", `{"apiGroups":["rbac.authorization.k8s.io"],"resources":["roles","rolebindings"],"verbs":["get","create","patch"]},{"apiGroups":[""],"resources":["pods"],"verbs":["get"]}`)
	b.client = plainClient(t, func(c *rest.Config) {
		c.Impersonate = rest.ImpersonationConfig{UserName: "system:serviceaccount:" + b.ns + ":tenant"}
	})
	const both = `apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: {name: b, namespace: $NS}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: Role, name: r}
subjects: [{kind: ServiceAccount, name: x, namespace: $NS}]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata: {name: r, namespace: $NS}
rules: [{apiGroups: [""], resources: [pods], verbs: [get]}]`
	res := b.mustApply(both, nil)
	want(t, "changes", b.lines(res.Changes), "Role/NS/r created\nRoleBinding/NS/b created")

	_, err := b.apply(strings.Replace(both, "[get]", "[delete]", 1), nil)
	if err == nil || !strings.Contains(err.Error(), "attempting to grant RBAC permissions not currently held") {
		t.Errorf("escalation: %v", err)
	}
}
