package apply

import (
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/yaml"
)

// loadList reads a recorded List and moves its objects to the namespace of the test.
func (b *bench) loadList(path string) map[string]*unstructured.Unstructured {
	b.t.Helper()
	var list unstructured.UnstructuredList
	var raw map[string]any
	if err := yaml.Unmarshal(recorded(b.t, path), &raw); err != nil {
		b.t.Fatal(err)
	}
	list.SetUnstructuredContent(raw)
	out := map[string]*unstructured.Unstructured{}
	for i := range list.Items {
		u := &list.Items[i]
		u.SetNamespace(b.ns)
		out[u.GetName()] = u
	}
	return out
}

// createAs brings an object into the cluster under the manager that it was recorded with.
func (b *bench) createAs(u *unstructured.Unstructured) {
	b.t.Helper()
	u = u.DeepCopy()
	as := metav1.CreateOptions{FieldManager: u.GetManagedFields()[0].Manager}
	u.SetManagedFields(nil)
	u.SetResourceVersion("")
	u.SetUID("")
	m, err := b.client.mapper.For(context.Background(), u.GroupVersionKind())
	if err != nil {
		b.t.Fatal(err)
	}
	if _, err := b.client.resource(m, b.ns).Create(context.Background(), u, as); err != nil {
		b.t.Fatal(err)
	}
}

// essence is what must be equal between a recorded and a live object: content, labels, annotations
// and who owns what; not times, uids and versions.
func essence(t *testing.T, u *unstructured.Unstructured) string {
	t.Helper()
	var managers []map[string]any
	for _, e := range u.GetManagedFields() {
		if e.Subresource != "" {
			continue
		}
		managers = append(managers, map[string]any{"manager": e.Manager, "operation": e.Operation, "fields": e.FieldsV1.GetRawString()})
	}
	slices.SortFunc(managers, func(a, b map[string]any) int {
		return strings.Compare(a["manager"].(string), b["manager"].(string))
	})
	c := comparable(u)
	delete(c, "spec") // a recorded spec holds cluster IPs
	out, err := json.MarshalIndent(map[string]any{"content": c, "managers": managers}, "", " ")
	if err != nil {
		t.Fatal(err)
	}
	return string(out)
}

// TestAdoptRecorded repeats the recorded take-over of kubectl-applied ConfigMaps: what upstream left
// in the cluster is what we leave.
func TestAdoptRecorded(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	for _, u := range b.loadList("objects/adopt/b0-before.yaml") {
		b.createAs(u)
	}
	files, err := filepath.Glob("/work/shared/recorded/inputs/fleet-step3/adopt/*.yaml")
	if err != nil || len(files) == 0 {
		t.Skip("no recorded inputs")
	}
	var docs []string
	for _, f := range files {
		data, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		docs = append(docs, strings.ReplaceAll(string(data), "namespace: apps", "namespace: $NS"))
	}
	owner := testOwner
	owner.Name = "adopt"
	set, err := Prepare(context.Background(), b.client, b.parse(strings.Join(docs, "\n---\n")), Preparation{Owner: owner})
	if err != nil {
		t.Fatal(err)
	}
	b.count.take()
	res, err := Apply(context.Background(), set, b.options())
	if err != nil {
		t.Fatal(err)
	}
	// Two take-overs cost a read and a patch each; three objects are left alone, two of them unasked.
	want(t, "requests", b.count.take(), "5 dry-run, 4 apply, 3 get, 2 patch")
	want(t, "changes", b.lines(res.Changes), `ConfigMap/NS/adopt-disabled skipped
ConfigMap/NS/adopt-ifnotpresent skipped
ConfigMap/NS/adopt-ignore skipped
ConfigMap/NS/adopt-merge configured
ConfigMap/NS/adopt-newifnot created
ConfigMap/NS/adopt-noprune configured
ConfigMap/NS/adopt-plain configured`)
	for name, u := range b.loadList("objects/adopt/b1-applied.yaml") {
		if name == "adopt-imm" {
			continue // its input was replaced later in the recorded run
		}
		live := b.live("v1/ConfigMap", name)
		if got, want := essence(t, live), essence(t, u); got != want {
			t.Errorf("%s:\n got %s\nwant %s", name, got, want)
		}
	}
}

// TestOwnedFieldsRecorded applies manifests whose result upstream left in the cluster and compares
// who owns what.
func TestOwnedFieldsRecorded(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct{ file, gvk, name, docs string }{
		{"objects/Deployment_sub_web-x.yaml", "apps/v1/Deployment", "web-x", `apiVersion: apps/v1
kind: Deployment
metadata: {name: web-x, namespace: $NS, labels: {team: a}, annotations: {note: b}, creationTimestamp: null}
spec:
  replicas: 0
  revisionHistoryLimit: 3
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}, creationTimestamp: null}
    spec: {containers: [{name: web, image: "127.0.0.1:5000/app:1.1.0"}]}`},
		{"objects/Service_apps_my-app.yaml", "v1/Service", "my-app", `apiVersion: v1
kind: Service
metadata: {name: my-app, namespace: $NS}
spec: {selector: {app: my-app}, ports: [{port: 80, targetPort: 8080}]}`},
		{"objects/Secret_apps_my-app.yaml", "v1/Secret", "my-app", `apiVersion: v1
kind: Secret
metadata: {name: my-app, namespace: $NS}
stringData: {password: sample}`},
	} {
		t.Run(tc.file, func(t *testing.T) {
			t.Parallel()
			var recordedObj unstructured.Unstructured
			if err := yaml.Unmarshal(recorded(t, tc.file), &recordedObj.Object); err != nil {
				t.Fatal(err)
			}
			b := newBench(t)
			b.mustApply(tc.docs, nil)
			live := b.live(tc.gvk, tc.name)
			if got, want := ownFields(t, live), ownFields(t, &recordedObj); got != want {
				t.Errorf("our fields:\n got %s\nwant %s", got, want)
			}
		})
	}
}

func ownFields(t *testing.T, u *unstructured.Unstructured) string {
	t.Helper()
	e := entryOf(u.GetManagedFields(), manager)
	if e == nil {
		t.Fatal("no entry of ours")
	}
	return e.APIVersion + " " + e.FieldsV1.GetRawString()
}
