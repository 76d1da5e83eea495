package ocirepository

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"strings"
	"testing"

	"github.com/google/go-containerregistry/pkg/v1/remote/transport"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/gitops-toolkit/flux/api/meta"
	sourcev1 "github.com/gitops-toolkit/flux/api/source/v1"
	"github.com/gitops-toolkit/flux/internal/registry"
)

func answer(code transport.ErrorCode) error {
	return &transport.Error{StatusCode: 404, Errors: []transport.Diagnostic{{Code: code}}}
}

func TestExplainNamesTheNextStep(t *testing.T) {
	t.Parallel()
	with := func(ref sourcev1.OCIRepositoryRef, secret string) *sourcev1.OCIRepository {
		o := &sourcev1.OCIRepository{ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: "app"}}
		o.Spec.URL, o.Spec.Reference = "oci://h/r", &ref
		if secret != "" {
			o.Spec.SecretRef = &meta.LocalObjectReference{Name: secret}
		}
		return o
	}
	plain := with(sourcev1.OCIRepositoryRef{Tag: "v1"}, "")
	proxied := with(sourcev1.OCIRepositoryRef{}, "")
	proxied.Spec.ProxySecretRef = &meta.LocalObjectReference{Name: "way"}
	for _, tc := range []struct {
		reason string
		obj    *sourcev1.OCIRepository
		err    error
		want   string // how the message ends
	}{
		{"no pull secret", plain, registry.ErrAuthentication, "; set spec.secretRef to a pull secret for this registry; many registries also answer so when the repository does not exist"},
		{"a wrong pull secret", with(sourcev1.OCIRepositoryRef{}, "pull"), registry.ErrAuthentication, "; check the login in the Secret 'ns/pull', and what it is allowed"},
		{"no version in the range", with(sourcev1.OCIRepositoryRef{SemVer: ">9"}, ""), registry.ErrNoMatch, "; no tag of 'oci://h/r' matches spec.ref.semver"},
		{"none that the filter lets through", with(sourcev1.OCIRepositoryRef{SemVer: ">9", SemverFilter: "x"}, ""), registry.ErrNoMatch,
			"; no tag of 'oci://h/r' matches both spec.ref.semver and spec.ref.semverFilter"},
		{"no such tag", plain, answer(transport.ManifestUnknownErrorCode), "; check spec.ref: 'oci://h/r' has no such tag or digest"},
		{"recorded: the message of an unknown repository ends with the registry's words, in the condition and in the event, so the next step is left out",
			plain, answer(transport.NameUnknownErrorCode), ""},
		{"no such layer", plain, registry.ErrNoLayer, "; correct spec.layerSelector.mediaType, or what was pushed to 'oci://h/r'"},
		{"a private authority", plain, x509.UnknownAuthorityError{}, "give its certificate as ca.crt; put it into a Secret, and name that in spec.certSecretRef"},
		{"a certificate of another host", plain, x509.HostnameError{Certificate: &x509.Certificate{}, Host: "h"}, "is for another host; check spec.url, or give the registry a certificate for it"},
		{"an old certificate", plain, x509.CertificateInvalidError{Reason: x509.Expired}, "; give the registry a certificate that is valid"},
		{"no such host", plain, &net.DNSError{Name: "h"}, "; the host of the registry is not known; check spec.url"},
		{"no answer", plain, context.DeadlineExceeded, "; the registry did not answer in time; check that the registry can be reached from the cluster, or raise spec.timeout (1m0s)"},
		{"a proxy that is down", proxied, &net.OpError{Op: "proxyconnect", Err: errors.New("refused")},
			"; the proxy on the way to the registry cannot be reached, or does not let us through; check spec.url, and the proxy in the Secret 'ns/way'"},
		{"a proxy that wants to know who we are", proxied, fmt.Errorf("%w: 407 Proxy Authentication Required", registry.ErrAuthentication),
			"; the proxy on the way to the registry cannot be reached, or does not let us through; check spec.url, and the proxy in the Secret 'ns/way'"},
		{"nobody there", plain, &net.OpError{Op: "dial", Err: errors.New("refused")}, "; the registry cannot be reached; check spec.url, and that the host can be reached from the cluster"},
	} {
		cause := fmt.Errorf("cause: %w", tc.err)
		got := explain(tc.obj, cause)
		if text := got.Error(); !errors.Is(got, cause) || !strings.HasPrefix(text, cause.Error()) || !strings.HasSuffix(text, tc.want) || tc.want == "" && text != cause.Error() {
			t.Errorf("%s: %q does not end with %q", tc.reason, got, tc.want)
		}
	}
}
