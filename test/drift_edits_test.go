package test

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

func init() {
	for kind, version := range map[string]string{
		"Job": "batch/v1", "HorizontalPodAutoscaler": "autoscaling/v2", "Service": "v1",
		"ValidatingWebhookConfiguration": "admissionregistration.k8s.io/v1",
		"CustomResourceDefinition":       "apiextensions.k8s.io/v1",
	} {
		apiVersions[kind] = version
	}
}

// drifting stands for a Kustomization whose interval no test lives to see: what is put back
// without a request was put back because of the drift.
const drifting = `
apiVersion: source.toolkit.fluxcd.io/v1
kind: GitRepository
metadata: {name: podinfo}
spec: {interval: 10m, url: $URL}
---
apiVersion: kustomize.toolkit.fluxcd.io/v1
kind: Kustomization
metadata: {name: podinfo}
spec:
  interval: 10m
  retryInterval: 1s
  path: ./kustomize
  prune: true
  sourceRef: {kind: GitRepository, name: podinfo}
`

// owned applies the manifest and a ConfigMap called witness from Git.
func owned(t *testing.T, manifest string) *scenario {
	t.Helper()
	s := begin(t)
	inNamespace := func(text string) string { return strings.ReplaceAll(text, "$NS", s.ns) }
	rev := s.commit(map[string]string{
		"kustomize/object.yaml":  inNamespace(manifest),
		"kustomize/witness.yaml": inNamespace(ownedMap("witness")),
	})
	s.apply(drifting)
	s.ready("Kustomization", "podinfo", rev)
	return s
}

func ownedMap(name string) string {
	return strings.Replace(configMap(name, "git"), "  name: "+name+"\n", "  name: "+name+"\n  namespace: $NS\n", 1)
}

// as edits an object in the name of another client.
func (s *scenario) as(manager, kind, name, patch string) *unstructured.Unstructured {
	s.Helper()
	o := s.object(kind, name)
	form := types.MergePatchType
	if strings.HasPrefix(patch, "[") {
		form = types.JSONPatchType
	}
	s.must(s.c.Patch(s.ctx, o, client.RawPatch(form, []byte(patch)), client.FieldOwner(manager)), manager+" edits "+kind+"/"+name)
	return o
}

// scale is what kubectl scale and autoscalers do.
func (s *scenario) scale(manager, name string, replicas int) {
	s.Helper()
	patch := client.RawPatch(types.MergePatchType, fmt.Appendf(nil, `{"spec":{"replicas":%d}}`, replicas))
	s.must(s.c.SubResource("scale").Patch(s.ctx, s.object("Deployment", name), patch, client.FieldOwner(manager)), "scale")
}

// holds waits until a field has the value; "" stands for a field that is not there.
func (s *scenario) holds(kind, name, want string, path ...string) *unstructured.Unstructured {
	s.Helper()
	return s.await(kind, name, strings.Join(path, ".")+" "+want, func(o *unstructured.Unstructured) bool {
		return o != nil && field(o, path...) == want
	})
}

func field(o *unstructured.Unstructured, path ...string) string {
	value, found, _ := unstructured.NestedFieldNoCopy(o.Object, path...)
	if !found {
		return ""
	}
	if text, ok := value.(string); ok {
		return text
	}
	data, _ := json.Marshal(value)
	return string(data)
}

// beat waits until a drift that happens now has been put back, and so for all that the controller
// had to do before.
func (s *scenario) beat() {
	s.Helper()
	s.must(s.c.Delete(s.ctx, s.object("ConfigMap", "witness")), "delete the witness")
	s.holds("ConfigMap", "witness", "git", "data", "key")
}

// left fails the test if the field is touched before another drift is put back.
func (s *scenario) left(kind, name, want string, path ...string) {
	s.Helper()
	s.beat()
	if o := s.get(kind, name); o == nil || field(o, path...) != want {
		s.Errorf("%s of %s/%s was to be left at %s: %v", strings.Join(path, "."), kind, name, want, o)
	}
}

// reconcile asks for a full pass and waits for the answer.
func (s *scenario) reconcile() {
	s.Helper()
	token := s.request("Kustomization", "podinfo")
	s.await("Kustomization", "podinfo", "an answer to the request", func(o *unstructured.Unstructured) bool { return answered(o, token) })
}

const web = `
apiVersion: apps/v1
kind: Deployment
metadata: {name: web, namespace: $NS}
spec:%s
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec: {containers: [{name: main, image: "example.com/web:1"}]}
`

func TestScaledToZero(t *testing.T) {
	s := owned(t, fmt.Sprintf(web, "\n  replicas: 2"))
	s.scale("kubectl", "web", 0)
	s.holds("Deployment", "web", "2", "spec", "replicas")
	s.event("Kustomization", "podinfo", "Normal", "Deployment/"+s.ns+"/web configured")
}

// The autoscaler of the control plane raises what Git does not hold.
func TestAutoscaler(t *testing.T) {
	s := owned(t, fmt.Sprintf(web, "")+`---
apiVersion: autoscaling/v2
kind: HorizontalPodAutoscaler
metadata: {name: web, namespace: $NS}
spec:
  scaleTargetRef: {apiVersion: apps/v1, kind: Deployment, name: web}
  minReplicas: 3
  maxReplicas: 5
`)
	s.holds("Deployment", "web", "3", "spec", "replicas")
	s.left("Deployment", "web", "3", "spec", "replicas")
	s.reconcile()
	if got := field(s.get("Deployment", "web"), "spec", "replicas"); got != "3" {
		t.Errorf("a request took %s replicas for the autoscaler's 3", got)
	}
}

func TestRolloutRestart(t *testing.T) {
	s := owned(t, fmt.Sprintf(web, ""))
	const patch = `{"spec":{"template":{"metadata":{"annotations":{"kubectl.kubernetes.io/restartedAt":"2026-01-01T00:00:00Z"}}}}}`
	s.as("kubectl-rollout", "Deployment", "web", patch)
	s.left("Deployment", "web", "2026-01-01T00:00:00Z", "spec", "template", "metadata", "annotations", "kubectl.kubernetes.io/restartedAt")
}

const sidecar = `[{"op":"add","path":"/spec/template/spec/containers/-","value":{"name":"side","image":"example.com/side:1"}}]`

func sidecars(o *unstructured.Unstructured) int {
	containers, _, _ := unstructured.NestedSlice(o.Object, "spec", "template", "spec", "containers")
	return len(containers) - 1
}

// A sidecar of another controller is not ours.
func TestInjectedSidecar(t *testing.T) {
	s := owned(t, fmt.Sprintf(web, ""))
	s.as("mesh-injector", "Deployment", "web", sidecar)
	s.beat()
	s.reconcile()
	if sidecars(s.get("Deployment", "web")) != 1 {
		t.Error("the injected sidecar was taken out")
	}
}

// What kubectl edit added is taken out, at the next full look.
func TestEditedSidecar(t *testing.T) {
	s := owned(t, fmt.Sprintf(web, ""))
	s.as("kubectl-edit", "Deployment", "web", sidecar)
	s.beat()
	if sidecars(s.get("Deployment", "web")) != 1 {
		t.Error("what kubectl edit added was taken out before the interval")
	}
	s.reconcile()
	s.await("Deployment", "web", "no sidecar", func(o *unstructured.Unstructured) bool { return sidecars(o) == 0 })
}

func TestInjectedCertificate(t *testing.T) {
	s := owned(t, `
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingWebhookConfiguration
metadata: {name: $NS}
webhooks:
- name: check.example.com
  clientConfig: {service: {namespace: $NS, name: check}}
  rules: [{apiGroups: [nobody.example.com], apiVersions: [v1], operations: [CREATE], resources: [nothings]}]
  failurePolicy: Ignore
  sideEffects: None
  admissionReviewVersions: [v1]
`)
	bundle := base64.StdEncoding.EncodeToString(world.config.CAData)
	s.as("cainjector", "ValidatingWebhookConfiguration", s.ns, `[{"op":"add","path":"/webhooks/0/clientConfig/caBundle","value":"`+bundle+`"}]`)
	s.beat()
	s.reconcile()
	if text := field(s.get("ValidatingWebhookConfiguration", s.ns), "webhooks"); !strings.Contains(text, bundle) {
		t.Errorf("the certificate was taken out: %s", text)
	}
	s.as("somebody", "ValidatingWebhookConfiguration", s.ns, `[{"op":"replace","path":"/webhooks/0/failurePolicy","value":"Fail"}]`)
	s.await("ValidatingWebhookConfiguration", s.ns, "failurePolicy of Git beside the certificate", func(o *unstructured.Unstructured) bool {
		text := field(o, "webhooks")
		return strings.Contains(text, `"failurePolicy":"Ignore"`) && strings.Contains(text, bundle)
	})
}

// A finished Job that its TTL removed comes back with the next full look. (That it waits for it is
// tested with the tracker.)
func TestJobRemovedByItsTTL(t *testing.T) {
	s := owned(t, `
apiVersion: batch/v1
kind: Job
metadata: {name: once, namespace: $NS}
spec:
  ttlSecondsAfterFinished: 1
  template:
    spec: {restartPolicy: Never, containers: [{name: main, image: "example.com/once:1"}]}
`)
	first := s.get("Job", "once")
	s.gone("Job", "once")
	s.request("Kustomization", "podinfo")
	if again := s.exists("Job", "once"); first != nil && again.GetUID() == first.GetUID() {
		t.Error("it is the same Job")
	}
}

func TestTwoWritersFight(t *testing.T) {
	s := owned(t, ownedMap("a"))
	s.as("rival", "ConfigMap", "a", `{"data":{"key":"rival"}}`)
	s.holds("ConfigMap", "a", "git", "data", "key")
	s.event("Kustomization", "podinfo", "Normal", "taken by rival")
	s.as("rival", "ConfigMap", "a", `{"data":{"key":"rival again"}}`)
	s.event("Kustomization", "podinfo", "Normal", "ConfigMap/"+s.ns+"/a: rival changes what kustomize-controller has put back")
	s.left("ConfigMap", "a", "rival again", "data", "key")
	s.reconcile()
	s.holds("ConfigMap", "a", "git", "data", "key")
}

// What makes an object ours is put back like any other field.
func TestMarksOfOwnership(t *testing.T) {
	const label = "kustomize.toolkit.fluxcd.io/name"
	s := owned(t, ownedMap("a")+"---\n"+ownedMap("b"))
	s.as("somebody", "ConfigMap", "a", `{"metadata":{"labels":{"`+label+`":null}}}`)
	s.holds("ConfigMap", "a", "podinfo", "metadata", "labels", label)

	s.as("somebody", "ConfigMap", "b", `{"metadata":{"managedFields":[{}]}}`)
	s.await("ConfigMap", "b", "fields of kustomize-controller", func(o *unstructured.Unstructured) bool {
		for _, e := range o.GetManagedFields() {
			if e.Manager == "kustomize-controller" && e.Operation == "Apply" {
				return true
			}
		}
		return false
	})
}

func TestReplacedByAnother(t *testing.T) {
	s := owned(t, ownedMap("a"))
	s.must(s.c.Delete(s.ctx, s.object("ConfigMap", "a")), "delete")
	other := s.object("ConfigMap", "a")
	other.Object["data"] = map[string]any{"key": "another"}
	_ = s.c.Create(s.ctx, other) // the controller may have been faster: then it is an edit
	s.as("somebody", "ConfigMap", "a", `{"data":{"key":"another"}}`)
	o := s.holds("ConfigMap", "a", "git", "data", "key")
	if o.GetLabels()["kustomize.toolkit.fluxcd.io/name"] != "podinfo" {
		t.Errorf("it is not ours: %v", o.GetLabels())
	}
}

func TestDefinitionDeleted(t *testing.T) {
	s := begin(t)
	group, plural := s.ns+".example.com", "gears"
	apiVersions["Gear"+s.ns] = group + "/v1"
	rev := s.commit(map[string]string{"kustomize/all.yaml": `
apiVersion: ` + group + `/v1
kind: Gear` + s.ns + `
metadata: {name: first, namespace: ` + s.ns + `}
spec: {teeth: 3}
---
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: ` + plural + `.` + group + `}
spec:
  group: ` + group + `
  scope: Namespaced
  names: {kind: Gear` + s.ns + `, plural: ` + plural + `, singular: gear}
  versions:
  - name: v1
    served: true
    storage: true
    schema: {openAPIV3Schema: {type: object, properties: {spec: {type: object, properties: {teeth: {type: integer}}}}}}
`})
	s.apply(drifting)
	s.ready("Kustomization", "podinfo", rev)
	before := s.get("CustomResourceDefinition", plural+"."+group)
	s.must(s.c.Delete(s.ctx, before), "delete the definition")
	s.await("CustomResourceDefinition", plural+"."+group, "another one", func(o *unstructured.Unstructured) bool {
		return o != nil && o.GetUID() != before.GetUID() && conditionOf(o, "Established").status == "True"
	})
	s.holds("Gear"+s.ns, "first", "3", "spec", "teeth")
}

func TestAppliedOnlyIfAbsent(t *testing.T) {
	s := owned(t, strings.Replace(ownedMap("a"), "metadata:\n", "metadata:\n  annotations: {kustomize.toolkit.fluxcd.io/ssa: IfNotPresent}\n", 1))
	s.as("somebody", "ConfigMap", "a", `{"data":{"key":"mine"}}`)
	s.left("ConfigMap", "a", "mine", "data", "key")
	s.reconcile()
	if got := field(s.get("ConfigMap", "a"), "data", "key"); got != "mine" {
		t.Errorf("an object under ssa: IfNotPresent was put back to %q", got)
	}
	s.must(s.c.Delete(s.ctx, s.object("ConfigMap", "a")), "delete")
	s.request("Kustomization", "podinfo")
	s.holds("ConfigMap", "a", "git", "data", "key")
}

// A namespace that terminates under us is said to, and comes back whole when it is gone.
func TestNamespaceTerminates(t *testing.T) {
	s := owned(t, `
apiVersion: v1
kind: Namespace
metadata: {name: $NS-inner}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: a, namespace: $NS-inner}
data: {key: git}
`)
	inner := *s
	inner.ns = s.ns + "-inner"
	release := client.RawPatch(types.MergePatchType, []byte(`{"metadata":{"finalizers":null}}`))
	s.Cleanup(func() { _ = s.c.Patch(context.Background(), inner.object("ConfigMap", "anchor"), release) })
	before := s.get("Namespace", inner.ns)
	anchor := inner.object("ConfigMap", "anchor")
	anchor.SetFinalizers([]string{"example.com/anchor"})
	s.must(s.c.Create(s.ctx, anchor), "create what holds the namespace back")
	s.must(s.c.Delete(s.ctx, before), "delete the namespace")
	s.failing("Kustomization", "podinfo", "ReconciliationFailed", inner.ns, "terminat")
	s.must(s.c.Patch(s.ctx, inner.object("ConfigMap", "anchor"), release), "let the namespace go")
	s.await("Namespace", inner.ns, "another one", func(o *unstructured.Unstructured) bool {
		return o != nil && o.GetUID() != before.GetUID()
	})
	inner.holds("ConfigMap", "a", "git", "data", "key")
	s.ready("Kustomization", "podinfo", "")
}
