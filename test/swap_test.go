package test

import (
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	"github.com/gitops-toolkit/flux/test/harness"
)

// recordings is what a run of upstream left behind, outside the repository.
const recordings = "/work/shared/recorded"

// swapped are the Kustomizations of the recorded fleet that were ready, all of one repository.
var swapped = []string{"namespaces", "crds", "img", "my-app", "overlay", "plain", "vars"}

// TestSwapFromUpstream brings a cluster to the state in which upstream left one (objects with their managers,
// inventories, statuses, the very commit) and starts our controllers on it. Nothing is applied, no event is sent
// and every status stays what it was, so that upstream could take it back; a requested pass finds nothing either.
func TestSwapFromUpstream(t *testing.T) {
	if testing.Short() {
		t.Skip("takes a sandbox of its own")
	}
	if _, err := os.Stat(recordings); err != nil {
		t.Skipf("no recordings of upstream in %s", recordings)
	}
	i := maroon(t, "flux-system")
	i.kustomize.Stop()
	fetch := exec.Command("git", "-C", i.repo.Dir, "fetch", "-q", recordings+"/git/fleet.bundle", "+refs/*:refs/*")
	out, err := fetch.CombinedOutput()
	i.must(err, "unbundle the recorded repository: "+string(out))

	var owned []*unstructured.Unstructured
	for _, name := range swapped {
		entries, _, _ := unstructured.NestedSlice(i.recorded("Kustomization_"+name).Object, "status", "inventory", "entries")
		for _, e := range entries {
			owned = append(owned, i.bringBack(recordOf(fmt.Sprint(e.(map[string]any)["id"]))))
		}
	}
	for _, name := range []string{"ConfigMap_flux-system_subst", "Secret_flux-system_subst"} {
		i.bringBack(name)
	}
	before := map[string]string{}
	for _, name := range swapped {
		before[name] = i.status(i.bringBack("Kustomization_" + name))
	}
	i.apply("apiVersion: source.toolkit.fluxcd.io/v1\nkind: GitRepository\nmetadata: {name: fleet}\nspec: {interval: 10m, url: $URL, ref: {branch: main}}\n")
	i.ready("GitRepository", "fleet", "main@sha1:591cf67c8668fc0fd3c4a94a0a2d278d32c4f3bf")
	versions := i.versions(owned)

	i.requests()
	i.must(i.kustomize.Start(i.ctx), "start kustomize-controller")
	for _, name := range swapped {
		i.passed(name)
	}
	i.untouched(versions, "the swap")
	for name, was := range before {
		if now := i.status(i.get("Kustomization", name)); now != was {
			t.Errorf("the status of %s became\n%s\nand was\n%s", name, now, was)
		}
	}
	t.Logf("the swap: %s", harness.Summary(i.requests()))

	for _, name := range swapped {
		token := i.request("Kustomization", name)
		i.await("Kustomization", name, "answered", func(o *unstructured.Unstructured) bool {
			at, _, _ := unstructured.NestedString(o.Object, "status", "lastHandledReconcileAt")
			return at == token && conditionOf(o, "Ready").status == "True"
		})
	}
	i.untouched(versions, "the requested passes")
}

// recorded reads an object of the recording.
func (i *island) recorded(name string) *unstructured.Unstructured {
	i.Helper()
	data, err := os.ReadFile(filepath.Join(recordings, "objects", name+".yaml"))
	i.must(err, "read the recording")
	o := &unstructured.Unstructured{}
	i.must(yaml.Unmarshal(data, &o.Object), "parse "+name)
	return o
}

// recordOf is the name of the file that holds the object of an inventory entry.
func recordOf(id string) string {
	parts := strings.Split(id, "_")
	if parts[0] == "" {
		return parts[3] + "_" + parts[1]
	}
	return parts[3] + "_" + parts[0] + "_" + parts[1]
}

// bringBack makes an object as it was recorded: content, managers and, of a Kustomization, status.
func (i *island) bringBack(name string) *unstructured.Unstructured {
	i.Helper()
	o := i.recorded(name)
	managers := o.GetManagedFields()
	status := o.Object["status"]
	delete(o.Object, "status")
	for _, field := range []string{"uid", "resourceVersion", "creationTimestamp", "generation", "managedFields"} {
		unstructured.RemoveNestedField(o.Object, "metadata", field)
	}
	if o.GetKind() == "Service" { // addresses of another cluster
		unstructured.RemoveNestedField(o.Object, "spec", "clusterIP")
		unstructured.RemoveNestedField(o.Object, "spec", "clusterIPs")
	}
	apiVersions[o.GetKind()] = o.GetAPIVersion()
	i.until("create "+name, func() error { return client.IgnoreAlreadyExists(i.c.Create(i.ctx, o)) })
	i.until("give "+name+" its managers", func() error {
		if err := i.c.Get(i.ctx, client.ObjectKeyFromObject(o), o); err != nil {
			return err
		}
		o.SetManagedFields(managers)
		return i.c.Update(i.ctx, o)
	})
	if o.GetKind() == "Kustomization" {
		o.Object["status"] = observed(status.(map[string]any), o.GetGeneration())
		i.must(i.c.Status().Update(i.ctx, o), "write the status of "+name)
	}
	return o
}

// until tries again while definitions are being established and controllers write too.
func (i *island) until(doing string, try func() error) {
	i.Helper()
	err := try()
	for n := 0; err != nil && n < 100 && i.ctx.Err() == nil; n++ {
		time.Sleep(100 * time.Millisecond) // a definition that is not served yet has nothing to watch
		err = try()
	}
	i.must(err, doing)
}

// observed makes a recorded status one of the generation that the new object has.
func observed(status map[string]any, generation int64) map[string]any {
	status["observedGeneration"] = generation
	for _, c := range status["conditions"].([]any) {
		c.(map[string]any)["observedGeneration"] = generation
	}
	return status
}

// status is what a Kustomization says, without the two optional fields that are ours.
func (i *island) status(o *unstructured.Unstructured) string {
	i.Helper()
	status := maps.Clone(o.Object["status"].(map[string]any))
	delete(status, "tracked")
	delete(status, "inputs")
	text, err := json.MarshalIndent(status, "", " ")
	i.must(err, "print a status")
	return string(text)
}

// versions reads who is at which version now.
func (i *island) versions(objects []*unstructured.Unstructured) map[string]string {
	i.Helper()
	out := map[string]string{}
	for _, o := range objects {
		live := o.DeepCopy()
		i.must(i.c.Get(i.ctx, client.ObjectKeyFromObject(o), live), "read "+o.GetName())
		managers, err := json.Marshal(live.GetManagedFields())
		i.must(err, "print managers")
		out[live.GetKind()+"/"+live.GetNamespace()+"/"+live.GetName()] = fmt.Sprint(live.GetUID(), live.GetGeneration(), ours(string(managers)))
	}
	return out
}

// ours leaves out what the control plane writes on its own, such as the status of a Deployment.
func ours(managers string) string {
	var entries, kept []map[string]any
	if json.Unmarshal([]byte(managers), &entries) != nil {
		return managers
	}
	for _, e := range entries {
		if e["subresource"] == nil && e["manager"] != "flux-sandbox" && e["manager"] != "kube-controller-manager" {
			kept = append(kept, e)
		}
	}
	text, _ := json.Marshal(kept)
	return string(text)
}

// passed waits until the controller has looked at a Kustomization.
func (i *island) passed(name string) {
	i.Helper()
	deadline := time.Now().Add(patience)
	for n, err := i.kustomize.Passes("Kustomization", name); err != nil || n == 0; n, err = i.kustomize.Passes("Kustomization", name) {
		if time.Now().After(deadline) {
			i.Fatalf("%s was never looked at: %v", name, err)
		}
		time.Sleep(200 * time.Millisecond) // a pass that finds nothing leaves nothing to watch
	}
}

// untouched checks that objects and managers are what they were, and that kustomize-controller wrote none and no event.
func (i *island) untouched(versions map[string]string, after string) {
	i.Helper()
	mark := *i.audit
	reqs, err := mark.Since(i.kustomize.User)
	i.must(err, "read the audit log")
	for _, q := range reqs {
		writes := q.Verb == "create" || q.Verb == "update" || q.Verb == "patch" || q.Verb == "delete"
		event := q.Resource == "events" && after == "the swap"
		if writes && !q.DryRun && (event || q.Resource != "kustomizations" && q.Resource != "events") {
			i.Errorf("%s: %s %s/%s", after, q, q.Namespace, q.Name)
		}
	}
	for key, was := range versions {
		kind, rest, _ := strings.Cut(key, "/")
		namespace, name, _ := strings.Cut(rest, "/")
		o := i.object(kind, name)
		o.SetNamespace(namespace)
		if now := i.versions([]*unstructured.Unstructured{o})[key]; now != was {
			i.Errorf("%s changed %s: it was\n%s\nand is\n%s", after, key, was, now)
		}
	}
}
