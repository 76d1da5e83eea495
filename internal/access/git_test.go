package access

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/go-logr/logr"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"

	"github.com/gitops-toolkit/flux/api/meta"
	sourcev1 "github.com/gitops-toolkit/flux/api/source/v1"
	"github.com/gitops-toolkit/flux/internal/auth/cloud"
	"github.com/gitops-toolkit/flux/internal/auth/githubapp"
)

// stage is a cluster and a cloud.
type stage struct {
	secrets map[string]map[string]string
	gate    bool
	asked   cloud.Identity
}

func (s *stage) GetSecret(_ context.Context, key types.NamespacedName) (*corev1.Secret, error) {
	data, ok := s.secrets[key.Name]
	if !ok {
		return nil, apierrors.NewNotFound(schema.GroupResource{Resource: "secrets"}, key.Name)
	}
	out := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: key.Namespace, Name: key.Name}, Data: map[string][]byte{}}
	for k, v := range data {
		out.Data[k] = []byte(v)
	}
	return out, nil
}

var errGate = errors.New("the gate is off")

func (s *stage) CheckCloudAccount(named, _, _ string) error {
	if named != "" && !s.gate {
		return errGate
	}
	return nil
}

func (s *stage) CloudAccount(_ context.Context, namespace, named, fallback string) (*corev1.ServiceAccount, error) {
	if named == "" && fallback == "" {
		return nil, nil
	}
	return &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: named + fallback}}, nil
}

func (s *stage) Git(_ context.Context, provider string, id cloud.Identity, repository string) (cloud.GitLogin, time.Time, error) {
	s.asked = id
	return cloud.GitLogin{BearerToken: provider + " token for " + repository}, time.Unix(1, 0), nil
}

func TestGit(t *testing.T) {
	t.Parallel()
	secrets := map[string]map[string]string{
		"login": {"username": "jo", "password": "s3cret-pw", "ca.crt": "ca"}, "half": {"password": "s3cret-pw"}, "token": {"bearerToken": "s3cret-t"},
		"proxy": {"address": "http://proxy.example:3128", "username": "p", "password": "s3cret-pw"}, "noproxy": {"username": "p"},
		"ssh": {"identity": "key", "known_hosts": "hosts", "password": "s3cret-pw"}, "nohosts": {"identity": "key"},
		"app": {"githubAppID": "1", "githubAppInstallationID": "2", "githubAppPrivateKey": "s3cret-key"},
	}
	const https, ssh, azure = "https://git.example/fleet", "ssh://git@git.example/fleet", "https://dev.azure.com/org/project/_git/fleet"
	for _, tc := range []struct {
		reason, url, secret, proxy, provider, account string
		gate                                          bool
		want                                          string // part of the error
		check                                         string // user:password:token
	}{
		{reason: "nobody", url: https, check: "::"},
		{reason: "a login", url: https, secret: "login", check: "jo:s3cret-pw:"},
		{reason: "a token", url: https, secret: "token", check: "::s3cret-t"},
		{reason: "a proxy", url: https, proxy: "proxy", check: "::"},
		{reason: "a proxy without address", url: https, proxy: "noproxy", want: "ns/noproxy"},
		{reason: "a password without a name", url: https, secret: "half", want: "invalid 'ns/half' secret data"},
		{reason: "no such Secret", url: https, secret: "none", want: "correct spec.secretRef of the GitRepository 'ns/fleet'"},
		{reason: "SSH", url: ssh, secret: "ssh", check: "::"},
		{reason: "SSH without a Secret", url: ssh, want: "needs spec.secretRef"},
		{reason: "SSH without known hosts", url: ssh, secret: "nohosts", want: "required fields 'identity' and 'known_hosts'"},
		{reason: "an App without the provider", url: https, secret: "app", want: "provider is not set to github"},
		{reason: "the provider without an App", url: https, secret: "login", provider: "github", want: "github app data must be specified"},
		{reason: "an App whose key is none", url: https, secret: "app", provider: "github", want: "ns/app"},
		{reason: "a cloud", url: azure, provider: "azure", check: "::azure token for " + azure},
		{reason: "a cloud whose token somebody else wants", url: https, provider: "azure", want: "invalid Azure DevOps URL"},
		{reason: "a cloud behind a private authority", url: https, secret: "login", provider: "aws", check: "::aws token for " + https},
		{reason: "a cloud as an account, gate off", url: https, provider: "aws", account: "sa", want: errGate.Error()},
		{reason: "a cloud as an account", url: https, provider: "aws", account: "sa", gate: true, check: "::aws token for " + https},
	} {
		s := &stage{secrets: secrets, gate: tc.gate}
		repo := &sourcev1.GitRepository{ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: "fleet"}}
		repo.Spec = sourcev1.GitRepositorySpec{URL: tc.url, Provider: tc.provider, ServiceAccountName: tc.account, SecretRef: ref(tc.secret), ProxySecretRef: ref(tc.proxy)}
		b := Git{Secrets: s, Accounts: s, Tokens: githubapp.NewTokens(githubapp.Options{}), Clouds: s, Foreign: true}
		r, until, err := b.Remote(context.Background(), logr.Discard(), repo)
		if tc.want != "" {
			if err == nil || !strings.Contains(err.Error(), tc.want) || strings.Contains(err.Error(), "s3cret") {
				t.Errorf("%s: %v, want %q", tc.reason, err, tc.want)
			}
			continue
		}
		if got := r.Auth.Username + ":" + r.Auth.Password + ":" + r.Auth.BearerToken; err != nil || got != tc.check || r.URL != tc.url {
			t.Errorf("%s: %q for %s, %v", tc.reason, got, r.URL, err)
		}
		if (tc.proxy != "") != (r.Proxy != nil) || until.IsZero() != (tc.provider == "") || (tc.account != "") != (s.asked.Account != nil) {
			t.Errorf("%s: proxy %v, until %s, asked as %+v", tc.reason, r.Proxy, until, s.asked)
		}
		if tc.secret == "ssh" && (string(r.Auth.Identity) != "key" || r.Auth.Passphrase != "s3cret-pw") || tc.secret == "login" && string(r.Auth.CA) != "ca" {
			t.Errorf("%s: %+v", tc.reason, r.Auth)
		}
	}
}

func ref(name string) *meta.LocalObjectReference {
	if name == "" {
		return nil
	}
	return &meta.LocalObjectReference{Name: name}
}
