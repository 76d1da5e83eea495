package apply

import (
	"context"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
)

const fourObjects = `apiVersion: v1
kind: ServiceAccount
metadata: {name: app, namespace: $NS}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: app, namespace: $NS}
data: {k: v}
---
apiVersion: v1
kind: Service
metadata: {name: app, namespace: $NS}
spec: {selector: {app: app}, ports: [{port: 80}]}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: app, namespace: $NS}
spec:
  replicas: 0
  selector: {matchLabels: {app: app}}
  template:
    metadata: {labels: {app: app}}
    spec: {containers: [{name: c, image: "example.com/app:1"}]}`

// TestRequestBudget counts every request of the passes that DESIGN section 7 gives a budget.
func TestRequestBudget(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.count.take()

	res := b.mustApply(fourObjects, nil)
	want(t, "requests of the first install (at most 2 per object + 6)", b.count.take(), "2 discovery, 4 dry-run, 4 apply")
	want(t, "first install", b.lines(res.Changes), "ServiceAccount/NS/app created\nConfigMap/NS/app created\nService/NS/app created\nDeployment/NS/app created")

	res = b.mustApply(fourObjects, nil)
	want(t, "requests of a new revision with the same objects", b.count.take(), "")
	want(t, "changes", res.Changes.Changed().String(), "")

	changed := strings.Replace(fourObjects, "{k: v}", "{k: w}", 1)
	res = b.mustApply(changed, nil)
	want(t, "requests of a new revision that changes 1 of 4", b.count.take(), "1 dry-run, 1 apply")
	want(t, "changes", b.lines(res.Changes.Changed()), "ConfigMap/NS/app configured")

	res = b.mustApply(changed, full)
	want(t, "changes of a full pass", res.Changes.Changed().String(), "")
	b.count.take()

	b.mem = &Memory{}
	res = b.mustApply(changed, full)
	want(t, "requests of a pass that remembers nothing", b.count.take(), "4 dry-run, 4 get")
	want(t, "changes of a pass that remembers nothing", res.Changes.Changed().String(), "")
}

// TestFullPass shows that a full pass needs no reads once our last writes are older than the
// server's clock can tell apart, and that it finds drift.
func TestFullPass(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.mustApply(fourObjects, nil)
	aged := func() {
		for id, r := range b.mem.records {
			r.At = r.At.Add(-time.Minute)
			b.mem.records[id] = r
		}
	}
	waitObserved(b)
	aged()
	b.count.take()
	res := b.mustApply(fourObjects, full)
	want(t, "requests of a full pass", b.count.take(), "4 dry-run")
	want(t, "changes", res.Changes.Changed().String(), "")

	// The server's stamp has a resolution of a second: wait for the next one.
	r := b.client.resource(Mapping{Resource: gvr("", "v1", "configmaps"), Namespaced: true}, b.ns)
	made := entryOf(b.live("v1/ConfigMap", "app").GetManagedFields(), manager).Time
	for time.Now().Before(made.Add(1100 * time.Millisecond)) {
		b.live("v1/ConfigMap", "app")
	}
	_, err := r.Patch(context.Background(), "app", types.MergePatchType, []byte(`{"data":{"k":"drift","extra":"stays"}}`), metav1.PatchOptions{FieldManager: "someone"})
	if err != nil {
		t.Fatal(err)
	}
	aged()
	b.count.take()
	res = b.mustApply(fourObjects, full)
	want(t, "requests of a full pass that corrects one drift", b.count.take(), "4 dry-run, 1 apply, 1 get")
	want(t, "changes", b.lines(res.Changes.Changed()), "ConfigMap/NS/app configured")
	data := b.live("v1/ConfigMap", "app").Object["data"].(map[string]any)
	if data["k"] != "v" || data["extra"] != "stays" {
		t.Errorf("data after the correction: %v", data)
	}
}

// waitObserved waits until the deployment controller wrote status, which moves resourceVersion.
func waitObserved(b *bench) {
	b.t.Helper()
	for range 200 {
		u := b.live("apps/v1/Deployment", "app")
		st, _ := u.Object["status"].(map[string]any)
		if st["observedGeneration"] == u.GetGeneration() {
			return
		}
		time.Sleep(25 * time.Millisecond)
	}
	b.t.Fatal("the deployment controller does not answer")
}
