package apply

import (
	"fmt"
	"net/http"
	"testing"
	"time"

	"k8s.io/client-go/rest"
)

func TestClientPool(t *testing.T) {
	t.Parallel()
	cfg := func(host, token, user string) *rest.Config {
		return &rest.Config{Host: host, BearerToken: token, Impersonate: rest.ImpersonationConfig{UserName: user}}
	}
	p := &ClientPool{Size: 3}
	get := func(c *rest.Config, key string) *Client {
		t.Helper()
		client, err := p.Get(c, key)
		if err != nil {
			t.Fatal(err)
		}
		return client
	}
	a := get(cfg("https://a", "t", "u1"), "")
	for _, tc := range []struct {
		reason       string
		other        *Client
		same, mapper bool
	}{
		{"the same identity is the same client", get(cfg("https://a", "t", "u1"), ""), true, true},
		{"another tenant shares the mapping only", get(cfg("https://a", "t", "u2"), ""), false, true},
		{"another token is another cluster identity", get(cfg("https://a", "t2", "u1"), ""), false, false},
		{"another host", get(cfg("https://b", "t", "u1"), ""), false, false},
	} {
		if (tc.other == a) != tc.same || (tc.other.mapper == a.mapper) != tc.mapper {
			t.Errorf("%s: same client %v, same mapping %v", tc.reason, tc.other == a, tc.other.mapper == a.mapper)
		}
	}
	if p.Len() != 3 {
		t.Errorf("%d clients are kept, the limit is 3", p.Len())
	}

	wrapped := cfg("https://a", "t", "u1")
	wrapped.Wrap(func(rt http.RoundTripper) http.RoundTripper { return rt })
	if first := get(wrapped, ""); first == get(wrapped, "") {
		t.Error("a configuration with functions was kept without a key")
	}
	if first := get(wrapped, "k"); first != get(wrapped, "k") {
		t.Error("a configuration with functions was not kept under its key")
	}
}

func TestClientPoolForgetsIdleClients(t *testing.T) {
	t.Parallel()
	now := time.Unix(0, 0)
	p := &ClientPool{Idle: time.Hour, Now: func() time.Time { return now }}
	get := func(host string) *Client {
		t.Helper()
		c, err := p.Get(&rest.Config{Host: host}, "")
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	busy, idle := get("https://busy"), get("https://idle")
	for range 3 {
		now = now.Add(40 * time.Minute)
		if get("https://busy") != busy {
			t.Error("a client in use was dropped")
		}
	}
	if p.Len() != 1 {
		t.Errorf("%d clients are kept, want the one in use", p.Len())
	}
	if get("https://idle") == idle {
		t.Error("an idle client was kept")
	}
}

func TestClientPoolIsBounded(t *testing.T) {
	t.Parallel()
	p := &ClientPool{Size: 10}
	for i := range 200 {
		if _, err := p.Get(&rest.Config{Host: fmt.Sprintf("https://h%d", i)}, ""); err != nil {
			t.Fatal(err)
		}
	}
	if p.Len() != 10 || p.mappers.len() != 10 {
		t.Errorf("%d clients, %d mappings", p.Len(), p.mappers.len())
	}
}
