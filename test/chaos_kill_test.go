package test

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/gitops-toolkit/flux/test/harness"
	"github.com/gitops-toolkit/flux/test/servers/git"
)

var configMaps = schema.GroupVersionResource{Version: "v1", Resource: "configmaps"}

// fleet is what Git holds: for each application its ConfigMaps and their values.
type fleet map[string]map[string]string

// step returns a change of about a tenth of the fleet: values set, objects added and removed.
func (f fleet) step(r *rand.Rand, round int) git.Change {
	c := git.Change{Branch: "master", Message: fmt.Sprint("round ", round), Files: map[string]string{}}
	names := slices.Sorted(maps.Keys(f))
	r.Shuffle(len(names), func(a, b int) { names[a], names[b] = names[b], names[a] })
	for n, app := range names[:max(1, len(names)/5)] {
		objects := f[app]
		file := func(object string) string { return app + "/" + object + ".yaml" }
		victim := slices.Sorted(maps.Keys(objects))[r.IntN(len(objects))]
		switch {
		case n%3 == 0:
			added := fmt.Sprintf("%s-r%d", app, round)
			objects[added] = fmt.Sprint("v", round)
			c.Files[file(added)] = configMap(added, objects[added])
		case n%3 == 1 && len(objects) > 2:
			delete(objects, victim)
			c.Delete = append(c.Delete, file(victim))
		default:
			objects[victim] = fmt.Sprint("v", round)
			c.Files[file(victim)] = configMap(victim, objects[victim])
		}
	}
	return c
}

// TestKillAtRandom kills a controller at ten random moments while fifty Kustomizations are
// installed and changed. All converge on the last commit; nothing is written twice with the same
// content, lost or left behind.
func TestKillAtRandom(t *testing.T) {
	if testing.Short() {
		t.Skip("takes a sandbox of its own")
	}
	const apps, kills = 50, 10
	i := maroon(t, "chaos", "--concurrent=4")
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 0))

	desired, first := fleet{}, map[string]string{}
	for a := range apps {
		app := fmt.Sprintf("app%02d", a)
		desired[app] = map[string]string{}
		for o := range 4 {
			name := fmt.Sprintf("%s-%d", app, o)
			desired[app][name] = "v0"
			first[app+"/"+name+".yaml"] = configMap(name, "v0")
		}
	}
	i.commit(first)
	churn, err := harness.FollowChurn(i.ctx, i.dyn, configMaps, i.ns)
	i.must(err, "watch the ConfigMaps")
	i.createFleet(desired, "10m")

	victims := []*harness.Process{i.kustomize, i.source}
	last := ""
	for round := range kills {
		time.Sleep(time.Duration(100+r.IntN(1900)) * time.Millisecond) // the random moment
		p := victims[r.IntN(len(victims))]
		p.Kill()
		hash, err := i.repo.Apply(desired.step(r, round+1))
		i.must(err, "commit")
		last = "master@sha1:" + hash
		i.must(p.Start(i.ctx), "start "+p.Name+" again")
	}
	for app := range desired {
		i.await("Kustomization", app, "Ready at "+last, func(o *unstructured.Unstructured) bool {
			applied, _, _ := unstructured.NestedString(o.Object, "status", "lastAppliedRevision")
			return applied == last && conditionOf(o, "Ready").status == "True"
		})
	}
	i.holdsExactly(desired)
	changes, idle, err := churn.Stop()
	i.must(err, "follow the ConfigMaps")
	if len(idle) > 0 {
		t.Errorf("%d writes moved a resourceVersion without changing the object:\n%s", len(idle), strings.Join(idle, "\n"))
	}
	t.Logf("%d kills, %d changes of objects; requests: %s", kills, changes, harness.Summary(i.requests()))
}

// createFleet creates the source and a Kustomization for each application.
func (i *island) createFleet(f fleet, interval string) {
	i.Helper()
	i.apply(`
apiVersion: source.toolkit.fluxcd.io/v1
kind: GitRepository
metadata: {name: podinfo}
spec: {interval: 1s, url: $URL}
`)
	for app := range f {
		i.apply(fmt.Sprintf(`
apiVersion: kustomize.toolkit.fluxcd.io/v1
kind: Kustomization
metadata: {name: %s}
spec:
  interval: %s
  retryInterval: 1s
  targetNamespace: $NS
  path: %s
  prune: true
  sourceRef: {kind: GitRepository, name: podinfo}
`, app, interval, app))
	}
}

// holdsExactly compares three views: what Git holds, the inventories, and the live objects by
// their owner labels.
func (i *island) holdsExactly(f fleet) {
	i.Helper()
	const group = "kustomize.toolkit.fluxcd.io"
	list := &unstructured.UnstructuredList{}
	list.SetGroupVersionKind(schema.GroupVersionKind{Version: "v1", Kind: "ConfigMapList"})
	i.must(i.c.List(i.ctx, list, client.InNamespace(i.ns), client.HasLabels{group + "/name"}), "list ConfigMaps")
	live := fleet{}
	for _, o := range list.Items {
		app := o.GetLabels()[group+"/name"]
		if live[app] == nil {
			live[app] = map[string]string{}
		}
		live[app][o.GetName()], _, _ = unstructured.NestedString(o.Object, "data", "key")
	}
	for app, objects := range f {
		if !maps.Equal(objects, live[app]) {
			i.Errorf("%s: the cluster holds %v, Git %v", app, live[app], objects)
		}
		entries, _, _ := unstructured.NestedSlice(i.get("Kustomization", app).Object, "status", "inventory", "entries")
		var got, want []string
		for _, e := range entries {
			got = append(got, fmt.Sprint(e.(map[string]any)["id"]))
		}
		for name := range objects {
			want = append(want, i.ns+"_"+name+"__ConfigMap")
		}
		slices.Sort(got)
		slices.Sort(want)
		if !slices.Equal(got, want) {
			i.Errorf("%s: the inventory is %v, want %v", app, got, want)
		}
	}
	for app := range live {
		if f[app] == nil {
			i.Errorf("%s owns objects and is not in Git: %v", app, live[app])
		}
	}
}
