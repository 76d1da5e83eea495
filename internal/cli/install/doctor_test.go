package install_test

import (
	"bytes"
	"context"
	"slices"
	"strings"
	"time"

	admissionv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/wait"
	"sigs.k8s.io/yaml"

	"github.com/gitops-toolkit/flux/internal/cli"
)

// doctor takes a right from a controller, gives a tenant an account without any and puts a webhook
// in the way; `flux check` has to name each, and the roles that it prints have to mend it.
func (l *lab) doctor() {
	l.Helper()
	role, err := l.client.RbacV1().ClusterRoles().Get(l.Context(), "source-controller-"+namespace, metav1.GetOptions{})
	if err != nil {
		l.Fatal(err)
	}
	for i := range role.Rules {
		if slices.Contains(role.Rules[i].Resources, "secrets") {
			role.Rules[i].Verbs = []string{"get", "list"}
		}
	}
	if _, err := l.client.RbacV1().ClusterRoles().Update(l.Context(), role, metav1.UpdateOptions{}); err != nil {
		l.Fatal(err)
	}
	if _, err := l.client.CoreV1().ServiceAccounts("demo").Create(l.Context(), &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Name: "team"}}, metav1.CreateOptions{}); err != nil {
		l.Fatal(err)
	}
	l.tenant()
	hooks := l.client.AdmissionregistrationV1().ValidatingWebhookConfigurations()
	none := admissionv1.SideEffectClassNone
	hook := &admissionv1.ValidatingWebhookConfiguration{ObjectMeta: metav1.ObjectMeta{Name: "dead"}, Webhooks: []admissionv1.ValidatingWebhook{{
		Name: "dead.example.com", SideEffects: &none, AdmissionReviewVersions: []string{"v1"},
		ClientConfig: admissionv1.WebhookClientConfig{Service: &admissionv1.ServiceReference{Namespace: "demo", Name: "nowhere"}},
		Rules:        []admissionv1.RuleWithOperations{{Operations: []admissionv1.OperationType{"CREATE"}, Rule: admissionv1.Rule{APIGroups: []string{"example.com"}, APIVersions: []string{"v1"}, Resources: []string{"widgets"}}}},
	}}}
	if _, err := hooks.Create(l.Context(), hook, metav1.CreateOptions{}); err != nil {
		l.Fatal(err)
	}
	roles, said, code := l.check()
	if code != 1 || !strings.HasSuffix(said, "✗ check failed\n") {
		l.Errorf("a controller lacks a right: exit %d", code)
	}
	for _, want := range []string{
		"✗ source-controller: ServiceAccount flux-system/source-controller may not watch secrets in all namespaces\n",
		"⚠️ kustomize-controller, Kustomization/demo/team: ServiceAccount demo/team may not patch configmaps in the namespace demo\n",
		"⚠️ kustomize-controller, Kustomization/demo/team: ServiceAccount demo/team may not patch deployments.apps in the namespace demo\n",
		"⚠️ ValidatingWebhookConfiguration/dead: webhook dead.example.com has no ready endpoint behind Service demo/nowhere, and its failurePolicy is Fail: it refuses every create of widgets.example.com; ",
	} {
		if !strings.Contains(said, want) {
			l.Errorf("flux check does not say %q", want)
		}
	}
	if l.Failed() {
		l.Fatalf("flux check says\n%s", said)
	}
	l.apply(roles)
	if err := hooks.Delete(l.Context(), "dead", metav1.DeleteOptions{}); err != nil {
		l.Fatal(err)
	}
	l.flux("reconcile", "kustomization", "team", "--namespace=demo")
	roles, said, code = l.check()
	if code != 0 || roles != "" || strings.Contains(said, "⚠️") {
		l.Errorf("after the cure: exit %d\n%s%s", code, said, roles)
	}
	l.flux("delete", "kustomization", "team", "--namespace=demo", "--silent")
}

// tenant creates the Kustomization and waits until it was refused.
func (l *lab) tenant() {
	l.Helper()
	kustomizations := l.dynamic.Resource(schema.GroupVersionResource{Group: "kustomize.toolkit.fluxcd.io", Version: "v1", Resource: "kustomizations"}).Namespace("demo")
	team := &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "kustomize.toolkit.fluxcd.io/v1", "kind": "Kustomization", "metadata": map[string]any{"name": "team"},
		"spec": map[string]any{
			"interval": "1h", "path": "./deploy", "prune": false, "targetNamespace": "demo", "namePrefix": "team-", "serviceAccountName": "team",
			"sourceRef": map[string]any{"kind": "GitRepository", "name": "app", "namespace": namespace},
		},
	}}
	if _, err := kustomizations.Create(l.Context(), team, metav1.CreateOptions{}); err != nil {
		l.Fatal(err)
	}
	err := wait.PollUntilContextTimeout(l.Context(), 100*time.Millisecond, time.Minute, true, func(ctx context.Context) (bool, error) {
		live, err := kustomizations.Get(ctx, "team", metav1.GetOptions{})
		if err != nil {
			return false, err
		}
		text, err := live.MarshalJSON()
		return strings.Contains(string(text), "is forbidden") && strings.Contains(string(text), `"status":"False"`), err
	})
	if err != nil {
		l.Fatalf("the tenant was never refused: %v", err)
	}
}

// check runs flux check, which may fail.
func (l *lab) check() (stdout, stderr string, code int) {
	l.Helper()
	var out, progress bytes.Buffer
	code = cli.Main(l.Context(), []string{"check", "--kubeconfig", l.kubeconfig, "--timeout", "2m"}, strings.NewReader(""), &out, &progress)
	return out.String(), progress.String(), code
}

// apply brings what the doctor printed to the cluster.
func (l *lab) apply(docs string) {
	l.Helper()
	for doc := range strings.SplitSeq(docs, "---\n") {
		obj := &unstructured.Unstructured{}
		if err := yaml.Unmarshal([]byte(doc), &obj.Object); err != nil {
			l.Fatal(err)
		}
		if len(obj.Object) == 0 {
			continue
		}
		r := schema.GroupVersionResource{Group: "rbac.authorization.k8s.io", Version: "v1", Resource: strings.ToLower(obj.GetKind()) + "s"}
		_, err := l.dynamic.Resource(r).Namespace(obj.GetNamespace()).Apply(l.Context(), obj.GetName(), obj, metav1.ApplyOptions{FieldManager: "test"})
		if err != nil {
			l.Fatalf("apply %s: %v\n%s", obj.GetName(), err, doc)
		}
	}
}
