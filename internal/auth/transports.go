package auth

import (
	"net/http"
	"sync"
)

// maxTransports is how many ways to reach servers are kept; the one unused for longest gives way.
const maxTransports = 64

// Transports keep the connections of a process, by the way in which servers are reached: TLS files, say, and a proxy. The
// zero value is ready. They are safe for concurrent use.
type Transports struct {
	mu   sync.Mutex
	ways map[string]*way
	uses int64
}

type way struct {
	transport *http.Transport
	last      int64 // value of uses at the last use
}

// Get returns the transport of a key, made if there is none yet.
func (t *Transports) Get(key string, create func() (*http.Transport, error)) (*http.Transport, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.uses++
	if known := t.ways[key]; known != nil {
		known.last = t.uses
		return known.transport, nil
	}
	made, err := create()
	if err != nil {
		return nil, err
	}
	if t.ways == nil {
		t.ways = map[string]*way{}
	}
	if len(t.ways) >= maxTransports {
		t.dropOldest()
	}
	t.ways[key] = &way{transport: made, last: t.uses}
	return made, nil
}

func (t *Transports) dropOldest() {
	oldest := ""
	for key, w := range t.ways {
		if oldest == "" || w.last < t.ways[oldest].last {
			oldest = key
		}
	}
	t.ways[oldest].transport.CloseIdleConnections()
	delete(t.ways, oldest)
}

// Close closes the connections that are idle.
func (t *Transports) Close() {
	t.mu.Lock()
	defer t.mu.Unlock()
	for key, w := range t.ways {
		w.transport.CloseIdleConnections()
		delete(t.ways, key)
	}
}
