package test

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/gitops-toolkit/flux/test/harness"
)

// TestServerKilledDuringRollout kills the API server ten times, and with it every watch, and a controller ten
// times, while a hundred Kustomizations are installed and changed. All converge on the last commit; no object was
// deleted or created twice, and none that is owned is missing from an inventory.
func TestServerKilledDuringRollout(t *testing.T) {
	if testing.Short() {
		t.Skip("takes a sandbox of its own")
	}
	const apps, objects, kills = 100, 4, 10
	i := maroon(t, "rollout", "--concurrent=4")
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 0))
	desired := fleet{}
	set := func(value string, share float64) map[string]string {
		files := map[string]string{}
		for a := range apps {
			app := fmt.Sprintf("app%02d", a)
			if desired[app] == nil {
				desired[app] = map[string]string{}
			}
			for o := range objects {
				if name := fmt.Sprintf("%s-%d", app, o); r.Float64() < share {
					desired[app][name] = value
					files[app+"/"+name+".yaml"] = configMap(name, value)
				}
			}
		}
		return files
	}
	i.commit(set("v0", 1))
	i.requests()
	i.createFleet(desired, "10m")
	last := ""
	victims := []*harness.Process{i.kustomize, i.source}
	for round := range kills {
		pause := func(most int) { time.Sleep(time.Duration(r.IntN(most)) * time.Millisecond) } // the random moments
		pause(1500)
		i.must(i.sandbox.Kill(i.ctx, "kube-apiserver"), "kill the API server")
		pause(300)
		victim := victims[r.IntN(len(victims))]
		victim.Kill()
		last = i.commit(set(fmt.Sprint("v", round+1), 0.2))
		i.must(i.sandbox.Await(i.ctx), "wait for the API server")
		i.must(victim.Start(i.ctx), "start "+victim.Name+" again")
	}
	for app := range desired {
		i.await("Kustomization", app, "Ready at "+last, func(o *unstructured.Unstructured) bool {
			applied, _, _ := unstructured.NestedString(o.Object, "status", "lastAppliedRevision")
			return applied == last && conditionOf(o, "Ready").status == "True"
		})
	}
	i.holdsExactly(desired)
	reqs, created := i.requests(), map[string]int{}
	for _, q := range reqs {
		switch {
		case q.Resource != "configmaps" || q.DryRun:
		case q.Verb == "delete" || q.Verb == "deletecollection":
			t.Errorf("%s %s was asked for", q, q.Name)
		case q.Code == 201:
			if created[q.Name]++; created[q.Name] > 1 {
				t.Errorf("%s was created again", q.Name)
			}
		}
	}
	t.Logf("%d creations were answered; requests: %s", len(created), harness.Summary(reqs))
}
