package ocirepository_test

import (
	"context"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/gitops-toolkit/flux/api/meta"
	sourcev1 "github.com/gitops-toolkit/flux/api/source/v1"
	"github.com/gitops-toolkit/flux/internal/auth/cloud"
	"github.com/gitops-toolkit/flux/internal/auth/cloud/cloudtest"
	"github.com/gitops-toolkit/flux/internal/kernel"
	"github.com/gitops-toolkit/flux/internal/registry/registrytest"
)

// minter requests tokens from the sandbox's API server, as the kernel does.
func (l *lab) minter() cloud.Mint {
	l.Helper()
	process, err := kernel.NewProcess(l.Config, kernel.ProcessOptions{Scheme: l.Scheme, MetricsAddr: "0", HealthAddr: "0", WatchNamespace: l.Namespace})
	l.Must(err)
	return process.Controller("minter", kernel.Defaults()).RequestToken
}

// TestWorkloadIdentity pulls from a registry of a cloud as a ServiceAccount: the token that is exchanged comes from a real
// API server, and the registry behind the proxy knows only who comes with what the cloud gave.
func TestWorkloadIdentity(t *testing.T) {
	t.Parallel()
	l := newLab(t, registrytest.Options{})
	fake := &cloudtest.Clouds{}
	l.clouds = cloud.New(cloud.Options{Transport: fake, Mint: l.minter(), Getenv: func(string) string { return "" }})
	l.Settings = func(s *kernel.Settings) { s.Gates = map[string]bool{kernel.GateObjectLevelWorkloadIdentity: true} }
	proxy := l.server.StartLogin(t, "oauth2accesstoken", cloudtest.GoogleToken)
	ctx := context.Background()
	l.Must(l.Client.Create(ctx, &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: "proxy", Namespace: l.Namespace}, StringData: map[string]string{"address": proxy}}))
	l.Must(l.Client.Create(ctx, &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Name: "puller", Namespace: l.Namespace, Annotations: map[string]string{
		"iam.gke.io/gcp-service-account": "flux@proj.iam.gserviceaccount.com", "gcp.auth.fluxcd.io/workload-identity-provider": cloudtest.Pool,
	}}}))
	digest := l.push("v1", map[string]string{"a.yaml": "a: 1\n"})
	l.start()
	l.create("app", func(o *sourcev1.OCIRepository) {
		o.Spec.URL, o.Spec.Insecure, o.Spec.Provider, o.Spec.ServiceAccountName = "oci://europe-docker.pkg.dev/app", true, "gcp", "puller"
		o.Spec.ProxySecretRef = &meta.LocalObjectReference{Name: "proxy"}
	})
	l.ready("app", "v1@"+digest)
	if got, want := fake.Subject("//iam.googleapis.com/"+cloudtest.Pool), "system:serviceaccount:"+l.Namespace+":puller"; got != want {
		t.Errorf("the exchanged token was issued to %q, want %q", got, want)
	}
	n := len(fake.Seen())
	l.request("app", "again")
	if again := len(fake.Seen()); again != n {
		t.Errorf("another look asked the cloud %d times", again-n)
	}
	l.create("other", func(o *sourcev1.OCIRepository) { o.Spec.Provider, o.Spec.ServiceAccountName = "gcp", "puller" })
	l.until("other", "refused", func(o *sourcev1.OCIRepository) bool {
		c := o.Status.Conditions.Get(meta.ReadyCondition)
		return c != nil && c.Reason == "AuthenticationFailed" && strings.HasPrefix(c.Message, "failed to get credential from gcp: invalid GCP registry: '"+l.server.Host+"'")
	})
}

// TestWorkloadIdentityNeedsItsGate is a stall whose generation stays unobserved, as upstream.
func TestWorkloadIdentityNeedsItsGate(t *testing.T) {
	t.Parallel()
	l := newLab(t, registrytest.Options{})
	l.start()
	l.create("app", func(o *sourcev1.OCIRepository) { o.Spec.Provider, o.Spec.ServiceAccountName = "aws", "puller" })
	obj := l.until("app", "stalled", func(o *sourcev1.OCIRepository) bool {
		c := o.Status.Conditions.Get(meta.StalledCondition)
		return c != nil && c.Reason == "FeatureGateDisabled"
	})
	if obj.Status.ObservedGeneration == obj.Generation {
		t.Error("the generation counts as observed")
	}
}
