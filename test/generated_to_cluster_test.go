package test

import (
	"errors"
	"os"
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/gitops-toolkit/flux/test/harness"
)

func init() {
	apiVersions["ArtifactGenerator"] = "source.extensions.fluxcd.io/v1beta1"
	apiVersions["ExternalArtifact"] = "source.toolkit.fluxcd.io/v1"
	apiVersions["Bucket"] = "source.toolkit.fluxcd.io/v1"
}

// exampleOf is the example of the page of a kind that holds a Kustomization, for this scenario.
func exampleOf(t *testing.T, page, namespace string, replace ...string) string {
	t.Helper()
	text, err := os.ReadFile("../docs/kinds/" + page)
	if err != nil {
		t.Fatal(err)
	}
	for block := range strings.SplitSeq(string(text), "```") {
		if example, ok := strings.CutPrefix(block, "yaml\n"); ok && strings.Contains(example, "kind: Kustomization") {
			return strings.NewReplacer(append(replace, "targetNamespace: default", "targetNamespace: "+namespace)...).Replace(example)
		}
	}
	t.Fatalf("no example in docs/kinds/%s", page)
	return ""
}

func revisionOf(o *unstructured.Unstructured) string {
	if o == nil {
		return ""
	}
	text, _, _ := unstructured.NestedString(o.Object, "status", "artifact", "revision")
	return text
}

// A monorepo is split by directory: each part is applied by itself, and a part that a commit does not touch stays as it is.
func TestGeneratedToCluster(t *testing.T) {
	s := begin(t)
	s.Cleanup(func() { _ = s.c.DeleteAllOf(s.ctx, s.object("ArtifactGenerator", ""), client.InNamespace(s.ns)) })
	first := s.commit(map[string]string{
		"apps/Frontend/cm.yaml": configMap("front", "one"), "apps/backend/cm.yaml": configMap("back", "one"), "common.yaml": configMap("common", "one"),
	})
	s.apply(exampleOf(t, "artifactgenerator.md", s.ns, "https://git.example.com/fleet.git", "$URL"))
	s.ready("Kustomization", "frontend", "latest@sha256:")
	s.exists("ConfigMap", "front")
	front := s.get("ExternalArtifact", "app-frontend")
	back := revisionOf(s.exists("ExternalArtifact", "app-backend"))
	labels := front.GetLabels()
	if labels["app"] != "frontend" || labels["team"] != "platform" || labels["app.kubernetes.io/managed-by"] != "source-watcher" {
		t.Errorf("labels %v", labels)
	}
	if origin, _, _ := unstructured.NestedString(front.Object, "status", "artifact", "metadata", "org.opencontainers.image.revision"); origin != first {
		t.Errorf("the origin is %q, want %q", origin, first)
	}

	s.commit(map[string]string{"apps/backend/cm.yaml": configMap("back", "two")})
	s.await("ExternalArtifact", "app-backend", "made of the second commit", func(o *unstructured.Unstructured) bool {
		return o != nil && revisionOf(o) != back
	})
	s.await("ArtifactGenerator", "apps", "ready for the second commit", func(o *unstructured.Unstructured) bool {
		return conditionOf(o, "Ready").status == "True"
	})
	if now := s.get("ExternalArtifact", "app-frontend"); revisionOf(now) != revisionOf(front) {
		t.Errorf("the untouched part got the revision %s, and had %s", revisionOf(now), revisionOf(front))
	}

	s.commit(map[string]string{"apps/Frontend/cm.yaml": configMap("front", "three")})
	s.await("ConfigMap", "front", "that of the third commit", func(o *unstructured.Unstructured) bool {
		text, _, _ := unstructured.NestedString(o.Object, "data", "key")
		return text == "three"
	})
	s.remove("apps/backend/cm.yaml")
	s.gone("ExternalArtifact", "app-backend")

	if text := s.flux("tree", "artifact", "generator", "apps", "-n", s.ns, "--kubeconfig", os.Getenv("FLUX_TEST_KUBECONFIG")); !strings.Contains(text, "ExternalArtifact/"+s.ns+"/app-frontend") {
		t.Errorf("flux tree artifact generator says:\n%s", text)
	}
	if text := s.flux("get", "artifacts", "generators", "-n", s.ns, "--kubeconfig", os.Getenv("FLUX_TEST_KUBECONFIG")); !strings.Contains(text, "apps") || !strings.Contains(text, "generated 1 artifact(s)") {
		t.Errorf("flux get artifacts generators says:\n%s", text)
	}
	if text := s.flux("get", "sources", "external", "-n", s.ns, "--kubeconfig", os.Getenv("FLUX_TEST_KUBECONFIG")); !strings.Contains(text, "app-frontend") {
		t.Errorf("flux get sources external says:\n%s", text)
	}
	s.must(s.c.Delete(s.ctx, s.object("ArtifactGenerator", "apps")), "delete the generator")
	s.gone("ArtifactGenerator", "apps")
	s.gone("ExternalArtifact", "app-frontend")
	s.exists("ConfigMap", "front")
}

// What is uploaded to a bucket of a real S3 server arrives; the words of the command line are those of the page.
func TestBucketToCluster(t *testing.T) {
	s := begin(t)
	server, err := harness.StartS3(t.TempDir(), "", "")
	if errors.Is(err, harness.ErrNoS3) {
		t.Skip(err)
	}
	s.must(err, "start the S3 server")
	t.Cleanup(server.Close)
	s.Cleanup(func() { _ = s.c.DeleteAllOf(s.ctx, s.object("Bucket", ""), client.InNamespace(s.ns)) })
	s.must(server.Put("manifests", "cm.yaml", configMap("from-bucket", "one")), "upload")
	s.apply(exampleOf(t, "bucket.md", s.ns, "minio.example.com\n", server.Endpoint+"\n  insecure: true\n", "ACCESS", server.AccessKey, "SECRET", server.SecretKey))
	s.ready("Kustomization", "manifests", "sha256:")
	s.exists("ConfigMap", "from-bucket")
	s.must(server.Put("manifests", "cm.yaml", configMap("from-bucket", "two")), "upload")
	if out := s.flux("reconcile", "source", "bucket", "manifests", "-n", s.ns, "--kubeconfig", os.Getenv("FLUX_TEST_KUBECONFIG")); strings.Contains(out, "✗") {
		t.Errorf("flux reconcile source bucket says %s", out)
	}
	s.await("ConfigMap", "from-bucket", "that of the second upload", func(o *unstructured.Unstructured) bool {
		text, _, _ := unstructured.NestedString(o.Object, "data", "key")
		return text == "two"
	})
	if text := s.flux("get", "sources", "bucket", "-n", s.ns, "--kubeconfig", os.Getenv("FLUX_TEST_KUBECONFIG")); !strings.Contains(text, "stored artifact: revision 'sha256:") {
		t.Errorf("flux get sources bucket says:\n%s", text)
	}
}
