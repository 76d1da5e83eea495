package apply

import (
	"context"
	"errors"
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

const everything = `apiVersion: v1
kind: Pod
metadata: {name: runner, namespace: $NS-b}
spec: {serviceAccountName: runner, containers: [{name: c, image: "example.com/app:1"}]}
---
apiVersion: h5-$NS.example.com/v1
kind: Widget
metadata: {name: w, namespace: $NS-b}
spec: {size: 1}
---
apiVersion: v1
kind: ServiceAccount
metadata: {name: runner, namespace: $NS-b}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: {name: "system:h5", namespace: $NS-b}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: Role, name: "system:h5"}
subjects: [{kind: ServiceAccount, name: runner, namespace: $NS-b}]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata: {name: "system:h5", namespace: $NS-b}
rules: [{apiGroups: [""], resources: [pods], verbs: [get]}]
---
apiVersion: v1
kind: Namespace
metadata: {name: $NS-b, namespace: wrongly-set}
---
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: widgets.h5-$NS.example.com}
spec:
  group: h5-$NS.example.com
  names: {kind: Widget, plural: widgets}
  scope: Namespaced
  versions:
  - name: v1
    served: true
    storage: true
    schema: {openAPIV3Schema: {type: object, properties: {spec: {type: object, properties: {size: {type: integer}}}}}}`

// TestOneSet applies a CRD with its resource, a namespace with what lives in it, and a service
// account with its pod, in one pass, from files in the wrong order, and removes them again.
func TestOneSet(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	t.Cleanup(func() { b.sweep() })
	res := b.mustApply(everything, nil)
	requests := b.count.take()
	want(t, "changes", b.lines(res.Changes), strings.Join([]string{
		"CustomResourceDefinition/widgets.h5-NS.example.com created",
		"Namespace/NS-b created",
		"ServiceAccount/NS-b/runner created",
		"Role/NS-b/system:h5 created",
		"RoleBinding/NS-b/system:h5 created",
		"Pod/NS-b/runner created",
		"Widget/NS-b/w created",
	}, "\n"))
	t.Log("requests:", requests)
	if ids := b.inv; ids[1].ID != ID("_"+b.ns+"-b__Namespace") || !strings.Contains(string(ids[3].ID), "_system__h5_rbac.authorization.k8s.io_Role") {
		t.Errorf("inventory %v", ids)
	}

	again := b.mustApply(everything, full)
	want(t, "changes of the next pass", again.Changes.Changed().String(), "")

	pr, err := Prune(context.Background(), PruneOptions{Client: b.client, Owner: testOwner, Objects: b.inv})
	if err != nil {
		t.Fatal(err)
	}
	got := b.lines(pr.Changes)
	if !strings.HasSuffix(got, "Namespace/NS-b deleted\nCustomResourceDefinition/widgets.h5-NS.example.com deleted") || strings.Contains(got, "skipped") {
		t.Errorf("prune: %s", got)
	}
}

// sweep deletes the cluster-scoped objects of a test.
func (b *bench) sweep() {
	ctx := context.Background()
	crds := b.client.dynamic.Resource(gvr("apiextensions.k8s.io", "v1", "customresourcedefinitions"))
	_ = crds.Delete(ctx, "widgets.h5-"+b.ns+".example.com", metav1.DeleteOptions{})
	_ = b.client.dynamic.Resource(gvr("", "v1", "namespaces")).Delete(ctx, b.ns+"-b", metav1.DeleteOptions{})
}

// TestRefusals shows that all invalid objects of a stage are named, with file and reason, and that
// nothing of the stage is written.
func TestRefusals(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	docs := `apiVersion: v1
kind: ConfigMap
metadata: {name: invalid-one, namespace: $NS}
data: {"n": [1, 2]}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: fine, namespace: $NS}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: typo, namespace: $NS}
spec:
  selector: {matchLabels: {app: app}}
  template: {metadata: {labels: {app: app}}, spec: {containers: [{name: c, imge: i}]}}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: nowhere, namespace: $NS-absent}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: homeless}
---
apiVersion: absent.example.com/v1
kind: Unknown
metadata: {name: u, namespace: $NS}
---
apiVersion: v1
kind: Service
metadata: {name: bad, namespace: $NS}
spec: {ports: [{port: 99999}]}`
	res, err := b.apply(docs, nil)
	var failed *FailedError
	if !errors.As(err, &failed) {
		t.Fatalf("got %v", err)
	}
	text := strings.ReplaceAll(err.Error(), b.ns, "NS")
	for _, line := range []string{
		"ConfigMap/NS/invalid-one dry-run failed: failed to create typed patch object (NS/invalid-one; /v1, Kind=ConfigMap): .data.n: expected string, got &value.valueUnstructured{Value:[]interface {}{1, 2}}\n  in doc0.yaml\n",
		"Deployment/NS/typo dry-run failed (Invalid): Deployment.apps \"typo\" is invalid: spec.template.spec.containers[0].image: Required value\n  in doc2.yaml\n  unknown field spec.template.spec.containers[0].imge was ignored: correct or remove it\n",
		"ConfigMap/NS-absent/nowhere not found: namespaces \"NS-absent\" not found\n  in doc3.yaml\n",
		"ConfigMap/homeless namespace not specified: the server could not find the requested resource\n  in doc4.yaml\n",
		"Unknown/NS/u dry-run failed: no matches for kind \"Unknown\" in version \"absent.example.com/v1\"\n  in doc5.yaml\n",
		"Service/NS/bad dry-run failed (Invalid): Service \"bad\" is invalid: [spec.ports[0].port: Invalid value: 99999: must be between 1 and 65535, inclusive, spec.ports[0].targetPort: Invalid value: 99999: must be between 1 and 65535, inclusive]\n  in doc6.yaml\n",
	} {
		if !strings.Contains(text, line) {
			t.Errorf("missing:\n%s\nin:\n%s", line, text)
		}
	}
	want(t, "changes", res.Changes.String(), "")
	if _, err := b.client.Get(context.Background(), b.ref("v1/ConfigMap", "fine")); err == nil {
		t.Error("an object was written although others of its stage are invalid")
	}

	res, err = b.apply(docs, func(o *Options) { o.ContinueOnError = true })
	if !errors.As(err, &failed) || len(failed.Failures) != 6 {
		t.Fatalf("got %v", err)
	}
	want(t, "changes with ContinueOnError", b.lines(res.Changes), "ConfigMap/NS/fine created")
}

// TestUnknownFields shows that a field that a built-in kind does not have is dropped and named.
func TestUnknownFields(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	const docs = `apiVersion: v1
kind: Service
metadata: {name: typo, namespace: $NS}
spec: {prots: [{port: 1}], ports: [{port: 80}]}`
	set := b.prepare(docs)
	fields := set.UnknownFields()
	if len(fields) != 1 {
		t.Fatalf("got %v", fields)
	}
	want(t, "report", strings.ReplaceAll(fields[0].String(), b.ns, "NS"), "Service/NS/typo: unknown field spec.prots in doc0.yaml was ignored; correct or remove it")
	res := b.mustApply(docs, nil)
	want(t, "changes", b.lines(res.Changes), "Service/NS/typo created")
}

// TestCompletedStages shows what the error text says of the stages before.
func TestCompletedStages(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	t.Cleanup(b.sweep)
	_, err := b.apply(`apiVersion: v1
kind: Namespace
metadata: {name: $NS-b}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: bad, namespace: $NS-b}
data: {"n": [1]}`, nil)
	text := strings.ReplaceAll(err.Error(), b.ns, "NS")
	if !strings.HasSuffix(text, "\n  in doc1.yaml\nNamespace/NS-b created") {
		t.Errorf("got %s", text)
	}
}
