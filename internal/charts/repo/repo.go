// Package repo talks to Helm repositories over HTTP: it fetches the index if it has changed, and charts.
//
// A Pool is what a process has once: connections, shared by all repositories that are reached with the same TLS files. A
// Repository is one URL with the login for it. It is safe for concurrent use and needs no closing.
//
// Credentials go to the host of the repository, over no less than its own protection: not without TLS if the URL has it.
// With PassCredentials they also go to the host that the index names for a chart. Where a request is redirected they never
// go, except back to those hosts. Answers are bounded in size; errors carry no credentials.
package repo

import (
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/gitops-toolkit/flux/internal/auth"
)

// Errors that callers tell apart.
var (
	// ErrURL says that a URL is not that of a repository or a chart.
	ErrURL = errors.New("invalid URL")
	// ErrTooLarge says that an answer is larger than allowed.
	ErrTooLarge = errors.New("exceeds the maximum size")
)

// Remote says where a repository is and how to reach it.
type Remote struct {
	// URL with http or https.
	URL string
	// Username and Password of basic authentication; none when both are empty.
	Username, Password string
	// PassCredentials allows them to go to other hosts that the index names.
	PassCredentials bool
	// TLS files; none when zero.
	TLS auth.TLS
}

// userAgent is what servers see.
const userAgent = "flux/v2"

// Pool keeps the connections of a process. The zero value is ready.
type Pool struct{ transports auth.Transports }

// Close closes the connections that are idle.
func (p *Pool) Close() { p.transports.Close() }

func (p *Pool) transport(files auth.TLS) (*http.Transport, error) {
	return p.transports.Get(files.Fingerprint(), func() (*http.Transport, error) {
		config, err := files.Config()
		if err != nil {
			return nil, err
		}
		dialer := &net.Dialer{Timeout: 30 * time.Second, KeepAlive: 30 * time.Second}
		return &http.Transport{
			Proxy: http.ProxyFromEnvironment, DialContext: dialer.DialContext, TLSClientConfig: config, ForceAttemptHTTP2: true,
			TLSHandshakeTimeout: 10 * time.Second, MaxIdleConns: 100, MaxIdleConnsPerHost: 4, IdleConnTimeout: 90 * time.Second,
			DisableCompression: true, // archives are stored as they are
		}, nil
	})
}

// Repository is one Helm repository.
type Repository struct {
	remote Remote
	base   *url.URL
	inner  http.RoundTripper
}

// Open returns the repository. Nothing is sent. Errors about the URL are ErrURL, those about TLS files are not.
func (p *Pool) Open(r Remote) (*Repository, error) {
	base, err := parse(r.URL)
	if err != nil {
		return nil, err
	}
	if base.User != nil && r.Username == "" && r.Password == "" {
		r.Username = base.User.Username()
		r.Password, _ = base.User.Password()
	}
	base.User = nil
	t, err := p.transport(r.TLS)
	if err != nil {
		return nil, err
	}
	return &Repository{remote: r, base: base, inner: t}, nil
}

func parse(text string) (*url.URL, error) {
	u, err := url.Parse(text)
	if err != nil {
		return nil, fmt.Errorf("%w: it cannot be parsed", ErrURL) // the cause repeats it, password and all
	}
	if u.Scheme != "http" && u.Scheme != "https" {
		return nil, fmt.Errorf("%w: scheme %q not supported", ErrURL, u.Scheme)
	}
	if u.Host == "" {
		return nil, fmt.Errorf("%w: it has no host", ErrURL)
	}
	return u, nil
}

// CheckURL tells what is wrong with the URL of a repository, nil if nothing is.
func CheckURL(text string) error {
	_, err := parse(text)
	return err
}

// Normalize gives the URL of a repository the form in which URLs are compared: exactly one trailing slash over HTTP,
// none for a registry.
func Normalize(text string) string {
	if text == "" {
		return ""
	}
	trimmed := strings.TrimRight(text, "/")
	if strings.HasPrefix(text, "oci://") {
		return trimmed
	}
	return trimmed + "/"
}

// Host of the repository.
func (r *Repository) Host() string { return r.base.Host }

// resolve returns the URL of a file of the repository, which the index may name relative to it.
func (r *Repository) resolve(ref string) (*url.URL, error) {
	u, err := url.Parse(ref)
	if err != nil {
		return nil, fmt.Errorf("%w: the URL of the chart cannot be parsed", ErrURL)
	}
	base := *r.base
	base.Path = strings.TrimSuffix(base.Path, "/") + "/"
	base.RawPath = ""
	resolved := base.ResolveReference(u)
	if !u.IsAbs() && resolved.RawQuery == "" {
		resolved.RawQuery = base.RawQuery
	}
	resolved.User = nil
	if resolved.Scheme != "http" && resolved.Scheme != "https" || resolved.Host == "" {
		return nil, fmt.Errorf("%w: scheme %q of the chart's URL not supported", ErrURL, resolved.Scheme)
	}
	return resolved, nil
}
