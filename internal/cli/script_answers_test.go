package cli

import (
	"os"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
	"sigs.k8s.io/yaml"

	"github.com/gitops-toolkit/flux/internal/cli/clitest"
	"github.com/gitops-toolkit/flux/internal/cli/kinds"
)

// answered is what controllers say of objects of a kind, beside that they are ready.
var answered = map[string]map[string]any{
	"GitRepository":  {"artifact": map[string]any{"revision": "main@sha1:1234", "size": int64(2048)}},
	"OCIRepository":  {"artifact": map[string]any{"revision": "1.0.0@sha256:1234"}},
	"HelmRepository": {"artifact": map[string]any{"revision": "sha256:1234"}},
	"HelmChart":      {"artifact": map[string]any{"revision": "6.5.0"}},
	"Bucket":         {"artifact": map[string]any{"revision": "sha256:1234"}},
	"Kustomization": {"lastAppliedRevision": "main@sha1:1234", "inventory": map[string]any{"entries": []any{
		map[string]any{"id": "apps_web_apps_Deployment", "v": "v1"}, map[string]any{"id": "flux-system_gone_kustomize.toolkit.fluxcd.io_Kustomization", "v": "v1"},
	}}},
	"HelmRelease": {"history": []any{map[string]any{"chartVersion": "6.5.0", "version": int64(1), "name": "podinfo", "namespace": "apps", "status": "deployed"}},
		"inventory": map[string]any{"entries": []any{map[string]any{"id": "apps_podinfo_apps_Deployment", "v": "v1"}}}},
	"Receiver":              {"webhookPath": "/hook/1234"},
	"ImageRepository":       {"lastScanResult": map[string]any{"tagCount": int64(3)}},
	"ImagePolicy":           {"latestRef": map[string]any{"name": "ghcr.io/org/app", "tag": "6.5.0"}},
	"ImageUpdateAutomation": {"lastPushCommit": "1234"},
}

// answering plays all controllers: whatever is written is observed and ready, and requests are handled.
func answering(_, now *clitest.Object) *clitest.Object {
	k := kinds.ByKind(now.GetKind())
	if k == nil || !strings.HasSuffix(now.GroupVersionKind().Group, ".fluxcd.io") || k.IsStatic(k.New()) {
		return nil
	}
	status, _ := now.Object["status"].(map[string]any)
	if status == nil {
		status = map[string]any{}
	}
	for key, value := range answered[now.GetKind()] {
		status[key] = value
	}
	status["observedGeneration"] = now.GetGeneration()
	if token := now.GetAnnotations()["reconcile.fluxcd.io/requestedAt"]; token != "" {
		status["lastHandledReconcileAt"] = token
	}
	status["conditions"] = []any{map[string]any{"type": "Ready", "status": "True", "reason": "Succeeded", "message": "all is well", "observedGeneration": now.GetGeneration(), "lastTransitionTime": "2026-01-01T00:00:00Z"}}
	now.Object["status"] = status
	return now
}

// inMemory gives the script an API server of its own, in which controllers answer at once if the first
// argument is -answering; further arguments are files with the objects that are there:
// `memory [-answering] [FILE]...`.
func inMemory(t *testing.T) func(*testscript.TestScript, bool, []string) {
	return func(ts *testscript.TestScript, _ bool, args []string) {
		server := clitest.New(t)
		server.Serve(coreKinds...)
		for _, k := range kinds.All() {
			server.Serve(clitest.Served{Group: k.Group, Version: k.Version, Plural: k.Plural, Kind: k.Kind})
		}
		for _, file := range args {
			if file == "-answering" {
				server.Controller = answering
				continue
			}
			for doc := range strings.SplitSeq(ts.ReadFile(file), "---\n") {
				obj := &clitest.Object{}
				ts.Check(yaml.Unmarshal([]byte(doc), &obj.Object))
				server.Add(t, obj)
			}
		}
		ts.Setenv("KUBECONFIG", server.Kubeconfig(t))
		ts.Setenv("NS", "flux-system")
	}
}

// TestEveryCommandHasAScript: each command of the tree is run, and ends well, in a session of
// testdata/script, or of the package that has its own sandbox for it.
func TestEveryCommandHasAScript(t *testing.T) {
	t.Setenv("FLUXCD_PLUGINS", t.TempDir())
	covered := map[string]bool{}
	for _, dir := range []string{"testdata/script", "bootstrap/testdata/script"} {
		entries, err := os.ReadDir(dir)
		if err != nil {
			t.Fatal(err)
		}
		for _, entry := range entries {
			for _, path := range commandsOf(t, dir+"/"+entry.Name()) {
				covered[path] = true
			}
		}
	}
	for path, cmd := range commandTree() {
		if cmd.Runnable() && !cmd.Hidden && !covered[path] {
			t.Errorf("no session runs %s", path)
		}
	}
}
