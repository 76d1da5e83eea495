package apply

import (
	"container/list"
	"crypto/sha256"
	"fmt"
	"sync"
	"time"

	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/metadata"
	"k8s.io/client-go/rest"
)

// Client reaches one cluster as one identity. Discovery is shared by all clients of the cluster.
type Client struct {
	dynamic  dynamic.Interface
	metadata metadata.Interface
	mapper   *Mapper
}

// NewClient returns a client without a pool: discovery is its own.
func NewClient(cfg *rest.Config) (*Client, error) {
	mapper, err := newMapper(unlimited(cfg))
	if err != nil {
		return nil, err
	}
	return newClient(cfg, mapper)
}

func newClient(cfg *rest.Config, mapper *Mapper) (*Client, error) {
	cfg = unlimited(cfg)
	dyn, err := dynamic.NewForConfig(cfg)
	if err != nil {
		return nil, err
	}
	meta, err := metadata.NewForConfig(cfg)
	if err != nil {
		return nil, err
	}
	return &Client{dynamic: dyn, metadata: meta, mapper: mapper}, nil
}

// Mapper returns the REST mapping of the cluster.
func (c *Client) Mapper() *Mapper { return c.mapper }

// Dynamic returns the client for whole objects.
func (c *Client) Dynamic() dynamic.Interface { return c.dynamic }

// Metadata returns the client for object metadata only.
func (c *Client) Metadata() metadata.Interface { return c.metadata }

// WithMetadata returns a client that reads and watches metadata through another configuration for the
// same cluster.
func (c *Client) WithMetadata(cfg *rest.Config) (*Client, error) {
	meta, err := metadata.NewForConfig(unlimited(cfg))
	if err != nil {
		return nil, err
	}
	return &Client{dynamic: c.dynamic, metadata: meta, mapper: c.mapper}, nil
}

// ClientPool keeps clients for the life of the process, one for each cluster and identity, and one
// REST mapping for each cluster. Clients of one cluster share its HTTP connections (client-go
// shares a transport between configurations with equal TLS settings). The zero value is ready.
type ClientPool struct {
	// Size bounds the clients and, apart from them, the mappings that are kept; the least
	// recently used goes first. 0 means 512.
	Size int
	// Idle is how long a client that nobody asks for is kept, with its connections and mapping. 0 means
	// two hours.
	Idle time.Duration
	// Now is the clock, time.Now when nil.
	Now func() time.Time

	mu      sync.Mutex
	clients lru[*Client]
	mappers lru[*Mapper]
}

// Get returns the client for a configuration. Discovery is done with its impersonation taken off,
// so that all tenants of a cluster share one mapping.
//
// Credentials are part of the key, so a rotated token makes a new client. Where a configuration
// carries functions (a transport wrapper, a dialer, an auth provider), key must name the identity;
// without a key such a client is not kept.
func (p *ClientPool) Get(cfg *rest.Config, key string) (*Client, error) {
	if key == "" && opaque(cfg) {
		return NewClient(cfg)
	}
	base := rest.CopyConfig(cfg)
	base.Impersonate = rest.ImpersonationConfig{}
	clusterKey := fingerprint(base, key)
	clientKey := fingerprint(cfg, key)

	p.mu.Lock()
	defer p.mu.Unlock()
	size := p.Size
	if size <= 0 {
		size = 512
	}
	now := p.expire()
	mapper, ok := p.mappers.get(clusterKey, now)
	if c, kept := p.clients.get(clientKey, now); kept {
		return c, nil
	}
	if !ok {
		var err error
		if mapper, err = newMapper(unlimited(base)); err != nil {
			return nil, err
		}
		p.mappers.put(clusterKey, mapper, size, now)
	}
	c, err := newClient(cfg, mapper)
	if err != nil {
		return nil, err
	}
	p.clients.put(clientKey, c, size, now)
	return c, nil
}

// expire drops what nobody has asked for in a long time, and returns the time.
func (p *ClientPool) expire() time.Time {
	now, idle := time.Now(), p.Idle
	if p.Now != nil {
		now = p.Now()
	}
	if idle <= 0 {
		idle = 2 * time.Hour
	}
	p.clients.expire(now.Add(-idle))
	p.mappers.expire(now.Add(-idle))
	return now
}

// Len returns the number of clients that are kept.
func (p *ClientPool) Len() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.clients.len()
}

func opaque(cfg *rest.Config) bool {
	return cfg.WrapTransport != nil || cfg.Transport != nil || cfg.Dial != nil || cfg.Proxy != nil ||
		cfg.AuthProvider != nil || cfg.ExecProvider != nil
}

// fingerprint identifies cluster and identity without keeping the credential itself.
func fingerprint(cfg *rest.Config, key string) string {
	d := sha256.New()
	t := cfg.TLSClientConfig
	for _, s := range []string{
		key, cfg.Host, cfg.APIPath, cfg.Username, cfg.Password, cfg.BearerToken, cfg.BearerTokenFile,
		fmt.Sprint(t.Insecure), t.ServerName, t.CertFile, t.KeyFile, t.CAFile,
		string(t.CertData), string(t.KeyData), string(t.CAData),
		cfg.Impersonate.UserName, cfg.Impersonate.UID,
		fmt.Sprintf("%q %q", cfg.Impersonate.Groups, cfg.Impersonate.Extra),
	} {
		fmt.Fprintf(d, "%d:%s", len(s), s)
	}
	return string(d.Sum(nil))
}

// unlimited turns off client-go's own rate limit, five requests a second by default: servers have
// priority and fairness, and the number of writers is bounded here.
func unlimited(cfg *rest.Config) *rest.Config {
	if cfg.QPS != 0 || cfg.RateLimiter != nil {
		return cfg
	}
	out := rest.CopyConfig(cfg)
	out.QPS = -1
	return out
}

// lru is a bounded map; the least recently used entry goes first. It is not safe for concurrent
// use.
type lru[V any] struct {
	order list.List
	byKey map[string]*list.Element
}

type lruEntry[V any] struct {
	key   string
	value V
	used  time.Time
}

func (l *lru[V]) get(key string, now time.Time) (V, bool) {
	e, ok := l.byKey[key]
	if !ok {
		var none V
		return none, false
	}
	l.order.MoveToFront(e)
	entry := e.Value.(lruEntry[V])
	entry.used = now
	e.Value = entry
	return entry.value, true
}

// expire drops the entries that were used last before a time.
func (l *lru[V]) expire(before time.Time) {
	for last := l.order.Back(); last != nil && last.Value.(lruEntry[V]).used.Before(before); last = l.order.Back() {
		l.drop(last)
	}
}

func (l *lru[V]) drop(e *list.Element) {
	l.order.Remove(e)
	delete(l.byKey, e.Value.(lruEntry[V]).key)
}

func (l *lru[V]) put(key string, value V, size int, now time.Time) {
	if l.byKey == nil {
		l.byKey = map[string]*list.Element{}
	}
	l.byKey[key] = l.order.PushFront(lruEntry[V]{key, value, now})
	for l.order.Len() > size {
		l.drop(l.order.Back())
	}
}

func (l *lru[V]) len() int { return l.order.Len() }
