package image_test

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	imagev1 "github.com/gitops-toolkit/flux/api/image/v1"
	"github.com/gitops-toolkit/flux/internal/registry/registrytest"
	"github.com/gitops-toolkit/flux/internal/testenv"
	"github.com/gitops-toolkit/flux/test/servers/git"
)

// TestTheSandboxsRegistry scans a registry as people run it, which hands out a thousand tags at a time. One tag is pushed;
// the others are made where the registry keeps them, as links to the same manifest.
func TestTheSandboxsRegistry(t *testing.T) {
	t.Parallel()
	const n = 12345
	home := filepath.Dir(testenv.Kubeconfig(t))
	data, err := os.ReadFile(filepath.Join(home, "state.json"))
	if err != nil {
		t.Skipf("the API server is no sandbox on this machine: %v", err)
	}
	l := newLab(t, registrytest.Options{}, git.Options{})
	var sandbox struct{ Registry struct{ Address string } }
	l.Must(json.Unmarshal(data, &sandbox))
	registry := &registrytest.Server{Host: sandbox.Registry.Address}
	digest := registry.Push(t, l.Namespace, "1.0.0", nil, registrytest.Archive(t, map[string]string{"a": "b"}))
	repository := filepath.Join(home, "registry", "docker", "registry", "v2", "repositories", l.Namespace)
	t.Cleanup(func() { _ = os.RemoveAll(repository) })
	tags := filepath.Join(repository, "_manifests", "tags")
	link, err := os.ReadFile(filepath.Join(tags, "1.0.0", "current", "link"))
	l.Must(err)
	for i := 1; i < n; i++ {
		dir := filepath.Join(tags, fmt.Sprintf("1.%d.0", i), "current")
		l.Must(os.MkdirAll(dir, 0o700))
		l.Must(os.WriteFile(filepath.Join(dir, "link"), link, 0o600))
	}
	l.start()
	image := registry.Host + "/" + l.Namespace
	l.createRepository("app", func(o *imagev1.ImageRepository) { o.Spec.Image = image })
	l.createPolicy("app", "app", func(o *imagev1.ImagePolicy) { o.Spec.DigestReflectionPolicy = "IfNotPresent" })
	o := l.picked("app", fmt.Sprintf("1.%d.0", n-1))
	if want := (imagev1.ImageRef{Name: image, Tag: fmt.Sprintf("1.%d.0", n-1), Digest: digest}); *o.Status.LatestRef != want {
		t.Errorf("chosen %+v, want %+v", *o.Status.LatestRef, want)
	}
	l.repository("app", "scanned", func(o *imagev1.ImageRepository) bool { return isReady(o) && o.Status.LastScanResult.TagCount == n })
}
