package kustomize_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	kustomizev1 "github.com/gitops-toolkit/flux/api/kustomize/v1"
	"github.com/gitops-toolkit/flux/api/meta"
	"github.com/gitops-toolkit/flux/internal/auth/cloud"
	"github.com/gitops-toolkit/flux/internal/testenv"
)

// escape is something that one tenant tries to get at what is another's, or the cluster's.
type escape struct {
	name, content string // of one file
	reason, want  string
	change        func(*kustomizev1.KustomizationSpec)
}

type specChange = func(*kustomizev1.KustomizationSpec)

const forbidden = "is forbidden"

// manifest is an object of a kind in a namespace.
func manifest(apiVersion, kind, namespace, rest string) string {
	if namespace != "" {
		namespace = ", namespace: " + namespace
	}
	return fmt.Sprintf("apiVersion: %s\nkind: %s\nmetadata: {name: escape%s}\n%s\n", apiVersion, kind, namespace, rest)
}

// writes are objects that the tenant's account may not write.
func writes(victim string) []escape {
	rule := "rules: [{apiGroups: ['*'], resources: ['*'], verbs: ['*']}]"
	subject := "subjects: [{kind: ServiceAccount, name: tenant, namespace: default}]"
	role := "roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: cluster-admin}\n"
	webhook := "webhooks: [{name: a.example.com, sideEffects: None, admissionReviewVersions: [v1], clientConfig: {url: 'https://example.com'}}]"
	crd := strings.Replace(brokenCRD("stolen"), "plural: stolens", "plural: stolens, shortNames: [st]", 1)
	var out []escape
	for name, content := range map[string]string{
		"configmap-there":  manifest("v1", "ConfigMap", victim, "data: {a: b}"),
		"secret-there":     strings.Replace(manifest("v1", "Secret", victim, "stringData: {value: stolen}"), "escape", "treasure", 1),
		"pod-there":        manifest("v1", "Pod", victim, "spec: {containers: [{name: c, image: i}]}"),
		"account-there":    manifest("v1", "ServiceAccount", victim, ""),
		"role-there":       manifest("rbac.authorization.k8s.io/v1", "RoleBinding", victim, role+subject),
		"ks-there":         manifest("kustomize.toolkit.fluxcd.io/v1", "Kustomization", victim, "spec: {interval: 1h, prune: true, sourceRef: {kind: GitRepository, name: x}}"),
		"namespace":        manifest("v1", "Namespace", "", ""),
		"cluster-role":     manifest("rbac.authorization.k8s.io/v1", "ClusterRole", "", rule),
		"cluster-binding":  manifest("rbac.authorization.k8s.io/v1", "ClusterRoleBinding", "", role+subject),
		"webhook":          manifest("admissionregistration.k8s.io/v1", "MutatingWebhookConfiguration", "", webhook),
		"definition":       crd,
		"volume":           manifest("v1", "PersistentVolume", "", "spec: {capacity: {storage: 1Gi}, accessModes: [ReadWriteOnce], hostPath: {path: /}}"),
		"node":             manifest("v1", "Node", "", ""),
		"api-service":      strings.Replace(manifest("apiregistration.k8s.io/v1", "APIService", "", "spec: {group: evil.example.com, version: v1, groupPriorityMinimum: 1, versionPriority: 1, service: {name: x, namespace: "+victim+"}}"), "name: escape", "name: v1.evil.example.com", 1),
		"priority":         manifest("scheduling.k8s.io/v1", "PriorityClass", "", "value: 1000000"),
		"csr":              manifest("certificates.k8s.io/v1", "CertificateSigningRequest", "", "spec: {request: eA==, signerName: kubernetes.io/kube-apiserver-client, usages: [client auth]}"),
		"admission-policy": manifest("admissionregistration.k8s.io/v1", "ValidatingAdmissionPolicy", "", "spec: {matchConstraints: {resourceRules: [{apiGroups: [''], apiVersions: [v1], operations: [CREATE], resources: [pods]}]}, validations: [{expression: 'false'}]}"),
	} {
		out = append(out, escape{name: name, content: content, reason: applyFailed, want: forbidden, change: func(s *kustomizev1.KustomizationSpec) { s.TargetNamespace = "" }})
	}
	return append(out, escape{
		name: "grant-itself", content: manifest("rbac.authorization.k8s.io/v1", "RoleBinding", "", role+subject), reason: applyFailed, want: forbidden,
	})
}

// reads are ways to see what the tenant's account may not see.
func reads(victim string) []escape {
	plain := configMap("mine", "1")
	from := func(name string) specChange {
		return func(s *kustomizev1.KustomizationSpec) {
			s.PostBuild = &kustomizev1.PostBuild{SubstituteFrom: []kustomizev1.SubstituteReference{{Kind: "Secret", Name: name}}}
		}
	}
	depends := func(d meta.DependencyReference) specChange {
		return func(s *kustomizev1.KustomizationSpec) { s.DependsOn = []meta.DependencyReference{d} }
	}
	return []escape{
		{"source-there", plain, meta.AccessDeniedReason, "cross-namespace references have been blocked", func(s *kustomizev1.KustomizationSpec) { s.SourceRef.Namespace = victim }},
		{"variables-there", configMap("mine", "${value}"), buildFailed, "substitute from 'Secret/", from("../" + victim + "/treasure")},
		{"keys-there", plain, buildFailed, "cannot get sops decryption Secret", withDecryption("../" + victim + "/treasure")},
		{"secret-by-dependency", plain, meta.DependencyNotReadyReason, "cannot be read: ", depends(meta.DependencyReference{
			APIVersion: "v1", Kind: "Secret", Name: "treasure", Namespace: victim, ReadyExpr: "dep.data.value != ''",
		})},
		{"nodes-by-dependency", plain, meta.DependencyNotReadyReason, "cannot be read: ", depends(meta.DependencyReference{
			APIVersion: "v1", Kind: "Namespace", Name: "kube-system", ReadyExpr: "dep.metadata.name != ''",
		})},
		{"secret-by-health", plain, meta.HealthCheckFailedReason, "cannot get resource", func(s *kustomizev1.KustomizationSpec) {
			second := meta.NewDuration(30 * time.Second)
			s.Timeout = &second
			s.HealthChecks = []meta.NamespacedObjectKindReference{{APIVersion: "v1", Kind: "Secret", Name: "treasure", Namespace: victim}}
		}},
		{"target-there", plain, applyFailed, forbidden, func(s *kustomizev1.KustomizationSpec) { s.TargetNamespace = victim }},
	}
}

// identities are ways to be somebody else.
func identities(victim string) []escape {
	plain := configMap("mine", "1")
	as := func(name string) specChange {
		return func(s *kustomizev1.KustomizationSpec) { s.ServiceAccountName = name }
	}
	with := func(secret string) specChange {
		return func(s *kustomizev1.KustomizationSpec) {
			s.KubeConfig = &meta.KubeConfigReference{SecretRef: &meta.SecretKeyReference{Name: secret}}
		}
	}
	return []escape{
		{"account-of-nobody", plain, applyFailed, forbidden, as("ghost")},
		{"account-by-path", plain, applyFailed, forbidden, as("../" + victim + "/tenant")},
		{"account-by-colon", plain, applyFailed, forbidden, as("tenant:x")},
		{"kubeconfig-exec", plain, applyFailed, "users[].user.exec, which is not allowed", with("exec")},
		{"kubeconfig-token-file", plain, applyFailed, "users[].user.tokenFile, which is not allowed", with("token-file")},
		{"kubeconfig-ca-file", plain, applyFailed, "certificate-authority, which is not allowed", with("ca-file")},
		{"kubeconfig-no-tls", plain, applyFailed, "insecure-skip-tls-verify, which is not allowed", with("no-tls")},
		{"kubeconfig-there", plain, applyFailed, "unable to read KubeConfig secret", with("../" + victim + "/treasure")},
		{"controllers-token", plain, applyFailed, "the controller's own identity is not lent", func(s *kustomizev1.KustomizationSpec) {
			s.KubeConfig = &meta.KubeConfigReference{ConfigMapRef: &meta.LocalObjectReference{Name: "cluster"}}
		}},
	}
}

// repositories are ways out of the artifact.
func repositories() []escape {
	return []escape{
		{"file-absolute", "configMapGenerator: [{name: stolen, files: [/etc/passwd]}]\n", buildFailed, "leads out of the artifact", nil},
		{"file-above", "configMapGenerator: [{name: stolen, files: [../../../../../../etc/passwd]}]\n", buildFailed, "leads out of the artifact", nil},
		{"file-environment", "secretGenerator: [{name: stolen, envs: [/proc/self/environ]}]\n", buildFailed, "leads out of the artifact", nil},
		{"file-metadata-service", "configMapGenerator: [{name: stolen, files: ['http://169.254.169.254/latest/meta-data']}]\n", buildFailed, "not allowed", nil},
		{"base-remote", "resources: ['https://example.com/x.yaml']\n", buildFailed, "not allowed", nil},
		{"schema-remote", "openapi: {path: 'https://example.com/schema.json'}\nresources: []\n", buildFailed, "not allowed", nil},
		{"chart", "helmCharts: [{name: x, repo: 'https://example.com'}]\n", buildFailed, "helm", nil},
	}
}

func TestTenantsCannotEscape(t *testing.T) {
	t.Parallel()
	l := newLab(t, func(s *setup) {
		s.settings.NoCrossNamespaceRefs, s.settings.DefaultServiceAccount = true, "tenant"
		s.options.Clouds = cloud.New(cloud.Options{})
	})
	victim := testenv.Namespace(t)
	l.tenant(victim)
	before := l.inventoryOf(victim)

	all := append(append(append(writes(victim), reads(victim)...), identities(victim)...), repositories()...)
	if len(all) < 30 {
		t.Errorf("only %d escapes", len(all))
	}
	files := map[string]string{}
	for _, e := range all {
		file := "object.yaml"
		if !strings.Contains(e.content, "kind:") {
			file = "kustomization.yaml"
		}
		files[e.name+"/"+file] = e.content
	}
	l.source("repo", "main@sha1:1", files)
	retry := meta.NewDuration(time.Hour)
	for _, e := range all {
		l.create(e.name, func(s *kustomizev1.KustomizationSpec) {
			s.Path, s.RetryInterval = "./"+e.name, &retry
			if e.change != nil {
				e.change(s)
			}
		})
	}
	for _, e := range all {
		t.Run(e.name, func(t *testing.T) {
			l := l.with(t)
			_, message := l.failed(e.name, e.reason)
			if !strings.Contains(message, e.want) {
				t.Errorf("the denial does not tell %q:\n%s", e.want, message)
			}
			if strings.Contains(message, canary) || strings.Contains(message, "root:") {
				t.Errorf("the denial tells what it denies:\n%s", message)
			}
		})
	}
	if after := l.inventoryOf(victim); after != before {
		t.Errorf("the victim's namespace has changed:\n%s\nwas\n%s", after, before)
	}
}

// tenant makes the lab's namespace that of a tenant who may do everything in it, and victim that of another one.
func (l *lab) tenant(victim string) {
	l.t.Helper()
	kubeconfig := func(cluster, user string) map[string]string {
		return map[string]string{"value": fmt.Sprintf("apiVersion: v1\nkind: Config\ncurrent-context: c\ncontexts: [{name: c, context: {cluster: c, user: u}}]\nclusters: [{name: c, cluster: {server: 'https://127.0.0.1:1'%s}}]\nusers: [{name: u, user: {%s}}]\n", cluster, user)}
	}
	l.secret("exec", kubeconfig("", "exec: {apiVersion: client.authentication.k8s.io/v1, command: /bin/true, interactiveMode: Never}"))
	l.secret("token-file", kubeconfig("", "tokenFile: /etc/passwd"))
	l.secret("ca-file", kubeconfig(", certificate-authority: /etc/passwd", "token: x"))
	l.secret("no-tls", kubeconfig(", insecure-skip-tls-verify: true", "token: x"))
	for _, o := range []client.Object{
		&corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: l.namespace, Name: "tenant"}},
		&rbacv1.RoleBinding{
			ObjectMeta: metav1.ObjectMeta{Namespace: l.namespace, Name: "tenant"},
			RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: "admin"},
			Subjects:   []rbacv1.Subject{{Kind: "ServiceAccount", Namespace: l.namespace, Name: "tenant"}},
		},
		&corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: l.namespace, Name: "cluster"}, Data: map[string]string{"provider": "generic", "address": "https://evil.example.com"}},
		&corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: victim, Name: "treasure"}, StringData: map[string]string{"value": canary}},
		&corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: victim, Name: "tenant"}},
	} {
		if err := l.client.Create(l.t.Context(), o); err != nil {
			l.t.Fatal(err)
		}
	}
}

// inventoryOf describes what is in a namespace that matters here.
func (l *lab) inventoryOf(namespace string) string {
	l.t.Helper()
	treasure := &corev1.Secret{}
	if err := l.client.Get(l.t.Context(), types.NamespacedName{Namespace: namespace, Name: "treasure"}, treasure); err != nil {
		l.t.Fatal(err)
	}
	text := fmt.Sprintf("treasure %s %s\n", treasure.ResourceVersion, treasure.Data)
	pods, bindings, kustomizations := &corev1.PodList{}, &rbacv1.RoleBindingList{}, &kustomizev1.KustomizationList{}
	for _, list := range []client.ObjectList{pods, bindings, kustomizations} {
		if err := l.client.List(l.t.Context(), list, client.InNamespace(namespace)); err != nil {
			l.t.Fatal(err)
		}
	}
	text += fmt.Sprintf("%d pods, %d bindings, %d kustomizations", len(pods.Items), len(bindings.Items), len(kustomizations.Items))
	return text
}
