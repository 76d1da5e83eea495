package transport

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"sync"
	"syscall"
	"time"
)

// Web sends other requests than Git's own that belong to a remote over HTTP, such as those for large files. The host of
// the remote gets its credentials and Header; any other host gets neither, and must not be an address of this machine
// or its link.
type Web struct {
	base   *url.URL
	near   string // the host that may be this machine
	header http.Header
	own    *httpDialer
	others *httpDialer
	// proxies are the hosts that requests go through, wherever they are.
	proxies sync.Map
}

// NewWeb prepares for a remote over HTTP. The header goes to its host only. Only the host of the address near, which
// somebody else than the author of the repository has written, may be at an address of this machine.
func NewWeb(r Remote, header http.Header, near string) (*Web, error) {
	u, err := Parse(r.URL)
	if err != nil {
		return nil, err
	}
	if u.Scheme == "ssh" {
		return nil, fmt.Errorf("%w: scheme ssh is none of http, https", ErrURL)
	}
	own, err := newHTTP(u, r)
	if err != nil {
		return nil, err
	}
	others, err := newHTTP(&url.URL{}, Remote{Auth: Auth{CA: r.Auth.CA}, Proxy: r.Proxy})
	if err != nil {
		return nil, err
	}
	host, err := Parse(near)
	if err != nil {
		return nil, err
	}
	w := &Web{base: own.base, near: host.Hostname(), header: header, own: own, others: others}
	for _, d := range []*httpDialer{own, others} {
		d.client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
		proxy := d.transport.Proxy
		d.transport.Proxy = func(req *http.Request) (*url.URL, error) {
			u, err := proxy(req)
			if u != nil {
				w.proxies.Store(u.Hostname(), true)
			}
			return u, err
		}
		d.transport.DialContext = w.dial
	}
	return w, nil
}

// Close ends idle connections.
func (w *Web) Close() {
	w.own.Close()
	w.others.Close()
}

// dial connects to a host, or to the proxy on the way there.
func (w *Web) dial(ctx context.Context, network, address string) (net.Conn, error) {
	d := &net.Dialer{Timeout: 30 * time.Second, KeepAlive: 30 * time.Second}
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return nil, err
	}
	if _, proxy := w.proxies.Load(host); !proxy && !strings.EqualFold(host, w.near) {
		d.Control = refuseLocal
	}
	return d.DialContext(ctx, network, address)
}

func refuseLocal(_, address string, _ syscall.RawConn) error {
	at, err := netip.ParseAddrPort(address)
	if err != nil {
		return err
	}
	if ip := at.Addr().Unmap(); ip.IsLoopback() || ip.IsLinkLocalUnicast() || ip.IsUnspecified() || ip.IsMulticast() {
		return fmt.Errorf("%w: %s is an address of this machine or its link", ErrURL, ip)
	}
	return nil
}

// Do sends a request. A GET follows redirects; at another host it carries none of its headers any more. The answer has
// the status 200, and its body must be closed.
func (w *Web) Do(req *http.Request) (*http.Response, error) {
	for redirects := 0; ; redirects++ {
		resp, err := w.send(req)
		if err != nil {
			return nil, plainError(err)
		}
		if !redirected(resp) {
			if err := checkStatus(resp); err != nil {
				_ = resp.Body.Close()
				return nil, err
			}
			resp.Body = &drained{resp.Body}
			return resp, nil
		}
		_ = resp.Body.Close()
		to, err := resp.Location()
		switch {
		case err != nil:
			return nil, fmt.Errorf("%w: it leads nowhere", ErrRedirect)
		case redirects == maxRedirects:
			return nil, fmt.Errorf("%w: more than %d in a row", ErrRedirect, maxRedirects)
		case req.Method != http.MethodGet:
			return nil, fmt.Errorf("%w: a request of the method %s is redirected to %s", ErrRedirect, req.Method, to.Scheme+"://"+to.Host)
		}
		if req, err = follow(req, to); err != nil {
			return nil, err
		}
	}
}

func redirected(resp *http.Response) bool {
	switch resp.StatusCode {
	case http.StatusMovedPermanently, http.StatusFound, http.StatusSeeOther, http.StatusTemporaryRedirect, http.StatusPermanentRedirect:
		return true
	}
	return false
}

func follow(req *http.Request, to *url.URL) (*http.Request, error) {
	if to.Scheme != req.URL.Scheme && to.Scheme != "https" {
		return nil, fmt.Errorf("%w: from %s to %s", ErrRedirect, req.URL.Scheme, to.Scheme)
	}
	next, err := http.NewRequestWithContext(req.Context(), http.MethodGet, to.String(), nil)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrRedirect, plainError(err))
	}
	if safelyThere(req.URL, to) {
		next.Header = req.Header.Clone()
	}
	return next, nil
}

// send adds what is for the host of the remote only, and what is for all.
func (w *Web) send(req *http.Request) (*http.Response, error) {
	if req.URL.Scheme != "https" && req.URL.Scheme != "http" {
		return nil, fmt.Errorf("%w: scheme %q is none of http, https", ErrURL, req.URL.Scheme)
	}
	req.URL.User = nil
	req.Header.Set("User-Agent", userAgent)
	if !safelyThere(w.base, req.URL) {
		return w.others.client.Do(req)
	}
	for name, values := range w.header {
		if req.Header.Get(name) == "" {
			req.Header[http.CanonicalHeaderKey(name)] = values
		}
	}
	if a := w.own.auth; req.Header.Get("Authorization") != "" {
	} else if a.BearerToken != "" {
		req.Header.Set("Authorization", "Bearer "+a.BearerToken)
	} else if a.Username != "" || a.Password != "" {
		req.SetBasicAuth(a.Username, a.Password)
	}
	return w.own.client.Do(req)
}

// maxCommandOutput bounds what a command at the other end of SSH may say.
const maxCommandOutput = 64 << 10

// Run runs a command on the SSH server of a remote, with the quoted path of the repository and an argument, and returns
// what it writes.
func Run(ctx context.Context, r Remote, a Algorithms, command, argument string) ([]byte, error) {
	u, err := Parse(r.URL)
	if err != nil {
		return nil, err
	}
	d, err := newSSH(u, r, a)
	if err != nil {
		return nil, err
	}
	d.path += " " + argument
	conn, err := d.open(ctx, command)
	if err != nil {
		return nil, err
	}
	defer conn.Close() //nolint:errcheck // it has said all
	answer, err := conn.Advertise(ctx)
	if err != nil {
		return nil, err
	}
	defer answer.Close() //nolint:errcheck // read only
	out, err := io.ReadAll(io.LimitReader(answer, maxCommandOutput+1))
	if err == nil && len(out) > maxCommandOutput {
		err = errors.New("the answer is too long")
	}
	if err == nil && len(out) == 0 {
		err = errors.New("the answer is empty")
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", command, err)
	}
	return out, nil
}
