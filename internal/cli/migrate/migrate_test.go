package migrate_test

import (
	"bytes"
	"context"
	"strings"
	"testing"

	"github.com/gitops-toolkit/flux/internal/cli"
	"github.com/gitops-toolkit/flux/internal/cli/clitest"
	"github.com/gitops-toolkit/flux/internal/cli/kinds"
)

// TestCluster: objects are written once in the stored version, with managers' entries of older versions
// brought along, and then the definition names no older version as stored.
func TestCluster(t *testing.T) {
	t.Setenv("HOME", t.TempDir())
	server, k := clitest.New(t), kinds.ImagePolicy
	crds := kinds.CRDs
	server.Serve(
		clitest.Served{Group: crds.Group, Version: crds.Version, Plural: crds.Plural, Kind: crds.Kind, Clusters: true},
		clitest.Served{Group: k.Group, Version: k.Version, Plural: k.Plural, Kind: k.Kind},
	)
	name := k.Plural + "." + k.Group
	server.Add(t, &clitest.Object{Object: map[string]any{
		"apiVersion": "apiextensions.k8s.io/v1", "kind": crds.Kind,
		"metadata": map[string]any{"name": name, "labels": map[string]any{"app.kubernetes.io/part-of": "flux"}},
		"spec": map[string]any{
			"group": k.Group, "scope": "Namespaced", "names": map[string]any{"kind": k.Kind, "plural": k.Plural},
			"versions": []any{map[string]any{"name": "v1beta2", "served": true}, map[string]any{"name": "v1", "served": true, "storage": true}},
		},
		"status": map[string]any{"storedVersions": []any{"v1beta2", "v1"}},
	}})
	server.Add(t, &clitest.Object{Object: map[string]any{
		"apiVersion": k.Group + "/v1", "kind": k.Kind,
		"metadata": map[string]any{
			"name": "app", "namespace": "apps",
			"managedFields": []any{
				map[string]any{"manager": "old", "operation": "Apply", "apiVersion": k.Group + "/v1beta2", "fieldsType": "FieldsV1"},
				map[string]any{"manager": "other", "operation": "Update", "apiVersion": "v1", "fieldsType": "FieldsV1"},
			},
		},
	}})
	var out, said bytes.Buffer
	code := cli.Main(context.Background(), []string{"migrate", "--kubeconfig", server.Kubeconfig(t)}, strings.NewReader(""), &out, &said)
	want := "► starting migration of custom resources\n✔ ImagePolicy/apps/app migrated to version v1\n✔ " + name + " migrated to storage version v1\n✔ custom resources migrated successfully\n"
	if code != 0 || said.String() != want {
		t.Errorf("exit %d, %s", code, &said)
	}
	entries := server.Get(k.Kind, "apps", "app").GetManagedFields()
	if len(entries) != 2 || entries[0].APIVersion != k.Group+"/v1" || entries[1].APIVersion != "v1" {
		t.Errorf("managedFields: %v", entries)
	}
	crd := server.Get(crds.Kind, "", name)
	if stored := crd.Object["status"].(map[string]any)["storedVersions"]; len(stored.([]any)) != 1 {
		t.Errorf("stored versions: %v", stored)
	}
}
