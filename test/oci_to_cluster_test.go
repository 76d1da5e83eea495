package test

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/gitops-toolkit/flux/internal/registry/registrytest"
	"github.com/gitops-toolkit/flux/test/harness"
)

func init() { apiVersions["OCIRepository"] = "source.toolkit.fluxcd.io/v1" }

// ociExample is the example of the page of the kind, for another registry and namespace.
func ociExample(t *testing.T, url, namespace string) string {
	t.Helper()
	page, err := os.ReadFile("../docs/kinds/ocirepository.md")
	if err != nil {
		t.Fatal(err)
	}
	for block := range strings.SplitSeq(string(page), "```") {
		if text, ok := strings.CutPrefix(block, "yaml\n"); ok && strings.Contains(text, "kind: Kustomization") {
			return strings.NewReplacer("oci://ghcr.io/org/config/app\n", url+"\n  insecure: true\n", "targetNamespace: default", "targetNamespace: "+namespace).Replace(text)
		}
	}
	t.Fatal("no example in docs/kinds/ocirepository.md")
	return ""
}

// flux runs the command line.
func (s *scenario) flux(args ...string) string {
	s.Helper()
	binary, err := harness.Binary("flux")
	s.must(err, "find flux")
	cmd := exec.CommandContext(s.ctx, binary, args...)
	var out, log bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &log
	if err := cmd.Run(); err != nil {
		s.Fatalf("flux %s: %v\n%s", strings.Join(args, " "), err, log.String())
	}
	return out.String()
}

// push is `flux push artifact` of the files; it returns the digest.
func (s *scenario) push(url, source, revision string, files map[string]string) string {
	s.Helper()
	dir := s.TempDir()
	for name, text := range files {
		s.must(os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600), "write "+name)
	}
	out := s.flux("push", "artifact", url, "--path", dir, "--source", source, "--revision", revision, "-o", "yaml")
	for line := range strings.Lines(out) {
		if digest, ok := strings.CutPrefix(line, "digest: "); ok {
			return strings.TrimSpace(digest)
		}
	}
	s.Fatalf("no digest in %s", out)
	return ""
}

// What is pushed arrives under the highest version; the Kustomization knows where it was made; a tag that moves away
// from the range changes nothing.
func TestOCIToCluster(t *testing.T) {
	s := begin(t)
	s.Cleanup(func() {
		_ = s.c.DeleteAllOf(s.ctx, s.object("OCIRepository", ""), client.InNamespace(s.ns))
	})
	server := registrytest.Start(t, registrytest.Options{})
	url := server.URL(s.ns)
	first := s.push(url+":v1.0.0", "https://example.com/fleet.git", "main@sha1:1111", map[string]string{"a.yaml": configMap("a", "one"), "b.yaml": configMap("b", "one")})
	s.apply(ociExample(t, url, s.ns))
	s.ready("OCIRepository", "app", "v1.0.0@"+first)
	ks := s.ready("Kustomization", "app", "v1.0.0@"+first)
	if got, _, _ := unstructured.NestedString(ks.Object, "status", "lastAppliedOriginRevision"); got != "main@sha1:1111" {
		t.Errorf("lastAppliedOriginRevision is %q", got)
	}

	second := s.push(url+":v1.1.0", "https://example.com/fleet.git", "main@sha1:2222", map[string]string{"a.yaml": configMap("a", "two")})
	s.ready("Kustomization", "app", "v1.1.0@"+second)
	if got, _, _ := unstructured.NestedString(s.get("ConfigMap", "a").Object, "data", "key"); got != "two" {
		t.Errorf("ConfigMap a holds %q after the second push", got)
	}
	s.gone("ConfigMap", "b")

	s.flux("tag", "artifact", url+":v1.0.0", "--tag", "v1.2.0")
	s.ready("Kustomization", "app", "v1.2.0@"+first)
	s.exists("ConfigMap", "b")
	s.must(s.c.Delete(s.ctx, s.object("Kustomization", "app")), "delete the Kustomization")
	s.gone("ConfigMap", "a")
}
