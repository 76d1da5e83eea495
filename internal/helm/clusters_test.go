package helm_test

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"strings"
	"testing"
	"time"

	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	helmv2 "github.com/gitops-toolkit/flux/api/helm/v2"
	"github.com/gitops-toolkit/flux/api/meta"
	"github.com/gitops-toolkit/flux/internal/auth/cloud"
	"github.com/gitops-toolkit/flux/internal/kernel"
)

// token mints a token of a ServiceAccount, as the controller does.
func (l *lab) token(ctx context.Context, namespace, name string, audiences []string) (string, time.Time, error) {
	request := &authenticationv1.TokenRequest{Spec: authenticationv1.TokenRequestSpec{Audiences: audiences}}
	sa := &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name}}
	err := l.client.SubResource("token").Create(ctx, sa, request)
	return request.Status.Token, request.Status.ExpirationTimestamp.Time, err
}

// audiences are those of the API server, as the token of an account tells.
func (l *lab) audiences(account string) []string {
	l.t.Helper()
	token, _, err := l.token(l.t.Context(), l.namespace, account, nil)
	if err != nil {
		l.t.Fatal(err)
	}
	claims, err := base64.RawURLEncoding.DecodeString(strings.Split(token, ".")[1])
	if err != nil {
		l.t.Fatal(err)
	}
	var said struct{ Aud []string }
	if err := json.Unmarshal(claims, &said); err != nil {
		l.t.Fatal(err)
	}
	return said.Aud
}

// account makes a ServiceAccount that may do everything in the namespace.
func (l *lab) account(name string) {
	l.t.Helper()
	for _, o := range []client.Object{
		&corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: l.namespace, Name: name}},
		&rbacv1.RoleBinding{
			ObjectMeta: metav1.ObjectMeta{Namespace: l.namespace, Name: name},
			RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: "admin"},
			Subjects:   []rbacv1.Subject{{Kind: "ServiceAccount", Namespace: l.namespace, Name: name}},
		},
	} {
		if err := l.client.Create(l.t.Context(), o); err != nil {
			l.t.Fatal(err)
		}
	}
}

// A ConfigMap describes a cluster, and the token of a ServiceAccount opens it: for everything that the release does.
func TestClusterOfAConfigMap(t *testing.T) {
	t.Parallel()
	l := newLab(t, func(l *lab) {
		l.settings.Gates[kernel.GateObjectLevelWorkloadIdentity] = true
		l.options.Clouds = cloud.New(cloud.Options{Mint: l.token})
	})
	l.account("remote")
	cluster := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: l.namespace, Name: "cluster"}, Data: map[string]string{
		"provider": "generic", "address": l.config.Host, "ca.crt": string(l.config.CAData), "serviceAccountName": "remote",
		"audiences": strings.Join(l.audiences("remote"), "\n"),
	}}
	if err := l.client.Create(t.Context(), cluster); err != nil {
		t.Fatal(err)
	}
	l.source("demo", "1.0.0", demo("1.0.0", nil))
	there := func(s *helmv2.HelmReleaseSpec) {
		s.KubeConfig = &meta.KubeConfigReference{ConfigMapRef: &meta.LocalObjectReference{Name: "cluster"}}
	}
	l.create("app", there)
	l.ready("app", 1)
	if l.configMap("app") == nil || l.storedRevisions("app")["1"] != "deployed" {
		t.Errorf("not released: %v", l.storedRevisions("app"))
	}
	l.create("forbidden", there, func(s *helmv2.HelmReleaseSpec) { s.TargetNamespace = "default" })
	if _, message := l.failed("forbidden", "InstallFailed"); !strings.Contains(message, "system:serviceaccount:"+l.namespace+":remote") {
		t.Errorf("not done as the account: %s", message)
	}
	l.delete("app")
	l.gone("app")
	if l.configMap("app") != nil {
		t.Error("the release was not uninstalled")
	}
	delete(cluster.Data, "provider")
	if err := l.client.Update(t.Context(), cluster); err != nil {
		t.Fatal(err)
	}
	l.create("unknown", there)
	if _, message := l.failed("unknown", "RESTClientError"); !strings.Contains(message, "the key 'provider' is missing") {
		t.Errorf("message: %s", message)
	}
	l.create("orphan", there, func(s *helmv2.HelmReleaseSpec) { s.KubeConfig.ConfigMapRef.Name = "none" })
	if _, message := l.failed("orphan", "RESTClientError"); !strings.Contains(message, "correct spec.kubeConfig.configMapRef") {
		t.Errorf("message: %s", message)
	}
}
