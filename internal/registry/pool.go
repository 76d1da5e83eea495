package registry

import (
	"crypto/tls"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"time"

	"github.com/gitops-toolkit/flux/internal/auth"
)

// Pool keeps the connections of a process.
type Pool struct {
	opts       Options
	transports auth.Transports
}

// NewPool returns a pool without connections.
func NewPool(opts Options) *Pool {
	opts.Limits = opts.Limits.withDefaults()
	if opts.Retries == nil {
		opts.Retries = []time.Duration{500 * time.Millisecond, 2 * time.Second}
	}
	if opts.Patience <= 0 {
		opts.Patience = 10 * time.Second
	}
	return &Pool{opts: opts}
}

// Close closes the connections that are idle.
func (p *Pool) Close() { p.transports.Close() }

// transport returns the connections for these files and this proxy.
func (p *Pool) transport(files auth.TLS, proxy *url.URL, skipVerify bool) (*http.Transport, error) {
	key := fmt.Sprintf("%x %v %t", files.Fingerprint(), proxy != nil, skipVerify)
	if proxy != nil {
		key += proxy.String()
	}
	return p.transports.Get(key, func() (*http.Transport, error) {
		config, err := files.Config()
		if err != nil {
			return nil, err
		}
		config.InsecureSkipVerify = skipVerify //nolint:gosec // spec.insecure and --insecure-registry ask for it
		return newTransport(config, proxy), nil
	})
}

func newTransport(config *tls.Config, proxy *url.URL) *http.Transport {
	proxies := http.ProxyFromEnvironment
	if proxy != nil {
		proxies = http.ProxyURL(proxy)
	}
	dialer := &net.Dialer{Timeout: 30 * time.Second, KeepAlive: 30 * time.Second}
	return &http.Transport{
		Proxy: proxies, DialContext: dialer.DialContext, TLSClientConfig: config,
		ForceAttemptHTTP2: true, TLSHandshakeTimeout: 10 * time.Second,
		MaxIdleConns: 100, MaxIdleConnsPerHost: 8, IdleConnTimeout: 90 * time.Second,
		ExpectContinueTimeout: time.Second,
		// A compressed answer would be larger than what is counted.
		DisableCompression: true,
	}
}
