package install_test

import (
	"bytes"
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/tools/clientcmd"
	"sigs.k8s.io/yaml"

	"github.com/gitops-toolkit/flux/internal/apply"
	"github.com/gitops-toolkit/flux/internal/install"
	"github.com/gitops-toolkit/flux/internal/kustomize/build"
	"github.com/gitops-toolkit/flux/internal/registry/registrytest"
	"github.com/gitops-toolkit/flux/internal/version"
	"github.com/gitops-toolkit/flux/manifests"
)

// differences lists every field of a definition that only we have; hack/crdgen's TestTables proves that.
const differences = "../../../api/differences.txt"

// TestUpstreamsBundle installs upstream's bundle with nothing but the names of the images replaced: its
// definitions, roles, arguments and tags. All controllers work under them, are refused nothing, and do not
// write again and again what those definitions drop. From there it follows docs/migration.md to our bundle and back.
func TestUpstreamsBundle(t *testing.T) {
	useVersionOfBinaries(t)
	l := newLab(t)
	program, err := filepath.Abs(filepath.Join(os.Getenv("FLUX_TEST_BIN"), "flux-controller"))
	if err != nil {
		t.Fatal(err)
	}
	up := []string{"up"}
	for _, tag := range version.Upstream {
		up = append(up, "--image", "ghcr.io/gitops-toolkit:"+tag+"="+program)
	}
	l.sandbox(up...)
	l.installUpstreams()
	all := slices.Concat(install.DefaultComponents, install.ExtraComponents)
	l.leases(all)

	registry := registrytest.Start(t, registrytest.Options{})
	for _, tag := range []string{"v1.0.0", "v1.1.0"} {
		registry.Push(t, "app", tag, nil, registrytest.Archive(t, map[string]string{"a": tag}))
	}
	var delivered atomic.Int64
	chat := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { delivered.Add(1) }))
	t.Cleanup(chat.Close)
	l.workload(registry.Host, chat.URL)
	ready := []string{"GitRepository/app", "Kustomization/app", "HelmRelease/app", "ArtifactGenerator/app", "Kustomization/generated", "ImageRepository/app", "ImagePolicy/app", "ImageUpdateAutomation/app", "Receiver/app"}
	for _, name := range ready {
		l.becomesReady(name)
	}
	versions := l.settled(ready)
	l.flux("reconcile", "kustomization", "app")
	time.Sleep(6 * time.Second) // what must not happen has three intervals to happen in
	for name, before := range versions {
		if now := l.version(name); now != before && name != "Kustomization/app" {
			t.Errorf("%s is written though nothing has changed: %s, then %s", name, before, now)
		}
	}
	if delivered.Load() == 0 {
		t.Error("no event was delivered")
	}
	l.inspect(all, false)
	if _, said := l.flux("check"); !strings.HasSuffix(said, "✔ all checks passed\n") || strings.Contains(said, "⚠️") {
		t.Errorf("flux check says\n%s", said)
	}
	l.migrates(ready)
}

// upstreamsBundle is the text of the bundle, and of a kustomization.yaml that replaces the names of its images.
func (l *lab) upstreamsBundle() (bundle, kustomization string) {
	l.Helper()
	options := install.Defaults(version.Upstream["flux-cli"])
	options.Registry = "ghcr.io/fluxcd"
	options.Components = slices.Concat(install.DefaultComponents, install.ExtraComponents)
	objects, err := install.Build(manifests.Files(), options)
	if err != nil {
		l.Fatal(err)
	}
	removed := removedFields(l.T)
	kustomization = "apiVersion: kustomize.config.k8s.io/v1beta1\nkind: Kustomization\nimages:\n"
	for _, obj := range objects {
		switch obj.GetKind() {
		case "CustomResourceDefinition":
			withoutOurs(l.T, obj, removed)
		case "Deployment":
			name := obj.GetName()
			containers, _, _ := unstructured.NestedSlice(obj.Object, "spec", "template", "spec", "containers")
			containers[0].(map[string]any)["image"] = "ghcr.io/fluxcd/" + name + ":" + version.Upstream[name]
			_ = unstructured.SetNestedSlice(obj.Object, containers, "spec", "template", "spec", "containers")
			kustomization += fmt.Sprintf("- {name: ghcr.io/fluxcd/%[1]s, newName: ghcr.io/gitops-toolkit/%[1]s}\n", name)
		}
	}
	for key, n := range removed.met {
		if n == 0 {
			l.Errorf("%s lists %s, which no definition has", differences, key)
		}
	}
	var text bytes.Buffer
	if err := install.Write(&text, objects, options); err != nil {
		l.Fatal(err)
	}
	return text.String(), kustomization
}

// installUpstreams applies the bundle as the kustomization.yaml makes it.
func (l *lab) installUpstreams() {
	l.Helper()
	bundle, kustomization := l.upstreamsBundle()
	dir := l.TempDir()
	for name, text := range map[string]string{"bundle.yaml": bundle, "kustomization.yaml": kustomization + "resources: [bundle.yaml]\n"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			l.Fatal(err)
		}
	}
	built, err := build.Build(l.Context(), build.Options{Root: dir, Path: "."})
	if err != nil {
		l.Fatal(err)
	}
	config, err := clientcmd.BuildConfigFromFlags("", l.kubeconfig)
	if err != nil {
		l.Fatal(err)
	}
	client, err := apply.NewClient(config)
	if err != nil {
		l.Fatal(err)
	}
	if _, err := install.Apply(l.Context(), client, built.Objects); err != nil {
		l.Fatal(err)
	}
	for _, name := range slices.Concat(install.DefaultComponents, install.ExtraComponents) {
		if err := install.WaitReady(l.Context(), client, namespace, name); err != nil {
			l.Fatalf("%s: %v", name, err)
		}
	}
}

// fieldsOfOurs are the fields that only we have, by table and version.
type fieldsOfOurs struct {
	paths map[string][]string
	met   map[string]int
}

func removedFields(t *testing.T) fieldsOfOurs {
	t.Helper()
	text, err := os.ReadFile(differences)
	if err != nil {
		t.Fatal(err)
	}
	f := fieldsOfOurs{map[string][]string{}, map[string]int{}}
	for line := range strings.Lines(string(text)) {
		where, field, ok := strings.Cut(strings.TrimSpace(line), ": +")
		if !ok || strings.HasPrefix(where, "#") {
			continue
		}
		path, _, _ := strings.Cut(field, " | ")
		f.paths[where] = append(f.paths[where], strings.TrimSuffix(path, "*"))
	}
	return f
}

// withoutOurs makes a definition the one that upstream has: the stored version only, without our fields.
func withoutOurs(t *testing.T, crd *unstructured.Unstructured, ours fieldsOfOurs) {
	t.Helper()
	group, _, _ := unstructured.NestedString(crd.Object, "spec", "group")
	kind, _, _ := unstructured.NestedString(crd.Object, "spec", "names", "kind")
	versions, _, _ := unstructured.NestedSlice(crd.Object, "spec", "versions")
	versions = slices.DeleteFunc(versions, func(v any) bool { return v.(map[string]any)["storage"] != true })
	stored := versions[0].(map[string]any)
	where := strings.TrimSuffix(strings.TrimSuffix(group, ".fluxcd.io"), ".toolkit") + "_" + strings.ToLower(kind) + " " + stored["name"].(string)
	root, _, _ := unstructured.NestedMap(stored, "schema", "openAPIV3Schema")
	for _, path := range ours.paths[where] {
		key := where + ": " + path
		ours.met[key] += 0
		if path == "spec.type" { // a value of ours, not a field
			ours.met[key]++
			continue
		}
		if drop(root, strings.Split(path, ".")) {
			ours.met[key]++
		}
	}
	_ = unstructured.SetNestedMap(stored, root, "schema", "openAPIV3Schema")
	_ = unstructured.SetNestedSlice(crd.Object, []any{stored}, "spec", "versions")
}

// drop takes a field out of a schema.
func drop(node map[string]any, path []string) bool {
	properties, _ := node["properties"].(map[string]any)
	name, list := strings.CutSuffix(path[0], "[]")
	next, ok := properties[name].(map[string]any)
	if !ok {
		return false
	}
	if len(path) == 1 {
		delete(properties, name)
		return true
	}
	if list {
		next, _ = next["items"].(map[string]any)
	}
	return drop(next, path[1:])
}

// workload gives every controller something to do.
func (l *lab) workload(registry, chat string) {
	l.Helper()
	files := map[string]string{
		"deploy/cm.yaml":            "{apiVersion: v1, kind: ConfigMap, metadata: {name: applied}}\n",
		"deploy/web.yaml":           web,
		"generated/cm.yaml":         "{apiVersion: v1, kind: ConfigMap, metadata: {name: generated}}\n",
		"chart/Chart.yaml":          "{apiVersion: v2, name: app, version: 1.0.0}\n",
		"chart/templates/cm.yaml":   "{apiVersion: v1, kind: ConfigMap, metadata: {name: released}}\n",
		"images/image.yaml":         "image: " + registry + "/app:v1.0.0 # {\"$imagepolicy\": \"flux-system:app\"}\n",
		"images/kustomization.yaml": "{apiVersion: kustomize.config.k8s.io/v1beta1, kind: Kustomization}\n",
	}
	if _, err := l.repo.Commit(files, "everything"); err != nil {
		l.Fatal(err)
	}
	for doc := range strings.SplitSeq(strings.NewReplacer("$URL", l.url, "$REGISTRY", registry, "$CHAT", chat).Replace(workload), "---\n") {
		obj := &unstructured.Unstructured{}
		if err := yaml.Unmarshal([]byte(doc), &obj.Object); err != nil {
			l.Fatal(err)
		}
		if _, err := l.dynamic.Resource(resourceOf(obj)).Namespace(namespace).Create(l.Context(), obj, metav1.CreateOptions{FieldValidation: "Strict"}); err != nil {
			l.Fatalf("%s: %v", obj.GetKind(), err)
		}
		// Whoever comes before its source tells that as an error, as upstream's controllers do.
		if kind := obj.GetKind(); kind == "GitRepository" || kind == "ImageRepository" {
			l.becomesReady(kind + "/app")
		}
	}
}

func resourceOf(obj *unstructured.Unstructured) schema.GroupVersionResource {
	plural := strings.ToLower(obj.GetKind()) + "s"
	if before, ok := strings.CutSuffix(plural, "ys"); ok {
		plural = before + "ies"
	}
	return obj.GroupVersionKind().GroupVersion().WithResource(plural)
}

const workload = `{apiVersion: v1, kind: Secret, metadata: {name: token}, stringData: {token: canary}}
---
apiVersion: source.toolkit.fluxcd.io/v1
kind: GitRepository
metadata: {name: app}
spec: {interval: 2s, url: $URL, ref: {branch: main}}
---
apiVersion: kustomize.toolkit.fluxcd.io/v1
kind: Kustomization
metadata: {name: app}
spec: {interval: 2s, path: ./deploy, prune: true, wait: true, targetNamespace: default, sourceRef: {kind: GitRepository, name: app}}
---
apiVersion: source.extensions.fluxcd.io/v1beta1
kind: ArtifactGenerator
metadata: {name: app}
spec:
  sources: [{alias: app, kind: GitRepository, name: app}]
  artifacts: [{name: generated, copy: [{from: "@app/generated/**", to: "@artifact/"}]}]
---
apiVersion: kustomize.toolkit.fluxcd.io/v1
kind: Kustomization
metadata: {name: generated}
spec: {interval: 2s, path: ./, prune: true, targetNamespace: default, sourceRef: {kind: ExternalArtifact, name: generated}}
---
apiVersion: helm.toolkit.fluxcd.io/v2
kind: HelmRelease
metadata: {name: app}
spec: {interval: 2s, targetNamespace: default, driftDetection: {mode: enabled}, chart: {spec: {chart: ./chart, sourceRef: {kind: GitRepository, name: app}}}}
---
apiVersion: image.toolkit.fluxcd.io/v1
kind: ImageRepository
metadata: {name: app}
spec: {interval: 2s, image: $REGISTRY/app, insecure: true}
---
apiVersion: image.toolkit.fluxcd.io/v1
kind: ImagePolicy
metadata: {name: app}
spec: {imageRepositoryRef: {name: app}, policy: {semver: {range: "*"}}}
---
apiVersion: image.toolkit.fluxcd.io/v1
kind: ImageUpdateAutomation
metadata: {name: app}
spec:
  interval: 2s
  sourceRef: {kind: GitRepository, name: app}
  git: {commit: {author: {email: jo@example.com}}, push: {branch: main}}
  update: {path: ./images, strategy: Setters}
---
apiVersion: notification.toolkit.fluxcd.io/v1beta3
kind: Provider
metadata: {name: app}
spec: {type: generic, address: $CHAT}
---
apiVersion: notification.toolkit.fluxcd.io/v1beta3
kind: Alert
metadata: {name: app}
spec: {providerRef: {name: app}, eventSources: [{kind: Kustomization, name: "*"}]}
---
apiVersion: notification.toolkit.fluxcd.io/v1
kind: Receiver
metadata: {name: app}
spec: {type: generic, secretRef: {name: token}, resources: [{kind: GitRepository, name: app}]}
`

// live reads an object of the workload, KIND/NAME.
func (l *lab) live(ref string) *unstructured.Unstructured {
	l.Helper()
	kind, name, _ := strings.Cut(ref, "/")
	for doc := range strings.SplitSeq(workload, "---\n") {
		obj := &unstructured.Unstructured{}
		if err := yaml.Unmarshal([]byte(doc), &obj.Object); err != nil {
			l.Fatal(err)
		}
		if obj.GetKind() != kind || obj.GetName() != name {
			continue
		}
		live, err := l.dynamic.Resource(resourceOf(obj)).Namespace(namespace).Get(l.Context(), name, metav1.GetOptions{})
		if err != nil {
			l.Fatal(err)
		}
		return live
	}
	l.Fatalf("no %s in the workload", ref)
	return nil
}

func (l *lab) version(ref string) string { return l.live(ref).GetResourceVersion() }

// becomesReady waits for Ready of the newest generation.
func (l *lab) becomesReady(ref string) {
	l.Helper()
	var last any
	for deadline := time.Now().Add(2 * time.Minute); time.Now().Before(deadline); time.Sleep(200 * time.Millisecond) {
		live := l.live(ref)
		conditions, _, _ := unstructured.NestedSlice(live.Object, "status", "conditions")
		for _, c := range conditions {
			c := c.(map[string]any)
			if c["type"] != "Ready" {
				continue
			}
			if last = c["message"]; c["status"] == "True" && c["observedGeneration"] == live.GetGeneration() {
				return
			}
		}
	}
	l.Fatalf("%s does not become ready: %v\n%s", ref, last, l.logs())
}

// settled waits until the commit of the automation has gone round and nothing moves any more.
func (l *lab) settled(refs []string) map[string]string {
	l.Helper()
	seen, since := map[string]string{}, time.Now()
	for deadline := time.Now().Add(2 * time.Minute); time.Since(since) < 5*time.Second; time.Sleep(250 * time.Millisecond) {
		for _, ref := range refs {
			if now := l.version(ref); seen[ref] != now {
				seen[ref], since = now, time.Now()
			}
		}
		if time.Now().After(deadline) {
			l.Fatalf("the objects never settle: %v", seen)
		}
	}
	return seen
}

// logs are the last lines of every controller.
func (l *lab) logs() string {
	pods, err := l.client.CoreV1().Pods(namespace).List(context.Background(), metav1.ListOptions{})
	if err != nil {
		return err.Error()
	}
	var out strings.Builder
	for _, pod := range pods.Items {
		lines := int64(15)
		text, err := l.client.CoreV1().Pods(namespace).GetLogs(pod.Name, &corev1.PodLogOptions{TailLines: &lines}).DoRaw(context.Background())
		fmt.Fprintf(&out, "%s: %v\n%s", pod.Name, err, text)
	}
	return out.String()
}
