// Package netcause tells why a connection did not come about, so that all who go outside of the cluster say it in the
// same words and know the next step for the same causes.
package netcause

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net"
	"net/http"
	"strings"
)

// Cause is why a connection did not come about.
type Cause int

const (
	// Unknown is every error that is not about the connection.
	Unknown Cause = iota
	// Authority: the server's certificate is of an authority that is not trusted.
	Authority
	// OtherHost: the server's certificate is for another host.
	OtherHost
	// Expired: the server's certificate has expired or is not valid yet.
	Expired
	// Invalid: the server's certificate is not valid for another reason.
	Invalid
	// NoSuchHost: the name of the host is not known.
	NoSuchHost
	// Timeout: the server did not answer in time.
	Timeout
	// Refused: the server did not accept our side of TLS, as a rule the client's certificate.
	Refused
	// Unreachable: the server cannot be reached.
	Unreachable
	// Proxy: the proxy on the way to the server cannot be reached, or opens no way.
	Proxy
)

// Of returns why a connection did not come about.
func Of(err error) Cause {
	var authority x509.UnknownAuthorityError
	var host x509.HostnameError
	var invalid x509.CertificateInvalidError
	var verification *tls.CertificateVerificationError
	var dns *net.DNSError
	var op *net.OpError
	switch isOp := errors.As(err, &op); {
	case isOp && (op.Op == "proxyconnect" || strings.HasPrefix(op.Op, "socks ")): // As net/http names them.
		return Proxy
	case errors.As(err, &authority):
		return Authority
	case errors.As(err, &host):
		return OtherHost
	case errors.As(err, &invalid) && invalid.Reason == x509.Expired:
		return Expired
	case errors.As(err, &invalid), errors.As(err, &verification):
		return Invalid
	case errors.As(err, &dns):
		return NoSuchHost
	case errors.Is(err, context.DeadlineExceeded):
		return Timeout
	case isOp && op.Op == "remote error": // An alert of TLS, which has no type.
		return Refused
	case isOp:
		return Unreachable
	case err != nil && strings.Contains(err.Error(), http.StatusText(http.StatusProxyAuthRequired)): // It has no type.
		return Proxy
	}
	return Unknown
}

// Untrusted tells whether the server's certificate was not accepted, which no further attempt mends.
func (c Cause) Untrusted() bool {
	return c == Authority || c == OtherHost || c == Expired || c == Invalid
}

// Explain says the cause in a few words for a person; server is what we talked to, such as "registry". It returns ""
// where the error says it all.
func (c Cause) Explain(server string) string {
	switch c {
	case Authority:
		return "the " + server + "'s certificate is of an authority that is not trusted: give its certificate as ca.crt"
	case OtherHost:
		return "the " + server + "'s certificate is for another host"
	case Expired:
		return "the " + server + "'s certificate has expired or is not valid yet"
	case NoSuchHost:
		return "the host of the " + server + " is not known"
	case Timeout:
		return "the " + server + " did not answer in time"
	case Unreachable:
		return "the " + server + " cannot be reached"
	case Proxy:
		return "the proxy on the way to the " + server + " cannot be reached, or does not let us through"
	}
	return ""
}
