package access

import (
	"context"
	"errors"
	"net/url"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	sourcev1 "github.com/gitops-toolkit/flux/api/source/v1"
	"github.com/gitops-toolkit/flux/internal/auth/cloud"
	"github.com/gitops-toolkit/flux/internal/gitrepo"
)

// sky is a cloud, and a cluster with one ServiceAccount.
type sky struct {
	asked []cloud.Identity
	token string
}

func (s *sky) Git(_ context.Context, _ string, id cloud.Identity, _ string) (cloud.GitLogin, time.Time, error) {
	s.asked = append(s.asked, id)
	return cloud.GitLogin{BearerToken: s.token}, time.Unix(100, 0), nil
}

func (s *sky) CheckCloudAccount(string, string, string) error { return nil }

func (s *sky) CloudAccount(_ context.Context, namespace, named, fallback string) (*corev1.ServiceAccount, error) {
	switch named + fallback {
	case "":
		return nil, nil
	case "robot":
		return &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{
			Namespace: namespace, Name: "robot", UID: "u1", Annotations: map[string]string{"azure.workload.identity/client-id": "c1"},
		}}, nil
	}
	return nil, errors.New("no such account")
}

func TestCloudAuth(t *testing.T) {
	t.Parallel()
	s := &sky{token: "first"}
	c := Git{Clouds: s, Accounts: s}
	cloudAuth := func(obj *sourcev1.GitRepository, secret *corev1.Secret, proxy *url.URL) (gitrepo.Auth, time.Time, error) {
		return c.cloud(context.Background(), Reader{}, obj, secret, proxy)
	}
	obj := &sourcev1.GitRepository{ObjectMeta: metav1.ObjectMeta{Namespace: "apps"}}
	obj.Spec.Provider, obj.Spec.URL = "azure", "https://dev.azure.com/org/project/_git/app"
	proxy := &url.URL{Scheme: "http", Host: "proxy:3128"}
	own, until, f := cloudAuth(obj, nil, proxy)
	if f != nil || own.BearerToken != "first" || until.IsZero() || s.asked[0].Account != nil || s.asked[0].Proxy != proxy {
		t.Fatalf("the controller's own: %+v, %v, %v", own, until, f)
	}
	obj.Spec.ServiceAccountName = "robot"
	secret := &corev1.Secret{Data: map[string][]byte{"ca.crt": []byte("authority"), "username": []byte("jo"), "password": []byte("pw")}}
	first, _, f := cloudAuth(obj, secret, nil)
	if f != nil || s.asked[1].Account.Name != "robot" || first.Principal == own.Principal || string(first.CA) != "authority" || first.Username != "" {
		t.Fatalf("a ServiceAccount: %+v, %v", first, f)
	}
	s.token = "second"
	if second, _, _ := cloudAuth(obj, nil, nil); second.BearerToken != "second" || second.Principal != first.Principal {
		t.Errorf("a renewed token leads to another mirror: %+v", second)
	}
	c.DefaultAccount, obj.Spec.ServiceAccountName = "absent", ""
	if _, _, f := cloudAuth(obj, nil, nil); f == nil || f.Error() != "failed to get credential from azure: no such account" {
		t.Errorf("no account: %v", f)
	}
}

// TestAzureHost shows the token to Azure DevOps only.
func TestAzureHost(t *testing.T) {
	t.Parallel()
	for address, ok := range map[string]bool{
		"https://dev.azure.com/org/project/_git/app":        true,
		"https://jo@dev.azure.com/org/project/_git/app":     true,
		"https://org.visualstudio.com/project/_git/app":     true,
		"http://dev.azure.com/org/project/_git/app":         false,
		"https://dev.azure.com:8443/org/project/_git/app":   false,
		"https://dev.azure.com.evil.example/org/_git/app":   false,
		"https://evil.example/dev.azure.com/_git/app":       false,
		"https://evilvisualstudio.com/_git/app":             false,
		"https://dev.azure.com@evil.example/org/_git/app":   false,
		"ssh://git@ssh.dev.azure.com/v3/org/project/app":    false,
		"https://dev.azure.com%2eevil.example/org/_git/app": false,
	} {
		if err := checkAzureHost(address); (err == nil) != ok || err != nil && strings.Contains(err.Error(), "jo@") {
			t.Errorf("%s: %v", address, err)
		}
	}
}
