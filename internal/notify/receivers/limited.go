package receivers

import (
	"errors"
	"io"
	"net/http"
	"strings"
	"sync"
	"time"

	"golang.org/x/time/rate"
)

// maxLimits bounds how many hosts have a limit of their own.
const maxLimits = 500

// lookUps are how many requests a host gets at a time; then there is one a second.
const lookUps = 20

func newLimit() *rate.Limiter { return rate.NewLimiter(rate.Every(time.Second), lookUps) }

// limited bounds how often each host is asked, and how much is read. Tokens that were made up about one issuer keep no
// other from being asked.
type limited struct {
	base http.RoundTripper

	mu    sync.Mutex
	hosts map[string]*rate.Limiter
	// others is for hosts beyond maxLimits.
	others *rate.Limiter
}

// RoundTrip implements http.RoundTripper.
func (l *limited) RoundTrip(r *http.Request) (*http.Response, error) {
	if !l.limit(strings.ToLower(r.URL.Host)).Allow() {
		return nil, errors.New("too many look-ups of this token issuer at this time")
	}
	resp, err := l.base.RoundTrip(r)
	if err == nil {
		resp.Body = struct {
			io.Reader
			io.Closer
		}{io.LimitReader(resp.Body, maxOIDCAnswer), resp.Body}
	}
	return resp, err
}

func (l *limited) limit(host string) *rate.Limiter {
	l.mu.Lock()
	defer l.mu.Unlock()
	if limit := l.hosts[host]; limit != nil {
		return limit
	}
	if len(l.hosts) >= maxLimits {
		l.forget()
	}
	if len(l.hosts) >= maxLimits {
		return l.others
	}
	limit := newLimit()
	l.hosts[host] = limit
	return limit
}

// forget lets go of limits that are as good as new.
func (l *limited) forget() {
	for host, limit := range l.hosts {
		if limit.Tokens() >= lookUps {
			delete(l.hosts, host)
		}
	}
}
