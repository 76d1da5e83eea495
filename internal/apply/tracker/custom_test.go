package tracker

import (
	"context"
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/yaml"
)

// custom are a Gear, whose status is a subresource, and a Cog, whose status is a field like others.
const custom = `apiVersion: $NS.example.com/v1
kind: Gear
metadata: {name: app, namespace: $NS}
spec: {teeth: 3}
---
apiVersion: $NS.example.com/v1
kind: Cog
metadata: {name: app, namespace: $NS}
spec: {teeth: 3}`

var customEdits = []edit{
	{"a field of a custom resource", putBack, func(b *bench) { b.patch("gear", "someone", `{"spec":{"teeth":4}}`) }, Taken, "1 apply", "configured: .spec.teeth taken by someone at TIME"},
	{"a field added to a custom resource", leftAlone, func(b *bench) { b.patch("gear", "someone", `{"spec":{"oil":true}}`) }, Moved, "1 dry-run", none},
	{"status of a custom resource", leftAlone, func(b *bench) { b.patch("gear", "someone", `{"status":{"turns":1}}`, "status") }, InStep, none, none},
	{"status of a custom resource that has it as a field", leftAlone, func(b *bench) { b.patch("cog", "someone", `{"status":{"turns":1}}`) }, Moved, "1 dry-run", none},
	{"a custom resource deleted", createdAnew, func(b *bench) { b.del("cog") }, Gone, "1 dry-run, 1 apply", "created"},
}

// TestEditsOfCustomResources is TestEdits for kinds that a definition makes.
func TestEditsOfCustomResources(t *testing.T) {
	t.Parallel()
	b := newBench(t, nil)
	b.kinds = []string{"gear", "cog"}
	b.define("Gear", "subresources: {status: {}}")
	b.define("Cog", "")
	b.install(custom)
	for _, e := range customEdits {
		t.Run(e.reason, func(t *testing.T) {
			b.t = t
			b.age()
			b.drain()
			editIn(b, custom, &e)
		})
	}
}

// define creates the definition of a kind in the test's own group.
func (b *bench) define(kind, more string) {
	b.t.Helper()
	plural := strings.ToLower(kind) + "s"
	o := &unstructured.Unstructured{}
	text := strings.NewReplacer("KIND", kind, "PLURAL", plural, "GROUP", b.group, "MORE", more).Replace(`
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: PLURAL.GROUP}
spec:
  group: GROUP
  scope: Namespaced
  names: {kind: KIND, plural: PLURAL}
  versions:
  - name: v1
    served: true
    storage: true
    MORE
    schema: {openAPIV3Schema: {type: object, x-kubernetes-preserve-unknown-fields: true}}
`)
	if err := yaml.Unmarshal([]byte(text), &o.Object); err != nil {
		b.t.Fatal(err)
	}
	definitions := b.admin.Dynamic().Resource(crdResource)
	if _, err := definitions.Create(context.Background(), o, metav1.CreateOptions{}); err != nil {
		b.t.Fatal(err)
	}
	b.t.Cleanup(func() { _ = definitions.Delete(context.Background(), o.GetName(), metav1.DeleteOptions{}) })
	b.await(kind+" is served", func() bool {
		_, err := b.of(strings.ToLower(kind)).List(context.Background(), metav1.ListOptions{})
		return err == nil
	})
}
