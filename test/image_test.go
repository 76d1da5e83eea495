package test

import (
	"context"
	"fmt"
	"net/http/httptest"
	"os"
	"os/exec"
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/gitops-toolkit/flux/internal/registry/registrytest"
	"github.com/gitops-toolkit/flux/internal/testenv"
	"github.com/gitops-toolkit/flux/test/harness"
)

var imageKinds = []string{"ImageUpdateAutomation", "ImagePolicy", "ImageRepository"}

func init() {
	for _, kind := range imageKinds {
		apiVersions[kind] = "image.toolkit.fluxcd.io/v1"
	}
}

// imageExample is the example of the page about image updates, for other servers.
func (p *post) imageExample(image string) string {
	p.Helper()
	page, err := os.ReadFile("../docs/image-updates.md")
	p.must(err, "read the page")
	for block := range strings.SplitSeq(string(page), "```") {
		if text, ok := strings.CutPrefix(block, "yaml\n"); ok && strings.Contains(text, "kind: ImageUpdateAutomation") {
			return strings.NewReplacer("interval: 1m", "interval: 1s", "interval: 5m", "interval: 1h", "interval: 10m", "interval: 1h",
				"https://github.com/org/fleet", "$URL", "branch: main", "branch: master", "ghcr.io/stefanprodan/podinfo", image).Replace(text)
		}
	}
	p.Fatal("no example in docs/image-updates.md")
	return ""
}

func imageDeployment(ns, image string) string {
	return fmt.Sprintf(`apiVersion: apps/v1
kind: Deployment
metadata: {name: podinfo}
spec:
  replicas: 1
  selector: {matchLabels: {app: podinfo}}
  template:
    metadata: {labels: {app: podinfo}}
    spec:
      containers:
      - name: podinfo
        image: %s # {"$imagepolicy": "%s:podinfo"}
`, image, ns)
}

// A tag is pushed, a webhook tells of it, and it is running: the interval of scans is an hour.
func TestImageUpdate(t *testing.T) {
	p := beginPost(t, "image-reflector-controller", "image-automation-controller")
	t.Cleanup(func() {
		for _, kind := range imageKinds {
			_ = p.c.DeleteAllOf(context.Background(), p.object(kind, ""), client.InNamespace(p.ns))
		}
	})
	registry := registrytest.Start(t, registrytest.Options{})
	tag := func(name string) {
		registry.Push(t, "podinfo", name, nil, registrytest.Archive(t, map[string]string{"tag": name}))
	}
	image := registry.Host + "/podinfo"
	tag("6.0.0")
	ear := &listener{news: make(chan struct{}, 1)}
	server := httptest.NewServer(ear)
	t.Cleanup(server.Close)
	first := p.commit(map[string]string{"deploy/app.yaml": imageDeployment(p.ns, image+":5.9.9")})
	p.add(`
apiVersion: v1
kind: Secret
metadata: {name: hook}
stringData: {token: s3cret-t0ken, address: ` + server.URL + `}
---
apiVersion: v1
kind: Secret
metadata: {name: fleet}
stringData: {username: dev, password: dev-password}
---
apiVersion: notification.toolkit.fluxcd.io/v1beta3
kind: Provider
metadata: {name: ear}
spec: {type: generic, secretRef: {name: hook}}
---
apiVersion: notification.toolkit.fluxcd.io/v1beta3
kind: Alert
metadata: {name: images}
spec:
  providerRef: {name: ear}
  eventSources: [{kind: ImageRepository, name: "*"}, {kind: ImagePolicy, name: "*"}, {kind: ImageUpdateAutomation, name: "*"}, {kind: Kustomization, name: "*"}]
---
apiVersion: notification.toolkit.fluxcd.io/v1
kind: Receiver
metadata: {name: registry}
spec: {type: github, events: [push], secretRef: {name: hook}, resources: [{kind: ImageRepository, name: podinfo}]}
---
apiVersion: kustomize.toolkit.fluxcd.io/v1
kind: Kustomization
metadata: {name: app}
spec: {interval: 1h, path: deploy, prune: true, wait: true, timeout: 2m, targetNamespace: $NS, sourceRef: {kind: GitRepository, name: fleet}}
---
` + p.imageExample(image))
	running := func(version string) {
		t.Helper()
		p.await("Deployment", "podinfo", "running "+version, func(o *unstructured.Unstructured) bool {
			if o == nil {
				return false
			}
			containers, _, _ := unstructured.NestedSlice(o.Object, "spec", "template", "spec", "containers")
			observed, _, _ := unstructured.NestedInt64(o.Object, "status", "observedGeneration")
			updated, _, _ := unstructured.NestedInt64(o.Object, "status", "updatedReplicas")
			available, _, _ := unstructured.NestedInt64(o.Object, "status", "availableReplicas")
			return containers[0].(map[string]any)["image"] == image+":"+version && observed == o.GetGeneration() && updated == 1 && available == 1
		})
	}
	running("6.0.0")
	ear.await(p.scenario, "ImageUpdateAutomation", "fleet", "Update images\n\n"+image+":5.9.9 -> "+image+":6.0.0")

	path, _, _ := unstructured.NestedString(p.ready("Receiver", "registry", "/hook/").Object, "status", "webhookPath")
	tag("6.1.0")
	if code := p.push(path, "s3cret-t0ken"); code != 200 {
		t.Fatalf("the call is answered with %d", code)
	}
	running("6.1.0")
	ear.await(p.scenario, "ImagePolicy", "podinfo", "resolved to 6.1.0 (previously "+image+":6.0.0)")
	pushed := ear.await(p.scenario, "ImageUpdateAutomation", "fleet", image+":6.0.0 -> "+image+":6.1.0")
	head, err := p.repo.Resolve("master")
	p.must(err, "find the head")
	if !strings.HasPrefix(pushed.Message, "pushed commit '"+head[:7]+"' to branch 'master'\n") {
		t.Errorf("the event says %q, the branch is at %s", pushed.Message, head)
	}
	p.ready("Kustomization", "app", "master@sha1:"+head)
	if n, err := p.repo.Git(nil, "rev-list", "--count", strings.TrimPrefix(first, "master@sha1:")+"..master"); err != nil || n != "2" {
		t.Errorf("%s commits, %v", n, err)
	}
	p.createsPolicies(registry.Host, func(image string) {
		registry.Push(t, image, "2.0.0", nil, registrytest.Archive(t, map[string]string{"image": image}))
	})
}

// createsPolicies runs flux create image policy with addresses: of an image that is followed already, of one that is not,
// and that of the first page, whose registry may be out of reach.
func (p *post) createsPolicies(host string, push func(image string)) {
	p.Helper()
	flux, err := harness.Binary("flux")
	p.must(err, "find flux")
	create := func(ns, name, address string, more ...string) (string, error) {
		args := append([]string{"create", "image", "policy", name, "--image-ref=" + address, "--namespace=" + ns, "--label=" + shardLabel + "=" + p.shard}, more...)
		cmd := exec.CommandContext(p.ctx, flux, args...)
		cmd.Env = append(os.Environ(), "KUBECONFIG="+testenv.Kubeconfig(p.T))
		out, err := cmd.CombinedOutput()
		return string(out), err
	}
	push("web")
	for _, tc := range []struct{ name, address, says, repository, tag string }{
		{"again", host + "/podinfo", "using the ImageRepository 'podinfo' of " + host + "/podinfo", "podinfo", "6.1.0"},
		{"web", host + "/web", "creating the ImageRepository 'web' of " + host + "/web", "web", "2.0.0"},
		{"web-again", "web", "--select-semver='*'", "web", "2.0.0"},
	} {
		out, err := create(p.ns, tc.name, tc.address)
		p.must(err, out)
		if !strings.Contains(out, tc.says) {
			p.Errorf("%s: it does not say %q: %s", tc.name, tc.says, out)
		}
		o := p.exists("ImagePolicy", tc.name)
		if got := field(o, "status", "latestRef", "tag") + " " + field(o, "spec", "imageRepositoryRef", "name") + " " + field(o, "spec", "policy", "semver", "range"); got != tc.tag+" "+tc.repository+" *" {
			p.Errorf("%s: %s", tc.name, got)
		}
	}
	ns := testenv.Namespace(p.T)
	out, err := create(ns, "podinfo", "ghcr.io/stefanprodan/podinfo", "--timeout=10s")
	if err != nil && !strings.Contains(out, "ImageRepository") {
		p.Errorf("it does not say what it waited for: %s", out)
	}
	for kind, want := range map[string][]string{"ImageRepository": {"ghcr.io/stefanprodan/podinfo", "spec", "image"}, "ImagePolicy": {"podinfo", "spec", "imageRepositoryRef", "name"}} {
		o := p.object(kind, "podinfo")
		o.SetNamespace(ns)
		p.must(p.c.Get(p.ctx, client.ObjectKeyFromObject(o), o), "read what was created")
		if got := field(o, want[1:]...); got != want[0] {
			p.Errorf("%s: %s", kind, got)
		}
	}
}
