package cli

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/gitops-toolkit/flux/internal/registry/registrytest"
)

// recordedReceiver is where the recorded run called webhooks.
const recordedReceiver = "127.0.0.1:19292"

// recordedRegistry is the registry of the recorded run.
const recordedRegistry = "127.0.0.1:5000"

var (
	registriesMu sync.Mutex
	registries   = map[string]*registrytest.Server{}
)

// registryOf returns the address of the test's registry and the recorded one that it stands for. The registry is
// started when the first command names it.
func registryOf(t *testing.T, tr transcript) (here, there string) {
	t.Helper()
	if strings.HasPrefix(strings.Join(tr.args, " "), "trigger ") {
		return strings.TrimPrefix(receiverServer(t).URL, "http://"), recordedReceiver
	}
	if !slices.ContainsFunc(tr.args, func(arg string) bool { return strings.Contains(arg, recordedRegistry+"/") }) || !slices.ContainsFunc(tr.args, isArtifact) {
		return recordedRegistry, recordedRegistry
	}
	registriesMu.Lock()
	defer registriesMu.Unlock()
	server := registries[t.Name()]
	if server == nil {
		server = registrytest.Start(t, registrytest.Options{})
		registries[t.Name()] = server
	}
	return server.Host, recordedRegistry
}

// pathOf is an argument as it is said here: one command was run in the directory that it pushed.
func pathOf(tr transcript, arg string) string {
	if tr.name == "001-push-artifact" && arg == "." {
		return "in/oci"
	}
	return arg
}

func isArtifact(arg string) bool { return strings.HasPrefix(arg, "artifact") }

// writeArtifactInputs makes the files that were pushed and compared.
func writeArtifactInputs(t *testing.T, dir string) {
	t.Helper()
	for name, text := range map[string]string{
		"in/oci/manifests/cm.yaml": "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: from-oci, namespace: apps}\ndata: {k: v}\n",
		"in/oci/readme.txt":        "text\n",
		"in/bucket/cm.yaml":        "other: content\n",
		"pullout/old":              "",
		"in/manifests/ks.yaml":     "apiVersion: kustomize.toolkit.fluxcd.io/v1\nkind: Kustomization\nmetadata: {name: x}\n",
	} {
		path := filepath.Join(dir, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}
