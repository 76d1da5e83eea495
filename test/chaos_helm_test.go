package test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/gitops-toolkit/flux/test/harness"
)

// TestKillHelmAtRandom kills helm-controller at twenty random moments while fifty releases are installed and upgraded. All
// converge on the last values; none is left pending, and Helm's history has no gap.
func TestKillHelmAtRandom(t *testing.T) {
	if testing.Short() {
		t.Skip("takes a sandbox of its own")
	}
	const apps, kills = 50, 20
	i := maroon(t, "chaos-helm", "--concurrent=4")
	i.kustomize.Stop()
	helm, err := i.stack.Add(i.ctx, "helm-controller", "--events-addr=", "--concurrent=4")
	i.must(err, "start helm-controller")
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("helm-controller:\n%s", helm.Tail(20))
		}
	})
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 0))

	i.commit(chartFiles("chart", "demo", "1.0.0"))
	i.apply(helmChartFromGit)
	wanted := map[string]string{}
	for a := range apps {
		app := fmt.Sprintf("app%02d", a)
		wanted[app] = "v0"
		i.apply(releaseOf(app, "v0"))
	}
	for round := range kills {
		time.Sleep(time.Duration(50+r.IntN(1500)) * time.Millisecond) // the random moment
		helm.Kill()
		for range apps / 10 {
			app := fmt.Sprintf("app%02d", r.IntN(apps))
			wanted[app] = fmt.Sprint("v", round+1)
			i.apply(releaseOf(app, wanted[app]))
		}
		i.must(helm.Start(i.ctx), "start helm-controller again")
	}
	for app, value := range wanted {
		i.await("HelmRelease", app, "Ready with "+value, func(o *unstructured.Unstructured) bool {
			observed, _, _ := unstructured.NestedInt64(o.Object, "status", "observedGeneration")
			return observed == o.GetGeneration() && conditionOf(o, "Ready").status == "True"
		})
		if got, _, _ := unstructured.NestedString(i.get("ConfigMap", app).Object, "data", "key"); got != value {
			t.Errorf("%s holds %q, want %q", app, got, value)
		}
		i.wholeHistory(app)
	}
	seen, err := i.audit.Since(helm.User)
	i.must(err, "read the audit log")
	t.Logf("%d kills; requests: %s", kills, harness.Summary(seen))
}

// maxHistory is how many records Helm keeps of a release where the spec does not say.
const maxHistory = 5

// wholeHistory looks at Helm's records of a release: only the newest is deployed, none is pending, and no number is missing,
// but for those that went to make room while an older one was the last that had been deployed.
func (i *island) wholeHistory(release string) {
	i.Helper()
	list := &corev1.SecretList{}
	i.must(i.c.List(i.ctx, list, client.InNamespace(i.ns), client.MatchingLabels{"owner": "helm", "name": release}), "list Helm's records")
	status := map[int]string{}
	var versions []int
	for _, s := range list.Items {
		n, err := strconv.Atoi(s.Labels["version"])
		i.must(err, "read the version of "+s.Name)
		versions = append(versions, n)
		status[n] = s.Labels["status"]
	}
	slices.Sort(versions)
	if len(versions) == 0 {
		i.Errorf("%s: nothing is in Helm's storage", release)
		return
	}
	for n, v := range versions {
		newest := n == len(versions)-1
		kept := n == 1 && len(versions) == maxHistory && status[versions[0]] == "superseded"
		switch {
		case n > 0 && v != versions[n-1]+1 && !kept:
			i.Errorf("%s: revisions %v have a gap: %v", release, versions, status)
		case newest && status[v] != "deployed":
			i.Errorf("%s: the newest revision %d is %s", release, v, status[v])
		case !newest && status[v] != "superseded" && status[v] != "failed":
			i.Errorf("%s: revision %d of %v is %s", release, v, versions, status[v])
		}
	}
	history, _, _ := unstructured.NestedSlice(i.get("HelmRelease", release).Object, "status", "history")
	newest := int64(versions[len(versions)-1])
	for n, one := range history {
		if v := one.(map[string]any)["version"]; n == 0 && v != newest || n > 0 && v.(int64) >= history[n-1].(map[string]any)["version"].(int64) {
			i.Errorf("%s: status.history does not follow storage %v: %v", release, versions, history)
		}
	}
}
