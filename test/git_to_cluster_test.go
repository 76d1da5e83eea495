package test

import (
	"testing"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

// The two examples of the seeds, unchanged but for the URL, the namespace and shorter intervals.
const podinfo = `
apiVersion: source.toolkit.fluxcd.io/v1
kind: GitRepository
metadata:
  name: podinfo
spec:
  interval: 5s
  url: $URL
  ref:
    branch: master
---
apiVersion: kustomize.toolkit.fluxcd.io/v1
kind: Kustomization
metadata:
  name: podinfo
spec:
  interval: 5m
  retryInterval: 3s
  targetNamespace: $NS
  path: "./kustomize"
  prune: true
  sourceRef:
    kind: GitRepository
    name: podinfo
`

// What is committed arrives, what is changed changes, what is removed goes.
func TestGitToCluster(t *testing.T) {
	s := begin(t)
	first := s.commit(map[string]string{"kustomize/a.yaml": configMap("a", "one"), "kustomize/b.yaml": configMap("b", "one")})
	s.apply(podinfo)
	s.ready("GitRepository", "podinfo", first)
	s.ready("Kustomization", "podinfo", first)
	s.event("Kustomization", "podinfo", "Normal", "ConfigMap/"+s.ns+"/a created")

	second := s.commit(map[string]string{"kustomize/a.yaml": configMap("a", "two")})
	s.ready("Kustomization", "podinfo", second)
	if got, _, _ := unstructured.NestedString(s.get("ConfigMap", "a").Object, "data", "key"); got != "two" {
		t.Errorf("ConfigMap a holds %q after the second commit", got)
	}

	third := s.remove("kustomize/b.yaml")
	s.ready("Kustomization", "podinfo", third)
	s.gone("ConfigMap", "b")
	s.event("Kustomization", "podinfo", "Normal", "ConfigMap/"+s.ns+"/b deleted")

	s.must(s.c.Delete(s.ctx, s.object("Kustomization", "podinfo")), "delete the Kustomization")
	s.gone("Kustomization", "podinfo")
	s.gone("ConfigMap", "a")
}

// A namespace, an account, a CRD and what uses them may stand in one folder in any order.
func TestOrderComesFromContent(t *testing.T) {
	s := begin(t)
	plural := "gears" + s.ns[len("test-"):]
	group := s.ns + ".example.com"
	rev := s.commit(map[string]string{"kustomize/all.yaml": `
apiVersion: ` + group + `/v1
kind: Gear
metadata: {name: first, namespace: ` + s.ns + `}
spec: {teeth: 3}
---
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: ` + plural + `.` + group + `}
spec:
  group: ` + group + `
  scope: Namespaced
  names: {kind: Gear, plural: ` + plural + `, singular: gear}
  versions:
  - name: v1
    served: true
    storage: true
    schema: {openAPIV3Schema: {type: object, properties: {spec: {type: object, properties: {teeth: {type: integer}}}}}}
`})
	s.apply(`
apiVersion: source.toolkit.fluxcd.io/v1
kind: GitRepository
metadata: {name: podinfo}
spec: {interval: 5s, url: $URL}
---
apiVersion: kustomize.toolkit.fluxcd.io/v1
kind: Kustomization
metadata: {name: podinfo}
spec: {interval: 5m, retryInterval: 3s, path: kustomize, prune: true, sourceRef: {kind: GitRepository, name: podinfo}}
`)
	ks := s.ready("Kustomization", "podinfo", rev)
	entries, _, _ := unstructured.NestedSlice(ks.Object, "status", "inventory", "entries")
	if len(entries) != 2 {
		t.Errorf("inventory has %d entries, want the CRD and its resource: %v", len(entries), entries)
	}
	s.must(s.c.Delete(s.ctx, s.object("Kustomization", "podinfo")), "delete the Kustomization")
	s.gone("Kustomization", "podinfo")
}

// Dependents start when their dependency is ready, not when a timer says so.
func TestDependsOn(t *testing.T) {
	s := begin(t)
	rev := s.commit(map[string]string{
		"kustomize/keep.yaml": configMap("keep", "x"), "base/base.yaml": configMap("base", "x"), "app/app.yaml": configMap("app", "x"),
	})
	s.apply(podinfo)
	s.apply(`
apiVersion: kustomize.toolkit.fluxcd.io/v1
kind: Kustomization
metadata: {name: app}
spec:
  interval: 5m
  path: app
  prune: true
  targetNamespace: $NS
  sourceRef: {kind: GitRepository, name: podinfo}
  dependsOn: [{name: base}]
`)
	s.failing("Kustomization", "app", "DependencyNotReady", "base")
	s.apply(`
apiVersion: kustomize.toolkit.fluxcd.io/v1
kind: Kustomization
metadata: {name: base}
spec:
  interval: 5m
  path: base
  prune: true
  targetNamespace: $NS
  sourceRef: {kind: GitRepository, name: podinfo}
`)
	s.ready("Kustomization", "base", rev)
	s.ready("Kustomization", "app", rev)
	s.exists("ConfigMap", "app")
}
