package registry

import (
	"crypto/tls"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"sync"
	"time"

	"github.com/gitops-toolkit/flux/internal/auth"
)

// Pool keeps the connections of a process.
type Pool struct {
	opts Options

	mu         sync.Mutex
	transports map[string]*pooled
	uses       int64
}

type pooled struct {
	transport *http.Transport
	last      int64 // value of Pool.uses at the last use
}

// maxTransports is how many ways to reach registries are kept; the one unused for longest gives way.
const maxTransports = 64

// NewPool returns a pool without connections.
func NewPool(opts Options) *Pool {
	opts.Limits = opts.Limits.withDefaults()
	if opts.Retries == nil {
		opts.Retries = []time.Duration{500 * time.Millisecond, 2 * time.Second}
	}
	if opts.Patience <= 0 {
		opts.Patience = 10 * time.Second
	}
	return &Pool{opts: opts, transports: map[string]*pooled{}}
}

// Close closes the connections that are idle.
func (p *Pool) Close() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for key, t := range p.transports {
		t.transport.CloseIdleConnections()
		delete(p.transports, key)
	}
}

// transport returns the connections for these files and this proxy.
func (p *Pool) transport(files auth.TLS, proxy *url.URL, skipVerify bool) (*http.Transport, error) {
	key := fmt.Sprintf("%x %v %t", files.Fingerprint(), proxy != nil, skipVerify)
	if proxy != nil {
		key += proxy.String()
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.uses++
	if t := p.transports[key]; t != nil {
		t.last = p.uses
		return t.transport, nil
	}
	config, err := files.Config()
	if err != nil {
		return nil, err
	}
	config.InsecureSkipVerify = skipVerify //nolint:gosec // spec.insecure and --insecure-registry ask for it
	if len(p.transports) >= maxTransports {
		p.dropOldest()
	}
	t := newTransport(config, proxy)
	p.transports[key] = &pooled{transport: t, last: p.uses}
	return t, nil
}

func (p *Pool) dropOldest() {
	oldest := ""
	for key, t := range p.transports {
		if oldest == "" || t.last < p.transports[oldest].last {
			oldest = key
		}
	}
	p.transports[oldest].transport.CloseIdleConnections()
	delete(p.transports, oldest)
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
