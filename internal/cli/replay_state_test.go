package cli

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/yaml"

	"github.com/gitops-toolkit/flux/internal/cli/clitest"
)

// pushes are the recorded commands that filled the registry.
var pushes = []string{"001-push-artifact", "251-push-artifact-json", "252-push-artifact-file"}

// prepared names the recorded commands that must have run before one.
var prepared = map[string][]string{
	"255-tag-artifact":             {"001-push-artifact"},
	"257-list-artifacts":           pushes,
	"258-list-artifacts-semver":    pushes,
	"259-list-artifacts-regex":     pushes,
	"261-pull-artifact":            {"001-push-artifact"},
	"263-pull-artifact-absent":     {"001-push-artifact"},
	"264-diff-artifact-same":       {"001-push-artifact"},
	"265-diff-artifact-changed":    {"001-push-artifact"},
	"300-tag-artifact-ok":          {"001-push-artifact"},
	"301-list-artifacts-after-tag": append(pushes, "300-tag-artifact-ok"),
	"183-create-source-git-again":  {"182-create-source-git"},
	"222-debug-ks-status":          {"004-reconcile-ks-already"},
	"237-get-ks-suspended":         {"226-suspend-ks"},
	"282-delete-noanswer":          {"188-create-ks"},
	"283-delete-ks":                {"188-create-ks"},
	"284-delete-hr":                {"189-create-hr"},
	"285-delete-source-git":        {"182-create-source-git"},
	"286-delete-source-helm":       {"185-create-source-helm"},
	"287-delete-source-oci":        {"186-create-source-oci"},
	"288-delete-source-bucket":     {"187-create-source-bucket"},
	"289-delete-alert":             {"190-create-alert"},
	"290-delete-provider":          {"191-create-provider"},
	"291-delete-receiver":          {"192-create-receiver"},
	"292-delete-image-repository":  {"193-create-image-repository"},
	"293-delete-image-policy":      {"194-create-image-policy"},
	"294-delete-source-git-bad":    {"184-create-source-git-fail"},
}

// stdins is what commands read.
var stdins = map[string]string{
	"224-envsubst":             "x: ${one:-1}\ny: ${two:=d}\nz: ${undefined}\nq: $${lit} ${env^^} ${#env} ${env:1:2}\n",
	"268-build-artifact-stdin": "text\n",
	"225-envsubst-strict":      "x: ${one:-1}\ny: ${two:=d}\nz: ${undefined}\nq: $${lit} ${env^^} ${#env} ${env:1:2}\n",
}

// readsFiles tells whether a command may name a file.
func readsFiles(tr transcript) bool {
	return slices.ContainsFunc(tr.args, func(arg string) bool {
		return isArtifact(arg) || strings.Contains(arg, "$DIR") || strings.Contains(arg, ".yaml") || strings.Contains(arg, "keys/") || strings.Contains(arg, "d/") || strings.Contains(arg, "in/") || arg == "."
	})
}

// writeInputs makes the files that commands name.
func writeInputs(t *testing.T, dir string, all map[string]transcript) {
	t.Helper()
	writeArtifactInputs(t, dir)
	inputs := filepath.Join(recordedDir(), "inputs")
	if err := os.CopyFS(filepath.Join(dir, "d"), os.DirFS(filepath.Join(inputs, "fleet"))); err != nil {
		t.Fatal(err)
	}
	manifests, err := os.ReadFile(filepath.Join(inputs, "manifests", "20-kustomizations.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	var certs struct {
		StringData map[string]string `json:"stringData"`
	}
	if err := yaml.Unmarshal([]byte(all["175-create-secret-tls"].stdout), &certs); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(filepath.Join(dir, "keys"), 0o700); err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{
		"ks-vars.yaml": string(manifests),
		"v1.yaml":      "a: 1\nb:\n  c: 1\n",
		"v2.yaml":      "b:\n  c: 2\n  d: 3\n",
		"keys/tls.crt": certs.StringData["tls.crt"],
		"keys/tls.key": certs.StringData["tls.key"],
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

const (
	commit   = "main@sha1:41c0484d5932c076a541a99723b9d9e996189d3f"
	manifest = "sha256:e02e5ddc97253fc9e18ed1574bd5acbb42bf472641b0c926d5f2912ede0cb86b"
)

// createdStatus is what controllers say of objects that a command has made.
var createdStatus = map[string]map[string]any{
	"GitRepository":  {"artifact": map[string]any{"revision": commit}},
	"OCIRepository":  {"artifact": map[string]any{"revision": "v1.0.0@" + manifest}},
	"HelmRepository": {"artifact": map[string]any{"revision": manifest}},
	"Bucket":         {"artifact": map[string]any{"revision": manifest}},
	"Kustomization":  {"lastAppliedRevision": commit},
	"HelmRelease":    {"history": []any{map[string]any{"chartVersion": "1.0.0"}}},
	"Receiver":       {"webhookPath": "/hook/0d5873f73a50018efb844448c4c51232973d831c288eacffc026fac407a97942"},
	"ImagePolicy":    {},
}

// recordedController answers as upstream's controllers did: requests are handled, a changed
// spec is observed, and what failed goes on failing.
func recordedController(old, now *clitest.Object) *clitest.Object {
	if old == nil {
		return created(now)
	}
	changed := false
	token := now.GetAnnotations()["reconcile.fluxcd.io/requestedAt"]
	if token != old.GetAnnotations()["reconcile.fluxcd.io/requestedAt"] {
		_ = unstructured.SetNestedField(now.Object, token, "status", "lastHandledReconcileAt")
		changed = true
	}
	if now.GetGeneration() != old.GetGeneration() {
		_ = unstructured.SetNestedField(now.Object, now.GetGeneration(), "status", "observedGeneration")
		changed = true
	}
	if !changed {
		return nil
	}
	return now
}

func created(now *clitest.Object) *clitest.Object {
	status, ok := createdStatus[now.GetKind()]
	if !ok || now.GetName() != "made" {
		return nil
	}
	whole := map[string]any{
		"observedGeneration": now.GetGeneration(),
		"conditions":         []any{map[string]any{"type": "Ready", "status": "True", "reason": "Succeeded", "message": "ready"}},
	}
	for key, value := range status {
		whole[key] = value
	}
	now.Object["status"] = whole
	return now
}
