package transport

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"github.com/gitops-toolkit/flux/internal/retryafter"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync/atomic"
	"time"
)

// What may run at the other end.
const (
	uploadPack  = "git-upload-pack"
	receivePack = "git-receive-pack"
)

const userAgent = "git/2.0 (gitops-toolkit-flux)"

// httpDialer keeps the connections to one remote. Its transport is its own.
type httpDialer struct {
	base      *url.URL
	learned   atomic.Pointer[url.URL] // where redirects led to
	auth      Auth
	transport *http.Transport
	client    *http.Client
}

func newHTTP(u *url.URL, r Remote) (*httpDialer, error) {
	base := *u
	base.User = nil
	auth, err := httpAuth(u, r.Auth)
	if err != nil {
		return nil, err
	}
	tlsConfig, err := clientTLS(r.Auth)
	if err != nil {
		return nil, err
	}
	d := &httpDialer{base: &base, auth: auth}
	d.transport = &http.Transport{
		Proxy:                  http.ProxyFromEnvironment,
		DialContext:            (&net.Dialer{Timeout: 30 * time.Second, KeepAlive: 30 * time.Second}).DialContext,
		TLSClientConfig:        tlsConfig,
		TLSHandshakeTimeout:    30 * time.Second,
		ForceAttemptHTTP2:      true,
		MaxIdleConns:           2,
		IdleConnTimeout:        90 * time.Second,
		MaxResponseHeaderBytes: 256 << 10,
		OnProxyConnectResponse: checkTunnel,
	}
	if r.Proxy != nil {
		d.transport.Proxy = http.ProxyURL(r.Proxy)
	}
	d.client = &http.Client{Transport: d.transport, CheckRedirect: d.checkRedirect}
	return d, nil
}

func httpAuth(u *url.URL, a Auth) (Auth, error) {
	if a.Username == "" && a.Password == "" && u.User != nil {
		a.Username = u.User.Username()
		a.Password, _ = u.User.Password()
	}
	if a.BearerToken != "" && (a.Username != "" || a.Password != "") {
		return a, fmt.Errorf("%w: basic auth and bearer token cannot be set at the same time", ErrCredentials)
	}
	if a.Password != "" && a.Username == "" {
		return a, fmt.Errorf("%w: password without username", ErrCredentials)
	}
	if strings.ContainsAny(a.BearerToken, "\r\n") {
		return a, fmt.Errorf("%w: the bearer token has a line break", ErrCredentials)
	}
	return a, nil
}

func clientTLS(a Auth) (*tls.Config, error) {
	cfg := &tls.Config{MinVersion: tls.VersionTLS12}
	if len(a.CA) > 0 {
		pool, err := x509.SystemCertPool()
		if err != nil {
			pool = x509.NewCertPool()
		}
		if !pool.AppendCertsFromPEM(a.CA) {
			return nil, fmt.Errorf("%w: the CA has no PEM certificate", ErrCredentials)
		}
		cfg.RootCAs = pool
	}
	if len(a.ClientCert) > 0 || len(a.ClientKey) > 0 {
		pair, err := tls.X509KeyPair(a.ClientCert, a.ClientKey)
		if err != nil {
			return nil, fmt.Errorf("%w: client certificate: %w", ErrCredentials, err)
		}
		cfg.Certificates = []tls.Certificate{pair}
	}
	return cfg, nil
}

func (d *httpDialer) Dial(context.Context) (Conn, error) { return &httpConn{d, uploadPack}, nil }
func (d *httpDialer) Push(context.Context) (Conn, error) { return &httpConn{d, receivePack}, nil }
func (d *httpDialer) Stateless() bool                    { return true }
func (d *httpDialer) Close()                             { d.transport.CloseIdleConnections() }

// secret tells whether requests carry something that must not reach another host.
func (d *httpDialer) secret() bool {
	return d.auth.Username != "" || d.auth.Password != "" || d.auth.BearerToken != "" || len(d.auth.ClientCert) > 0
}

const maxRedirects = 5

func (d *httpDialer) checkRedirect(req *http.Request, via []*http.Request) error {
	if len(via) > maxRedirects {
		return fmt.Errorf("%w: more than %d in a row", ErrRedirect, maxRedirects)
	}
	from, to := via[0].URL, req.URL
	if to.Scheme != from.Scheme && !(from.Scheme == "http" && to.Scheme == "https") {
		return fmt.Errorf("%w: from %s to %s", ErrRedirect, from.Scheme, to.Scheme)
	}
	if d.secret() && !sameHost(from, to) {
		return fmt.Errorf("%w: it leads to another host, %s, which must not see the credentials; use that URL if it is trusted",
			ErrRedirect, to.Scheme+"://"+to.Host)
	}
	return nil
}

// sameHost allows for the step from http to https on their usual ports, and for nothing else.
func sameHost(from, to *url.URL) bool {
	if from.Scheme == to.Scheme {
		return strings.EqualFold(from.Host, to.Host)
	}
	usual := func(u *url.URL, port string) bool { return u.Port() == "" || u.Port() == port }
	return strings.EqualFold(from.Hostname(), to.Hostname()) && usual(from, "80") && usual(to, "443")
}

// httpConn is a conversation over smart HTTP.
type httpConn struct {
	d       *httpDialer
	service string
}

func (c *httpConn) Close() error { return nil }

// Advertise always begins at the address of the remote. What follows goes where the redirects led.
func (c *httpConn) Advertise(ctx context.Context) (io.ReadCloser, error) {
	u := below(c.d.base, "/info/refs")
	query := u.Query()
	query.Set("service", c.service)
	u.RawQuery = query.Encode()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, u.String(), nil)
	if err != nil {
		return nil, err
	}
	resp, err := c.do(req, "application/x-"+c.service+"-advertisement")
	if err != nil {
		return nil, err
	}
	learned := *c.d.base
	if final := resp.Request.URL; strings.HasSuffix(final.Path, "/info/refs") {
		learned.Scheme, learned.Host = final.Scheme, final.Host
		learned.Path, learned.RawPath = strings.TrimSuffix(final.Path, "/info/refs"), ""
	}
	c.d.learned.Store(&learned)
	return resp.Body, nil
}

func (c *httpConn) Exchange(ctx context.Context, request []byte) (io.ReadCloser, error) {
	base := c.d.learned.Load()
	if base == nil {
		base = c.d.base
	}
	u := below(base, "/"+c.service)
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, u.String(), bytes.NewReader(request))
	if err != nil {
		return nil, err
	}
	req.Header.Set("Content-Type", "application/x-"+c.service+"-request")
	resp, err := c.do(req, "application/x-"+c.service+"-result")
	if err != nil {
		return nil, err
	}
	return resp.Body, nil
}

func below(base *url.URL, path string) *url.URL {
	u := *base
	u.Path = strings.TrimSuffix(u.Path, "/") + path
	if u.RawPath != "" {
		u.RawPath = strings.TrimSuffix(u.RawPath, "/") + path
	}
	return &u
}

func (c *httpConn) do(req *http.Request, contentType string) (*http.Response, error) {
	req.Header.Set("User-Agent", userAgent)
	req.Header.Set("Accept", contentType)
	req.Header.Set("Git-Protocol", "version=2")
	a := c.d.auth
	switch {
	case a.BearerToken != "":
		req.Header.Set("Authorization", "Bearer "+a.BearerToken)
	case a.Username != "" || a.Password != "":
		req.SetBasicAuth(a.Username, a.Password)
	}
	resp, err := c.d.client.Do(req)
	if err != nil {
		return nil, plainError(err)
	}
	if err := checkResponse(resp, contentType); err != nil {
		_ = resp.Body.Close()
		if errors.Is(err, ErrAuthentication) && (blank(a.Username) || blank(a.Password)) {
			err = fmt.Errorf("%w; user name or password begin or end with white space", err)
		}
		return nil, err
	}
	resp.Body = &drained{resp.Body}
	return resp, nil
}

// blank tells whether there is white space around a text, as an editor or "echo" leaves it.
func blank(text string) bool { return strings.TrimSpace(text) != text }

// drained reads what little is left of an answer when it is closed, so that the connection can serve the
// next request.
type drained struct{ io.ReadCloser }

func (d *drained) Close() error {
	_, _ = io.CopyN(io.Discard, d.ReadCloser, 4<<10)
	return d.ReadCloser.Close()
}

// plainError takes method and address off an error of net/http: the address may hold a query, and the
// caller names it anyway.
func plainError(err error) error {
	var detail *url.Error
	if errors.As(err, &detail) {
		return detail.Err
	}
	return err
}

// checkStatus tells what an answer other than 200 means.
func checkStatus(resp *http.Response) error {
	if d := retryafter.Wanted(resp); d > 0 {
		return &retryafter.Error{Host: resp.Request.URL.Host, Status: resp.Status, After: d}
	}
	switch resp.StatusCode {
	case http.StatusOK:
		return nil
	case http.StatusProxyAuthRequired:
		return fmt.Errorf("%w: it answers %s", ErrProxy, resp.Status)
	case http.StatusUnauthorized:
		return fmt.Errorf("%w: the server answers %s", ErrAuthentication, resp.Status)
	case http.StatusForbidden:
		return fmt.Errorf("%w: the server answers %s", ErrAuthorization, resp.Status)
	case http.StatusNotFound, http.StatusGone:
		return fmt.Errorf("%w: the server answers %s", ErrRepositoryNotFound, resp.Status)
	}
	if resp.StatusCode == http.StatusTooManyRequests || resp.StatusCode >= http.StatusInternalServerError {
		return fmt.Errorf("%w: it answers %s", ErrBusy, resp.Status)
	}
	return fmt.Errorf("the server answers %s", resp.Status)
}

// checkTunnel tells what a proxy's answer means that opens no way to the server.
func checkTunnel(_ context.Context, _ *url.URL, req *http.Request, resp *http.Response) error {
	if resp.StatusCode == http.StatusOK {
		return nil
	}
	return fmt.Errorf("%w to %s: it answers %s", ErrProxy, req.Host, resp.Status)
}

func checkResponse(resp *http.Response, contentType string) error {
	if err := checkStatus(resp); err != nil {
		return err
	}
	if got, _, _ := strings.Cut(resp.Header.Get("Content-Type"), ";"); got != contentType {
		return fmt.Errorf("this is no Git repository that speaks smart HTTP: the server answers with content of type %.100q", got)
	}
	return nil
}
