package kustomize_test

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net"
	"strings"
	"testing"
	"time"

	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	kustomizev1 "github.com/gitops-toolkit/flux/api/kustomize/v1"
	"github.com/gitops-toolkit/flux/api/meta"
	"github.com/gitops-toolkit/flux/internal/auth/cloud"
	"github.com/gitops-toolkit/flux/internal/kernel"
	"github.com/gitops-toolkit/flux/internal/kustomize"
	"github.com/gitops-toolkit/flux/internal/testenv"
)

// silence is a server that takes connections and says nothing.
func silence(t *testing.T) (address string) {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { listener.Close() })
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			t.Cleanup(func() { conn.Close() })
		}
	}()
	return listener.Addr().String()
}

func TestADeadClusterCostsOthersNothing(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	l.secret("dead", map[string]string{"value": fmt.Sprintf("apiVersion: v1\nkind: Config\ncurrent-context: c\ncontexts: [{name: c, context: {cluster: c, user: u}}]\nclusters: [{name: c, cluster: {server: 'https://%s'}}]\nusers: [{name: u, user: {token: x}}]\n", silence(t))})
	l.source("repo", "main@sha1:1", map[string]string{"dead/cm.yaml": configMap("dead", "1"), "alive/cm.yaml": configMap("alive", "1")})
	for i := range 12 { // more than work at a time
		l.create(fmt.Sprintf("dead-%d", i), func(s *kustomizev1.KustomizationSpec) {
			s.Path, s.KubeConfig = "./dead", &meta.KubeConfigReference{SecretRef: &meta.SecretKeyReference{Name: "dead"}}
		})
	}
	l.create("alive", func(s *kustomizev1.KustomizationSpec) { s.Path = "./alive" })
	l.ready("alive", "main@sha1:1")
	_, message := l.failed("dead-0", meta.ReconciliationFailedReason)
	if strings.Contains(message, "token: x") {
		t.Errorf("message: %s", message)
	}
}

func TestGenericCluster(t *testing.T) {
	t.Parallel()
	config := testenv.Config(t)
	l := newLab(t, func(s *setup) {
		s.settings.Gates[kernel.GateObjectLevelWorkloadIdentity] = true
		c, err := client.New(config, client.Options{})
		if err != nil {
			t.Fatal(err)
		}
		s.options.Clouds = cloud.New(cloud.Options{Mint: func(ctx context.Context, namespace, name string, audiences []string) (string, time.Time, error) {
			request := &authenticationv1.TokenRequest{Spec: authenticationv1.TokenRequestSpec{Audiences: audiences}}
			sa := &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name}}
			err := c.SubResource("token").Create(ctx, sa, request)
			return request.Status.Token, request.Status.ExpirationTimestamp.Time, err
		}})
	})
	for _, o := range []client.Object{
		&corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: l.namespace, Name: "remote"}},
		&rbacv1.RoleBinding{
			ObjectMeta: metav1.ObjectMeta{Namespace: l.namespace, Name: "remote"},
			RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: "admin"},
			Subjects:   []rbacv1.Subject{{Kind: "ServiceAccount", Namespace: l.namespace, Name: "remote"}},
		},
	} {
		if err := l.client.Create(t.Context(), o); err != nil {
			t.Fatal(err)
		}
	}
	data := map[string]string{
		"provider": "generic", "address": config.Host, "ca.crt": string(config.CAData), "serviceAccountName": "remote",
		"audiences": strings.Join(l.audiences("remote"), "\n"),
	}
	cluster := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: l.namespace, Name: "cluster"}, Data: data}
	if err := l.client.Create(t.Context(), cluster); err != nil {
		t.Fatal(err)
	}
	l.source("repo", "main@sha1:1", map[string]string{"cm.yaml": configMap("there", "1")})
	remote := func(s *kustomizev1.KustomizationSpec) {
		retry := meta.NewDuration(time.Hour)
		s.RetryInterval, s.KubeConfig = &retry, &meta.KubeConfigReference{ConfigMapRef: &meta.LocalObjectReference{Name: "cluster"}}
	}
	l.create("remote", remote)
	l.ready("remote", "main@sha1:1")
	cm := &corev1.ConfigMap{}
	if err := l.client.Get(t.Context(), client.ObjectKey{Namespace: l.namespace, Name: "there"}, cm); err != nil {
		t.Fatal(err)
	}
	l.create("forbidden", remote, func(s *kustomizev1.KustomizationSpec) { s.TargetNamespace = "default" })
	_, message := l.failed("forbidden", meta.ReconciliationFailedReason)
	if !strings.Contains(message, "system:serviceaccount:"+l.namespace+":remote") {
		t.Errorf("message: %s", message)
	}
	delete(cluster.Data, "provider")
	if err := l.client.Update(t.Context(), cluster); err != nil {
		t.Fatal(err)
	}
	l.create("unknown", remote)
	if _, message := l.failed("unknown", meta.ReconciliationFailedReason); !strings.Contains(message, "the key 'provider' is missing") {
		t.Errorf("message: %s", message)
	}
}

// audiences are those of the API server, as the token of an account tells.
func (l *lab) audiences(account string) []string {
	l.t.Helper()
	request := &authenticationv1.TokenRequest{}
	sa := &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: l.namespace, Name: account}}
	if err := l.client.SubResource("token").Create(l.t.Context(), sa, request); err != nil {
		l.t.Fatal(err)
	}
	claims, err := base64.RawURLEncoding.DecodeString(strings.Split(request.Status.Token, ".")[1])
	if err != nil {
		l.t.Fatal(err)
	}
	var said struct{ Aud []string }
	if err := json.Unmarshal(claims, &said); err != nil {
		l.t.Fatal(err)
	}
	return said.Aud
}

func TestTwoOwnersAreNamed(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	l.source("repo", "main@sha1:1", map[string]string{"a/cm.yaml": configMap("both", "a"), "b/cm.yaml": configMap("both", "b"), "none/README": ""})
	l.create("a", func(s *kustomizev1.KustomizationSpec) { s.Path = "./a" })
	l.ready("a", "main@sha1:1")
	l.create("b", func(s *kustomizev1.KustomizationSpec) { s.Path = "./b" })
	k := l.ready("b", "main@sha1:1")
	c := condition(k, kustomize.SharedCondition)
	want := fmt.Sprintf("ConfigMap/%[1]s/both is applied by Kustomization/%[1]s/b and by Kustomization/%[1]s/a: take it out of one of them", l.namespace)
	if c == nil || c.Status != metav1.ConditionTrue || c.Message != want {
		t.Errorf("the condition is %+v, want %s", c, want)
	}
	l.event("b", func(e posted) bool { return e.Message == want && e.Severity == "error" })
	l.update("a", func(k *kustomizev1.Kustomization) { k.Spec.Path = "./none" })
	l.until("a", "without objects", func(k *kustomizev1.Kustomization) bool {
		return k != nil && k.Status.ObservedGeneration == k.Generation && k.Status.Inventory != nil && len(k.Status.Inventory.Entries) == 0
	})
	l.request("b")
	l.until("b", "the only owner", func(k *kustomizev1.Kustomization) bool { return condition(k, kustomize.SharedCondition) == nil })
	if !l.exists("both") {
		t.Error("the object went with its former owner")
	}
}
