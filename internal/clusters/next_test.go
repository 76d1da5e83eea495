package clusters

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/url"
	"strings"
	"testing"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/gitops-toolkit/flux/api/meta"
)

func TestNext(t *testing.T) {
	t.Parallel()
	remote := Place{Namespace: "apps", KubeConfig: &meta.KubeConfigReference{SecretRef: &meta.SecretKeyReference{Name: "prod"}}}
	wrapped := func(err error) error {
		return fmt.Errorf("discover: %w", &url.Error{Op: "Get", URL: "https://x", Err: err})
	}
	for _, c := range []struct {
		reason string
		place  Place
		err    error
		want   string
	}{
		{"a token that has ended", remote, fmt.Errorf("discover: %w", apierrors.NewUnauthorized("no")), "renew it in Secret 'apps/prod'"},
		{"a certificate of another CA", remote, wrapped(&tls.CertificateVerificationError{Err: x509.UnknownAuthorityError{}}), "CA certificate in Secret 'apps/prod'"},
		{"nobody listens", remote, wrapped(&net.OpError{Op: "dial", Err: errors.New("refused")}), "is the address right in Secret 'apps/prod'?"},
		{"the controller's own cluster", Place{}, apierrors.NewUnauthorized("no"), ""},
		{"an aggregated API that is down", Place{}, errors.New("stale GroupVersion discovery: metrics.k8s.io/v1beta1"), "APIService"},
		{"a refusal", remote, apierrors.NewForbidden(schema.GroupResource{}, "x", errors.New("no")), ""},
	} {
		if got := c.place.Next(c.err); !strings.Contains(got, c.want) || (got == "") != (c.want == "") {
			t.Errorf("%s: %q, want %q", c.reason, got, c.want)
		}
	}
}
