package apply

import (
	"reflect"
	"slices"
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/yaml"
)

func object(t *testing.T, doc string) *unstructured.Unstructured {
	t.Helper()
	u := &unstructured.Unstructured{}
	if err := yaml.Unmarshal([]byte(doc), &u.Object); err != nil {
		t.Fatal(err)
	}
	return u
}

func TestNormalise(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		reason, in, out string
		unknown         []string
	}{
		{reason: "stringData is folded and wins",
			in:  "{apiVersion: v1, kind: Secret, metadata: {name: s}, data: {a: eA==, b: eA==}, stringData: {a: why}}",
			out: "{apiVersion: v1, kind: Secret, metadata: {name: s}, data: {a: d2h5, b: eA==}}"},
		{reason: "status and server metadata go",
			in:  "{apiVersion: v1, kind: ConfigMap, metadata: {name: s, creationTimestamp: null, uid: x, resourceVersion: '1', managedFields: [], annotations: {}}, status: {a: b}}",
			out: "{apiVersion: v1, kind: ConfigMap, metadata: {name: s}}"},
		{reason: "a CRD keeps its status",
			in:  "{apiVersion: apiextensions.k8s.io/v1, kind: CustomResourceDefinition, metadata: {name: s}, status: {a: b}}",
			out: "{apiVersion: apiextensions.k8s.io/v1, kind: CustomResourceDefinition, metadata: {name: s}, status: {a: b}}"},
		{reason: "a CRD's placeholder for a certificate goes",
			in:  "{apiVersion: apiextensions.k8s.io/v1, kind: CustomResourceDefinition, metadata: {name: s}, spec: {conversion: {webhook: {clientConfig: {caBundle: Cg==, url: u}}}}}",
			out: "{apiVersion: apiextensions.k8s.io/v1, kind: CustomResourceDefinition, metadata: {name: s}, spec: {conversion: {webhook: {clientConfig: {url: u}}}}}"},
		{reason: "ports get their protocol",
			in:  "{apiVersion: v1, kind: Service, metadata: {name: s}, spec: {ports: [{port: 1}, {port: 2, protocol: UDP}]}}",
			out: "{apiVersion: v1, kind: Service, metadata: {name: s}, spec: {ports: [{port: 1, protocol: TCP, targetPort: 0}, {port: 2, protocol: UDP, targetPort: 0}]}}"},
		{reason: "workloads get the empty structs that upstream owns",
			in:  "{apiVersion: apps/v1, kind: Deployment, metadata: {name: d}, spec: {template: {metadata: {creationTimestamp: null}, spec: {initContainers: [{name: i, ports: [{containerPort: 1}]}], containers: [{name: c}]}}}}",
			out: "{apiVersion: apps/v1, kind: Deployment, metadata: {name: d}, spec: {strategy: {}, template: {metadata: {}, spec: {initContainers: [{name: i, ports: [{containerPort: 1, protocol: TCP}], resources: {}}], containers: [{name: c, resources: {}}]}}}}"},
		{reason: "unknown fields are dropped and named", unknown: []string{"spec.replcas", "spec.template.spec.containers[1].imge"},
			in:  "{apiVersion: apps/v1, kind: Deployment, metadata: {name: d}, spec: {replcas: 1, replicas: 0, template: {spec: {hostNetwork: false, containers: [{name: a}, {name: b, imge: i}]}}}}",
			out: "{apiVersion: apps/v1, kind: Deployment, metadata: {name: d}, spec: {replicas: 0, strategy: {}, template: {metadata: {}, spec: {containers: [{name: a, resources: {}}, {name: b, resources: {}}]}}}}"},
		{reason: "a value of the wrong type is left for the server to refuse",
			in:  "{apiVersion: apps/v1, kind: Deployment, metadata: {name: d}, spec: {replicas: three}}",
			out: "{apiVersion: apps/v1, kind: Deployment, metadata: {name: d}, spec: {replicas: three}}"},
		{reason: "a namespace gets its empty spec",
			in:  "{apiVersion: v1, kind: Namespace, metadata: {name: ns}}",
			out: "{apiVersion: v1, kind: Namespace, metadata: {name: ns}, spec: {}}"},
		{reason: "no nulls are added, and none are taken away",
			in:  "{apiVersion: discovery.k8s.io/v1, kind: EndpointSlice, metadata: {name: e}, addressType: IPv4, ports: null}",
			out: "{apiVersion: discovery.k8s.io/v1, kind: EndpointSlice, metadata: {name: e}, addressType: IPv4, ports: null}"},
		{reason: "roles are left alone",
			in:  "{apiVersion: rbac.authorization.k8s.io/v1, kind: ClusterRole, metadata: {name: r}, rules: null}",
			out: "{apiVersion: rbac.authorization.k8s.io/v1, kind: ClusterRole, metadata: {name: r}, rules: null}"},
		{reason: "rules that the control plane fills in are not ours",
			in:  "{apiVersion: rbac.authorization.k8s.io/v1, kind: ClusterRole, metadata: {name: r}, aggregationRule: {clusterRoleSelectors: []}, rules: []}",
			out: "{apiVersion: rbac.authorization.k8s.io/v1, kind: ClusterRole, metadata: {name: r}, aggregationRule: {clusterRoleSelectors: []}}"},
	} {
		t.Run(tc.reason, func(t *testing.T) {
			t.Parallel()
			got, want := object(t, tc.in), object(t, tc.out)
			if unknown := normalise(got); !slices.Equal(unknown, tc.unknown) {
				t.Errorf("unknown fields %q, want %q", unknown, tc.unknown)
			}
			if desiredHash(got) != desiredHash(want) { // YAML reads numbers as float64, a type may give int64
				t.Errorf("got %v\nwant %v", got.Object, want.Object)
			}
		})
	}
}

// FuzzNormalise feeds objects of any shape: the parts that are looked into come from tenants.
func FuzzNormalise(f *testing.F) {
	f.Add("{apiVersion: v1, kind: Secret, metadata: [], data: 1, stringData: {a: 1}}")
	f.Add("{apiVersion: apps/v1, kind: Deployment, metadata: {labels: 1}, spec: {template: {spec: {containers: {a: b}}}}}")
	f.Add("{apiVersion: v1, kind: Service, metadata: null, spec: {ports: [1, null]}}")
	f.Fuzz(func(_ *testing.T, doc string) {
		u := &unstructured.Unstructured{}
		if yaml.Unmarshal([]byte(doc), &u.Object) != nil || u.Object == nil {
			return
		}
		normalise(u)
		desiredHash(u)
	})
}

func TestEncryptedSecret(t *testing.T) {
	t.Parallel()
	secret := "{apiVersion: v1, kind: Secret, metadata: {name: s, namespace: apps, annotations: {kustomize.toolkit.fluxcd.io/decrypt: ANNOTATION}}, sops: {mac: x}}"
	for _, tc := range []struct {
		reason, doc, err string
	}{
		{"a SOPS envelope is refused", strings.Replace(secret, "ANNOTATION", "enabled", 1), "Secret/apps/s is SOPS encrypted, configuring decryption is required for this secret to be reconciled"},
		{"so is a value that is still encrypted", strings.NewReplacer("ANNOTATION", "enabled", "sops: {mac: x}", "stringData: {a: 'ENC[AES256_GCM,data:x]'}").Replace(secret), "Secret/apps/s is SOPS encrypted, configuring decryption is required for this secret to be reconciled"},
		{"but for an opt-out, in any case", strings.Replace(secret, "ANNOTATION", "Disabled", 1), ""},
		{"so is another built-in kind", strings.NewReplacer("kind: Secret", "kind: ConfigMap", "ANNOTATION", "enabled").Replace(secret), "ConfigMap/apps/s is SOPS encrypted, configuring decryption is required for this secret to be reconciled; files of a configMapGenerator are not decrypted: use a secretGenerator"},
		{"so is a ConfigMap that was generated from an encrypted file", strings.NewReplacer("kind: Secret", "kind: ConfigMap", "ANNOTATION", "enabled", "sops: {mac: x}", "data: {a: 'ENC[AES256_GCM,data:x]', sops_mac: x}").Replace(secret), "ConfigMap/apps/s is SOPS encrypted, configuring decryption is required for this secret to be reconciled; files of a configMapGenerator are not decrypted: use a secretGenerator"},
		{"a ConfigMap may carry an encrypted file", strings.NewReplacer("kind: Secret", "kind: ConfigMap", "ANNOTATION", "enabled", "sops: {mac: x}", "data: {'a.yaml': 'a: ENC[AES256_GCM,data:x]'}").Replace(secret), ""},
		{"other kinds may have such a field", strings.Replace(secret, "kind: Secret", "kind: Other", 1), ""},
	} {
		t.Run(tc.reason, func(t *testing.T) {
			t.Parallel()
			u := object(t, tc.doc)
			err := guardEncrypted(Object{Unstructured: u}, RefOf(u), testOwner)
			if (err == nil) != (tc.err == "") || err != nil && err.Error() != tc.err {
				t.Errorf("got %v", err)
			}
		})
	}
}

func TestLabels(t *testing.T) {
	t.Parallel()
	u := object(t, "{apiVersion: v1, kind: ConfigMap, metadata: {name: c, labels: {a: x, b: x}}}")
	Preparation{Owner: testOwner,
		Labels:      map[string]string{"b": "common", "kustomize.toolkit.fluxcd.io/name": "override"},
		Annotations: map[string]string{"note": "n"}}.Label(u)
	want := map[string]string{"a": "x", "b": "common",
		"kustomize.toolkit.fluxcd.io/name": "override", "kustomize.toolkit.fluxcd.io/namespace": "flux-system"}
	if !reflect.DeepEqual(u.GetLabels(), want) || u.GetAnnotations()["note"] != "n" {
		t.Errorf("labels %v, annotations %v", u.GetLabels(), u.GetAnnotations())
	}
}

func TestTakesOver(t *testing.T) {
	t.Parallel()
	const apply, update = metav1.ManagedFieldsOperationApply, metav1.ManagedFieldsOperationUpdate
	for _, tc := range []struct {
		manager     string
		operation   metav1.ManagedFieldsOperationType
		subresource string
		want        bool
	}{
		{"kubectl", apply, "", true},
		{"kubectl-client-side-apply", update, "", true},
		{"kubectl-edit", update, "status", false},
		{"before-first-apply", update, "", true},
		{"before-first-apply", apply, "", false},
		{manager, update, "", true},
		{manager, apply, "", false},
		{"flux-client-side-apply", update, "", false},
		{"helm", update, "", false},
		{"legacy-tool", update, "", true},
		{"legacy-tool", apply, "", true},
	} {
		e := metav1.ManagedFieldsEntry{Manager: tc.manager, Operation: tc.operation, Subresource: tc.subresource}
		if got := takesOver(e, manager, []string{"legacy"}); got != tc.want {
			t.Errorf("%s %s %q: %v", tc.manager, tc.operation, tc.subresource, got)
		}
	}
}
