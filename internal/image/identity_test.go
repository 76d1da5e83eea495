package image_test

import (
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"

	imagev1 "github.com/gitops-toolkit/flux/api/image/v1"
	"github.com/gitops-toolkit/flux/api/meta"
	"github.com/gitops-toolkit/flux/internal/auth/cloud/cloudtest"
	"github.com/gitops-toolkit/flux/internal/kernel"
	"github.com/gitops-toolkit/flux/internal/registry/registrytest"
	"github.com/gitops-toolkit/flux/test/servers/git"
)

// TestWorkloadIdentity scans a registry of a cloud as a ServiceAccount: the token that is exchanged comes from a real API
// server, and the registry behind the proxy knows only who comes with what the cloud gave. Digests are read in the same way.
func TestWorkloadIdentity(t *testing.T) {
	t.Parallel()
	l := newLab(t, registrytest.Options{}, git.Options{})
	fake := &cloudtest.Clouds{}
	l.cloud = fake
	l.Settings = func(s *kernel.Settings) { s.Gates = map[string]bool{kernel.GateObjectLevelWorkloadIdentity: true} }
	l.Create(&corev1.Secret{ObjectMeta: l.meta("proxy"), StringData: map[string]string{
		"address": l.registry.StartLogin(t, "oauth2accesstoken", cloudtest.GoogleToken),
	}})
	account := &corev1.ServiceAccount{ObjectMeta: l.meta("puller")}
	account.Annotations = map[string]string{
		"iam.gke.io/gcp-service-account": "flux@proj.iam.gserviceaccount.com", "gcp.auth.fluxcd.io/workload-identity-provider": cloudtest.Pool,
	}
	l.Create(account)
	digest := l.registry.Push(t, "app", "1.0.0", nil, registrytest.Archive(t, map[string]string{"a": "b"}))
	l.start()
	l.createRepository("app", func(o *imagev1.ImageRepository) {
		o.Spec.Image, o.Spec.Insecure, o.Spec.Provider, o.Spec.ServiceAccountName = "europe-docker.pkg.dev/app", true, "gcp", "puller"
		o.Spec.ProxySecretRef = &meta.LocalObjectReference{Name: "proxy"}
	})
	l.createPolicy("app", "app", func(o *imagev1.ImagePolicy) { o.Spec.DigestReflectionPolicy = "IfNotPresent" })
	l.policy("app", "chosen with its digest", func(o *imagev1.ImagePolicy) bool {
		return o.Status.LatestRef != nil && o.Status.LatestRef.Tag == "1.0.0" && o.Status.LatestRef.Digest == digest
	})
	if got, want := fake.Subject("//iam.googleapis.com/"+cloudtest.Pool), "system:serviceaccount:"+l.Namespace+":puller"; got != want {
		t.Errorf("the exchanged token was issued to %q, want %q", got, want)
	}
	l.createRepository("other", func(o *imagev1.ImageRepository) { o.Spec.Provider, o.Spec.ServiceAccountName = "gcp", "puller" })
	o := l.repository("other", "refused", func(o *imagev1.ImageRepository) bool { return failed(o, "AuthenticationFailed") })
	if !strings.Contains(readyOf(o).Message, "invalid GCP registry: '"+l.registry.Host+"'") {
		t.Errorf("an identity that is shown to no other host: %q", readyOf(o).Message)
	}
}
