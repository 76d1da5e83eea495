package netcause

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"testing"
)

func TestOf(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		err  error
		want Cause
	}{
		{errors.New("repository not found"), Unknown},
		{x509.UnknownAuthorityError{}, Authority},
		{x509.HostnameError{Host: "a", Certificate: &x509.Certificate{}}, OtherHost},
		{x509.CertificateInvalidError{Reason: x509.Expired}, Expired},
		{x509.CertificateInvalidError{Reason: x509.IncompatibleUsage}, Invalid},
		{&tls.CertificateVerificationError{Err: errors.New("constraint")}, Invalid},
		{&tls.CertificateVerificationError{Err: x509.HostnameError{Host: "a", Certificate: &x509.Certificate{}}}, OtherHost},
		// The operation that looked the name up, or that waited, tells less than what happened to it.
		{&net.OpError{Op: "dial", Err: &net.DNSError{Name: "a"}}, NoSuchHost},
		{fmt.Errorf("%w: %w", context.DeadlineExceeded, &net.OpError{Op: "read", Err: errors.New("i/o")}), Timeout},
		{&net.OpError{Op: "remote error", Err: errors.New("tls: certificate required")}, Refused},
		{&net.OpError{Op: "dial", Err: errors.New("connection refused")}, Unreachable},
		// What happened on the way to a proxy says nothing about the server.
		{&net.OpError{Op: "proxyconnect", Err: &net.OpError{Op: "dial", Err: &net.DNSError{Name: "a"}}}, Proxy},
		{&net.OpError{Op: "socks connect", Err: errors.New("username/password authentication failed")}, Proxy},
		{errors.New("Proxy Authentication Required"), Proxy},
	} {
		if got := Of(fmt.Errorf("GET https://a: %w", tt.err)); got != tt.want {
			t.Errorf("%v: cause %d, want %d", tt.err, got, tt.want)
		}
	}
}

func TestExplainNamesTheServer(t *testing.T) {
	t.Parallel()
	if got, want := NoSuchHost.Explain("registry"), "the host of the registry is not known"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
	if got := Unknown.Explain("registry"); got != "" {
		t.Errorf("an error that is not about the connection is explained: %q", got)
	}
}
