package install_test

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/gitops-toolkit/flux/internal/install"
	"github.com/gitops-toolkit/flux/internal/kustomize/build"
	"github.com/gitops-toolkit/flux/manifests"
)

const guide = "../../docs/bootstrap-customise.md"

const syncFile = `apiVersion: kustomize.toolkit.fluxcd.io/v1
kind: Kustomization
metadata: {name: flux-system, namespace: flux-system}
spec: {interval: 10m0s, path: ./clusters/production, prune: true, sourceRef: {kind: GitRepository, name: flux-system}}
`

// patched are the objects of an installation as a kustomization.yaml of the guide makes them.
type patched struct {
	*testing.T
	objects map[string]*unstructured.Unstructured
}

func (p patched) get(kind, name string) map[string]any {
	p.Helper()
	u := p.objects[kind+"/"+name]
	if u == nil {
		p.Fatalf("no %s/%s", kind, name)
	}
	return u.Object
}

// manager is the container that the patches of people are about: the first, called manager.
func (p patched) manager(name string) map[string]any {
	p.Helper()
	list, _, _ := unstructured.NestedSlice(p.get("Deployment", name), "spec", "template", "spec", "containers")
	c, _ := list[0].(map[string]any)
	if c["name"] != "manager" {
		p.Errorf("container 0 of %s is %v", name, c["name"])
	}
	return c
}

func (p patched) args(name string) []string {
	p.Helper()
	args, _, _ := unstructured.NestedStringSlice(p.manager(name), "args")
	return args
}

func (p patched) hasArg(arg string, names ...string) {
	p.Helper()
	for _, name := range names {
		if !slices.Contains(p.args(name), arg) {
			p.Errorf("%s has no %s: %v", name, arg, p.args(name))
		}
	}
}

// checks say what each section of the guide promises.
var checks = map[string]func(patched){
	"Lock down a cluster with tenants": func(p patched) {
		p.hasArg("--no-cross-namespace-refs=true", "kustomize-controller", "helm-controller", "notification-controller", "image-reflector-controller", "image-automation-controller")
		p.hasArg("--no-remote-bases=true", "kustomize-controller")
		p.hasArg("--default-service-account=default", "kustomize-controller", "helm-controller")
		if account, _, _ := unstructured.NestedString(p.get("Kustomization", "flux-system"), "spec", "serviceAccountName"); account != "kustomize-controller" {
			p.Errorf("the cluster's own Kustomization runs as %q", account)
		}
	},
	"Leave objects of a shard to others": func(p patched) {
		p.hasArg("--watch-label-selector=!sharding.fluxcd.io/key", "source-controller", "kustomize-controller", "helm-controller")
	},
	"Run a shard": func(p patched) {
		for key, u := range p.objects {
			if kind := u.GetKind(); kind != "Deployment" && kind != "Service" {
				p.Errorf("%s is there twice", key)
			}
		}
		if len(p.objects) != 4 {
			p.Errorf("%d objects", len(p.objects))
		}
		for _, name := range []string{"source-controller-shard1", "kustomize-controller-shard1", "helm-controller-shard1"} {
			p.hasArg("--watch-label-selector=sharding.fluxcd.io/key=shard1", name)
			spec := p.get("Deployment", name)["spec"].(map[string]any)
			selected, _, _ := unstructured.NestedString(spec, "selector", "matchLabels", "app")
			labelled, _, _ := unstructured.NestedString(spec, "template", "metadata", "labels", "app")
			account, _, _ := unstructured.NestedString(spec, "template", "spec", "serviceAccountName")
			if selected != name || labelled != name || account != strings.TrimSuffix(name, "-shard1") {
				p.Errorf("%s selects %q, is labelled %q and runs as %q", name, selected, labelled, account)
			}
		}
		p.hasArg("--storage-adv-addr=source-controller-shard1.$(RUNTIME_NAMESPACE).svc.cluster.local.", "source-controller-shard1")
		if app, _, _ := unstructured.NestedString(p.get("Service", "source-controller-shard1"), "spec", "selector", "app"); app != "source-controller-shard1" {
			p.Errorf("the Service selects %q", app)
		}
	},
	"Give a controller more": func(p patched) {
		memory, _, _ := unstructured.NestedString(p.manager("kustomize-controller"), "resources", "limits", "memory")
		if memory != "2Gi" || p.args("kustomize-controller")[0] != "--concurrent=20" {
			p.Errorf("memory %s, arguments %v", memory, p.args("kustomize-controller"))
		}
	},
	"Build in memory": func(p patched) {
		volumes, _, _ := unstructured.NestedSlice(p.get("Deployment", "kustomize-controller"), "spec", "template", "spec", "volumes")
		medium, _, _ := unstructured.NestedString(volumes[0].(map[string]any), "emptyDir", "medium")
		if medium != "Memory" {
			p.Errorf("volume 0: %v", volumes[0])
		}
	},
	"Pull from a mirror": func(p patched) {
		for _, name := range []string{"source-controller", "kustomize-controller"} {
			if image := p.manager(name)["image"]; image != "registry.example.com/mirror/"+name+":v1.2.3" {
				p.Errorf("%s: %v", name, image)
			}
		}
	},
	"Take rights away": func(p patched) {
		if p.objects["ClusterRoleBinding/cluster-reconciler-flux-system"] != nil || p.objects["ClusterRoleBinding/crd-controller-flux-system"] == nil {
			p.Error("cluster-reconciler is still bound, or crd-controller no longer")
		}
	},
	"Choose nodes": func(p patched) {
		for key, u := range p.objects {
			role, _, _ := unstructured.NestedString(u.Object, "spec", "template", "spec", "nodeSelector", "role")
			tolerations, _, _ := unstructured.NestedSlice(u.Object, "spec", "template", "spec", "tolerations")
			if u.GetKind() == "Deployment" && (role != "system" || len(tolerations) != 1) {
				p.Errorf("%s: %q, %v", key, role, tolerations)
			}
		}
	},
	"OpenShift": func(p patched) {
		for key, u := range p.objects {
			if u.GetKind() != "Deployment" {
				continue
			}
			context, _, _ := unstructured.NestedMap(p.manager(u.GetName()), "securityContext")
			if context["seccompProfile"] != nil || context["runAsUser"] == nil || context["runAsNonRoot"] != true {
				p.Errorf("%s: %v", key, context)
			}
		}
		if labels := p.objects["Namespace/flux-system"].GetLabels(); labels["pod-security.kubernetes.io/warn"] != "" {
			p.Errorf("namespace: %v", labels)
		}
	},
	"Behind a proxy": func(p patched) {
		for _, name := range []string{"source-controller", "notification-controller"} {
			env, _, _ := unstructured.NestedSlice(p.manager(name), "env")
			var names []string
			for _, e := range env {
				names = append(names, e.(map[string]any)["name"].(string))
			}
			if !slices.Contains(names, "HTTPS_PROXY") || !slices.Contains(names, "NO_PROXY") || !slices.Contains(names, "RUNTIME_NAMESPACE") {
				p.Errorf("%s: %v", name, names)
			}
		}
	},
}

// TestPatchesPeopleKeep builds every kustomization.yaml of the guide against our own manifests.
func TestPatchesPeopleKeep(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile(guide)
	if err != nil {
		t.Fatal(err)
	}
	options := install.Defaults("v1.2.3")
	options.Components = slices.Concat(install.DefaultComponents, install.ExtraComponents)
	objects, err := install.Build(manifests.Files(), options)
	if err != nil {
		t.Fatal(err)
	}
	// Definitions are large, and no patch concerns them.
	objects = slices.DeleteFunc(objects, func(u *unstructured.Unstructured) bool { return u.GetKind() == "CustomResourceDefinition" })
	var components bytes.Buffer
	if err := install.Write(&components, objects, options); err != nil {
		t.Fatal(err)
	}
	seen := 0
	for section := range strings.SplitSeq(string(text), "\n## ") {
		title, body, _ := strings.Cut(section, "\n")
		_, doc, ok := strings.Cut(body, "```yaml\n")
		check := checks[title]
		if !ok || check == nil {
			continue
		}
		seen++
		doc, _, _ = strings.Cut(doc, "```")
		t.Run(title, func(t *testing.T) {
			t.Parallel()
			check(patched{t, built(t, components.String(), doc)})
		})
	}
	if seen != len(checks) || seen != strings.Count(string(text), "```yaml\n") {
		t.Errorf("%d of %d sections are checked", seen, strings.Count(string(text), "```yaml\n"))
	}
}

func built(t *testing.T, components, kustomization string) map[string]*unstructured.Unstructured {
	t.Helper()
	dir := t.TempDir()
	for name, text := range map[string]string{"gotk-components.yaml": components, "gotk-sync.yaml": syncFile, "kustomization.yaml": strings.ReplaceAll(kustomization, "../flux-system/", "")} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	result, err := build.Build(context.Background(), build.Options{Root: dir, Path: "."})
	if err != nil {
		t.Fatal(err)
	}
	found := map[string]*unstructured.Unstructured{}
	for _, u := range result.Objects {
		found[u.GetKind()+"/"+u.GetName()] = u
	}
	return found
}
