package test

import (
	"path/filepath"
	"testing"

	"sigs.k8s.io/controller-runtime/pkg/client"
)

// TestEtcdRestored sets the cluster back to an older backup while the controllers run. Their watches
// would wait for versions that are far ahead now; they notice, list anew, and bring the cluster to
// what Git holds. After that they hear of drift again.
func TestEtcdRestored(t *testing.T) {
	if testing.Short() {
		t.Skip("takes a sandbox of its own")
	}
	i := maroon(t, "restored")
	app := fleet{"app": {"a": "v1", "b": "v1"}}
	first := i.commit(map[string]string{"app/a.yaml": configMap("a", "v1"), "app/b.yaml": configMap("b", "v1")})
	i.createFleet(app, "10m")
	i.ready("Kustomization", "app", first)
	backup := filepath.Join(t.TempDir(), "etcd")
	i.must(i.sandbox.Backup(i.ctx, backup), "back up etcd")

	i.commit(map[string]string{"app/a.yaml": configMap("a", "v2"), "app/c.yaml": configMap("c", "v2")})
	second := i.remove("app/b.yaml")
	app["app"] = map[string]string{"a": "v2", "c": "v2"}
	i.ready("Kustomization", "app", second)
	i.holdsExactly(app)

	i.must(i.sandbox.Restore(i.ctx, backup), "restore etcd")
	i.holds("ConfigMap", "a", "v2", "data", "key")
	i.ready("GitRepository", "podinfo", second)
	i.ready("Kustomization", "app", second)
	i.gone("ConfigMap", "b")
	i.holdsExactly(app)

	edit := client.RawPatch("application/merge-patch+json", []byte(`{"data":{"key":"drifted"}}`))
	i.must(i.c.Patch(i.ctx, i.object("ConfigMap", "a"), edit, client.FieldOwner("somebody")), "edit a ConfigMap")
	i.event("Kustomization", "app", "Normal", "taken by somebody")
	i.holds("ConfigMap", "a", "v2", "data", "key")
}
