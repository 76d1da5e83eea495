package tracker

import (
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"

	"k8s.io/client-go/rest"

	"github.com/gitops-toolkit/flux/internal/apply"
	"github.com/gitops-toolkit/flux/internal/testenv"
)

// thirty are kinds that tenants have, as group/version/Kind.
const thirty = `/v1/ConfigMap /v1/Secret /v1/Service /v1/ServiceAccount /v1/LimitRange /v1/ResourceQuota /v1/Pod
/v1/PersistentVolumeClaim /v1/ReplicationController /v1/PodTemplate /v1/PersistentVolume apps/v1/Deployment apps/v1/StatefulSet
apps/v1/DaemonSet apps/v1/ReplicaSet apps/v1/ControllerRevision batch/v1/Job batch/v1/CronJob
autoscaling/v2/HorizontalPodAutoscaler policy/v1/PodDisruptionBudget networking.k8s.io/v1/Ingress
networking.k8s.io/v1/NetworkPolicy rbac.authorization.k8s.io/v1/Role rbac.authorization.k8s.io/v1/RoleBinding
rbac.authorization.k8s.io/v1/ClusterRole rbac.authorization.k8s.io/v1/ClusterRoleBinding coordination.k8s.io/v1/Lease
discovery.k8s.io/v1/EndpointSlice storage.k8s.io/v1/StorageClass scheduling.k8s.io/v1/PriorityClass`

// Two hundred tenants with thirty kinds each cost thirty watches, and what happens to one of them
// wakes nobody else.
func TestManyTenants(t *testing.T) {
	t.Parallel()
	const tenants = 200
	var mu sync.Mutex
	asked := map[string]int{}
	b := newBench(t, func(o *Options) {
		o.Client = connect(t, func(c *rest.Config) {
			c.Wrap(func(rt http.RoundTripper) http.RoundTripper {
				return testenv.RoundTrip(func(r *http.Request) (*http.Response, error) {
					if q := r.URL.Query(); q.Get("labelSelector") != "" {
						mu.Lock()
						asked[fmt.Sprint(r.URL.Path, " watch=", q.Get("watch"))]++
						mu.Unlock()
					}
					return rt.RoundTrip(r)
				})
			})
		})
	})
	b.pass(oneMap, b.owner.AtRevision())
	kinds := strings.Fields(thirty)
	owners := make([]*Owner, tenants)
	for n := range owners {
		var inv apply.Inventory
		for _, kind := range kinds {
			group, rest, _ := strings.Cut(kind, "/")
			version, kind, _ := strings.Cut(rest, "/")
			inv = append(inv, apply.Entry{ID: apply.NewID(b.ns, fmt.Sprint("app-", n), group, kind), Version: version})
		}
		owners[n] = b.tracker.Owner(Key{Namespace: b.ns, Name: fmt.Sprint("tenant-", n)})
		owners[n].Configure(0, true)
		owners[n].Follow(inv)
	}
	b.await("all lists", func() bool {
		for _, o := range owners {
			if !o.Synced() {
				return false
			}
		}
		return true
	})
	b.drain()
	b.patch("cm", "someone", `{"data":{"k":"x"}}`)
	b.awaitNotify()
	select {
	case key := <-b.notified:
		if key != b.key {
			t.Errorf("%v was told of a drift of %v", key, b.key)
		}
	default:
	}
	if s := b.tracker.stats(); s.Kinds != len(kinds) || s.Objects != tenants*len(kinds)+1 || len(s.Denied) != 0 {
		t.Errorf("%+v", s)
	}
	mu.Lock()
	defer mu.Unlock()
	if len(asked) > 2*len(kinds) {
		t.Errorf("%d lists and watches for %d kinds", len(asked), len(kinds))
	}
	for what, times := range asked {
		if times > 1 {
			t.Errorf("%s: %d times", what, times)
		}
	}
}
