package providers

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"syscall"
	"time"
)

const (
	maxAnswer    = 1 << 20
	maxRedirects = 3
	dialTimeout  = 10 * time.Second
)

// Policy says which addresses may be connected to.
type Policy struct {
	// PublicOnly refuses loopback, private, link-local (metadata services) and other addresses that
	// are not of the internet, after names are resolved. The proxy of the environment is the
	// operator's and exempt.
	PublicOnly bool
}

// policyError is an address that the policy refuses.
type policyError struct{ addr netip.Addr }

func (e *policyError) Error() string {
	return fmt.Sprintf("the address %s is not public, and --provider-public-addresses-only is set", e.addr)
}

// Control is for net.Dialer: it looks at the address that is really connected to.
func (p Policy) Control(_, address string, _ syscall.RawConn) error {
	if !p.PublicOnly {
		return nil
	}
	at, err := netip.ParseAddrPort(address)
	if err != nil {
		return fmt.Errorf("cannot tell whether the address is public: %w", err)
	}
	if addr := at.Addr().Unmap(); !public(addr) {
		return &policyError{addr}
	}
	return nil
}

// special are networks which netip has no question for.
var special = []netip.Prefix{
	netip.MustParsePrefix("0.0.0.0/8"), netip.MustParsePrefix("100.64.0.0/10"), netip.MustParsePrefix("192.0.0.0/24"),
	netip.MustParsePrefix("198.18.0.0/15"), netip.MustParsePrefix("240.0.0.0/4"),
	netip.MustParsePrefix("64:ff9b::/96"), netip.MustParsePrefix("64:ff9b:1::/48"), netip.MustParsePrefix("2002::/16"),
}

func public(addr netip.Addr) bool {
	for _, p := range special {
		if p.Contains(addr) {
			return false
		}
	}
	return addr.IsGlobalUnicast() && !addr.IsPrivate()
}

// Dialer that keeps to the policy.
func (p Policy) Dialer() *net.Dialer { return &net.Dialer{Timeout: dialTimeout, Control: p.Control} }

func newClient(c *Config) (*http.Client, error) {
	if c.transport != nil {
		return &http.Client{Transport: c.transport, CheckRedirect: sameHost}, nil
	}
	files, err := c.TLS.Config()
	if err != nil {
		return nil, err
	}
	t := c.Policy.transport(http.ProxyFromEnvironment)
	t.TLSClientConfig = files
	if c.Proxy != nil {
		t.Proxy, t.DialContext = http.ProxyURL(c.Proxy), c.Policy.Dialer().DialContext
	}
	return &http.Client{Transport: t, CheckRedirect: sameHost}, nil
}

// Transport keeps to the policy, and uses the proxy of the environment.
func (p Policy) Transport() *http.Transport { return p.transport(http.ProxyFromEnvironment) }

func (p Policy) transport(proxy func(*http.Request) (*url.URL, error)) *http.Transport {
	t := &http.Transport{
		Proxy: proxy, DialContext: p.Dialer().DialContext, ForceAttemptHTTP2: true,
		TLSHandshakeTimeout: dialTimeout, IdleConnTimeout: time.Minute, MaxIdleConnsPerHost: 4,
		MaxResponseHeaderBytes: 64 << 10,
	}
	if p.PublicOnly {
		t.Proxy, t.DialContext = p.viaOperator(proxy)
	}
	return t
}

// viaOperator lets the operator's own proxy be anywhere, and looks at the destination before the
// proxy is asked for it.
func (p Policy) viaOperator(proxy func(*http.Request) (*url.URL, error)) (
	func(*http.Request) (*url.URL, error), func(context.Context, string, string) (net.Conn, error),
) {
	exempt := map[string]bool{}
	for _, scheme := range []string{"http", "https"} {
		if u, err := proxy(&http.Request{URL: &url.URL{Scheme: scheme, Host: "example.com"}}); err == nil && u != nil {
			exempt[hostPort(u)] = true
		}
	}
	choose := func(r *http.Request) (*url.URL, error) {
		u, err := proxy(r)
		if err != nil || u == nil {
			return u, err
		}
		return u, p.checkHost(r.Context(), r.URL.Hostname())
	}
	free, strict := &net.Dialer{Timeout: dialTimeout}, p.Dialer()
	return choose, func(ctx context.Context, network, address string) (net.Conn, error) {
		if exempt[address] {
			return free.DialContext(ctx, network, address)
		}
		return strict.DialContext(ctx, network, address)
	}
}

func hostPort(u *url.URL) string {
	port := u.Port()
	if port == "" {
		port = map[string]string{"http": "80", "https": "443", "socks5": "1080"}[u.Scheme]
	}
	return net.JoinHostPort(u.Hostname(), port)
}

// checkHost refuses a name that means an address which is not public.
func (p Policy) checkHost(ctx context.Context, host string) error {
	addrs, err := net.DefaultResolver.LookupNetIP(ctx, "ip", host)
	if err != nil {
		return err
	}
	for _, a := range addrs {
		if !public(a.Unmap()) {
			return &policyError{a.Unmap()}
		}
	}
	return nil
}

// redirectError is a redirect that is not followed.
type redirectError struct{ host string }

func (e *redirectError) Error() string {
	return fmt.Sprintf("the service redirects to another host (%s), which is not followed", e.host)
}

// sameHost follows redirects that keep host and method; those that would turn a POST into a GET are
// answers like any other.
func sameHost(r *http.Request, via []*http.Request) error {
	first := via[0]
	if r.Method != first.Method || len(via) > maxRedirects {
		return http.ErrUseLastResponse
	}
	if r.URL.Host != first.URL.Host || (first.URL.Scheme == "https" && r.URL.Scheme != "https") {
		return &redirectError{r.URL.Host}
	}
	return nil
}

// request is one HTTP request.
type request struct {
	method string
	url    string
	header http.Header
	body   []byte
}

// do sends a request and returns the answer of a success, at most maxAnswer bytes of it.
func (c *Config) do(ctx context.Context, r request) ([]byte, error) {
	body, _, err := c.exchange(ctx, r)
	return body, err
}

// exchange is do with the header of the answer.
func (c *Config) exchange(ctx context.Context, r request) ([]byte, http.Header, error) {
	req, err := http.NewRequestWithContext(ctx, r.method, r.url, bytes.NewReader(r.body))
	if err != nil {
		return nil, nil, refused("the address does not make a valid request")
	}
	if r.body == nil {
		req.Body, req.ContentLength = http.NoBody, 0
	}
	for k, v := range r.header {
		req.Header[http.CanonicalHeaderKey(k)] = v
	}
	resp, err := c.HTTP.Do(req)
	if err != nil {
		return nil, nil, unreachable(err)
	}
	defer resp.Body.Close() //nolint:errcheck // read only
	answer, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	if resp.StatusCode/100 != 2 {
		return nil, resp.Header, answered(resp.StatusCode, resp.Header, answer)
	}
	if err != nil {
		return nil, resp.Header, unreachable(err)
	}
	return answer, resp.Header, nil
}

// postJSON posts payload and returns the answer.
func (c *Config) postJSON(ctx context.Context, address string, payload any, header http.Header) ([]byte, error) {
	return c.sendJSON(ctx, http.MethodPost, address, payload, header)
}

func (c *Config) sendJSON(ctx context.Context, method, address string, payload any, header http.Header) ([]byte, error) {
	body, err := json.Marshal(payload)
	if err != nil {
		return nil, refused("the event cannot be encoded: %v", err)
	}
	h := http.Header{"Content-Type": {"application/json"}}
	for k, v := range header {
		h[http.CanonicalHeaderKey(k)] = v
	}
	return c.do(ctx, request{method: method, url: address, header: h, body: body})
}

// getJSON reads an answer into out. found is false for 404.
func (c *Config) getJSON(ctx context.Context, address string, header http.Header, out any) (found bool, err error) {
	h := http.Header{"Accept": {"application/json"}}
	for k, v := range header {
		h[http.CanonicalHeaderKey(k)] = v
	}
	body, err := c.do(ctx, request{method: http.MethodGet, url: address, header: h})
	var e *Error
	if errors.As(err, &e) && e.Code == http.StatusNotFound {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	if err := json.Unmarshal(body, out); err != nil {
		return false, refused("the service answered with something that is not the expected JSON")
	}
	return true, nil
}

// bearer, basic and the like make headers.
func header(pairs ...string) http.Header {
	h := http.Header{}
	for i := 0; i+1 < len(pairs); i += 2 {
		h.Set(pairs[i], pairs[i+1])
	}
	return h
}

func (c *Config) bearer() http.Header {
	if c.Token == "" {
		return nil
	}
	return header("Authorization", "Bearer "+c.Token)
}

func basicAuth(username, password string) string {
	r := http.Request{Header: http.Header{}}
	r.SetBasicAuth(username, password)
	return r.Header.Get("Authorization")
}
