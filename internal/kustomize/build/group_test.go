package build

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
)

// TestGroupsEqualTheWhole builds random large sets of manifests in groups and as one, and compares every byte.
func TestGroupsEqualTheWhole(t *testing.T) {
	t.Parallel()
	for seed := range uint64(12) {
		namespace := []string{"", "two"}[seed%2]
		random := rand.New(rand.NewPCG(seed, 1))
		root := write(t, randomManifests(random, 220+random.IntN(300)))
		grouped, err := Build(t.Context(), Options{Root: root, Spec: Spec{TargetNamespace: namespace}})
		if err != nil {
			t.Fatalf("seed %d: %v", seed, err)
		}
		// A spec that changes nothing but is not empty keeps the set whole.
		whole, err := Build(t.Context(), Options{Root: root, Spec: Spec{TargetNamespace: namespace, BuildMetadata: []string{}}})
		if err != nil {
			t.Fatalf("seed %d: %v", seed, err)
		}
		if !bytes.Equal(grouped.YAML, whole.YAML) {
			t.Fatalf("seed %d: %s", seed, firstDifference(grouped.YAML, whole.YAML))
		}
	}
}

func firstDifference(grouped, whole []byte) string {
	a, b := strings.Split(string(grouped), "---\n"), strings.Split(string(whole), "---\n")
	for i := range min(len(a), len(b)) {
		if a[i] != b[i] {
			return fmt.Sprintf("object %d in groups\n%s\nas a whole\n%s", i, a[i], b[i])
		}
	}
	return fmt.Sprintf("%d objects in groups, %d as a whole", len(a), len(b))
}

// randomManifests spreads objects that refer to each other, and scalars that are easy to change by accident, over
// files of random size.
func randomManifests(random *rand.Rand, count int) map[string]string {
	scalars := []string{
		"yes", "'yes'", "0x1F", "'0x1F'", "1e3", "\"1e3\"", "0o17", "'0o17'", "010", "1_000", "'1_000'", "~", "''", "1.10", "2001-01-01",
		"|\n    a\n    b\n", ">-\n    folded\n    text\n", "'#x'", "\"\\u00e4\\n\"", "=", "'<<'", "12345678901234567890", "!!str 5", "-0", ".5", "\"a: b\"", "on",
	}
	namespaces := []string{"", "namespace: one, ", "namespace: two, "}
	files := map[string]string{}
	for i := range count {
		ns := namespaces[random.IntN(len(namespaces))]
		meta := fmt.Sprintf("metadata: {%sname: o%d, annotations: {}} # comment\n", ns, i)
		value := scalars[random.IntN(len(scalars))]
		var object string
		switch random.IntN(8) {
		case 0:
			object = "apiVersion: v1\nkind: ServiceAccount\n" + meta
		case 1:
			object = "apiVersion: rbac.authorization.k8s.io/v1\nkind: RoleBinding\n" + meta +
				fmt.Sprintf("roleRef: {apiGroup: rbac.authorization.k8s.io, kind: Role, name: o%d}\nsubjects:\n- {kind: ServiceAccount, name: o%d}\n- {kind: ServiceAccount, name: o%d, namespace: one}\n", random.IntN(count), random.IntN(count), random.IntN(count))
		case 2:
			object = "apiVersion: v1\nkind: Service\n" + meta + "spec: {ports: [{port: 80}]}\n"
		case 3:
			object = "apiVersion: admissionregistration.k8s.io/v1\nkind: ValidatingWebhookConfiguration\n" + meta +
				fmt.Sprintf("webhooks:\n- name: w\n  clientConfig: {service: {name: o%d, namespace: two}}\n", random.IntN(count))
		case 4:
			object = strings.Replace(dep, "name: web,", fmt.Sprintf("%sname: o%d,", ns, i), 1) +
				fmt.Sprintf("      volumes: [{name: v, configMap: {name: o%d}}]\n", random.IntN(count))
			object = strings.Replace(object, "spec: {containers: [{name: web, image: \"nginx:1.0\"}]}\n", "spec:\n      containers: [{name: web, image: \"nginx:1.0\"}]\n", 1)
		case 5:
			object = "apiVersion: v1\nkind: List\nitems:\n- {apiVersion: v1, kind: ConfigMap, " + strings.TrimSuffix(meta, " # comment\n") + "}\n"
		default:
			object = "apiVersion: v1\nkind: ConfigMap\n" + meta + "data:\n  k: " + value + "\n"
		}
		files[fmt.Sprintf("d%d/f%d.yaml", random.IntN(5), random.IntN(40))] += "---\n" + object
	}
	return files
}

func TestGroupsLeaveErrorsToTheWhole(t *testing.T) {
	t.Parallel()
	files := map[string]string{}
	for i := range maxGroup + 50 {
		files[fmt.Sprintf("f%03d.yaml", i)] = fmt.Sprintf("apiVersion: v1\nkind: ConfigMap\nmetadata: {name: o%d}\n", i)
	}
	files["again.yaml"] = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: o7, namespace: default}\n"
	if _, err := Build(t.Context(), Options{Root: write(t, files)}); err == nil || !strings.Contains(err.Error(), "already registered id") {
		t.Errorf("error = %v, want kustomize's for an object that is there twice", err)
	}
}

func BenchmarkBuild(b *testing.B) {
	for _, count := range []int{4, 500, 2000} {
		files := map[string]string{}
		for i := range count {
			files[fmt.Sprintf("f%04d.yaml", i)] = fmt.Sprintf("apiVersion: v1\nkind: ConfigMap\nmetadata: {name: o%d}\ndata: {k: v}\n", i)
		}
		root := write(b, files)
		b.Run(fmt.Sprint(count), func(b *testing.B) {
			for b.Loop() {
				if _, err := Build(b.Context(), Options{Root: root}); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
