package providers

import (
	"context"
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/gitops-toolkit/flux/api/meta"
	notificationv1 "github.com/gitops-toolkit/flux/api/notification/v1beta3"
)

func TestRead(t *testing.T) {
	t.Parallel()
	ref := func(name string) *meta.LocalObjectReference { return &meta.LocalObjectReference{Name: name} }
	data := map[string]map[string][]byte{
		"login":   {"address": []byte("https://secret\n"), "username": []byte("u"), "password": []byte("p"), "token": []byte(" t "), "headers": []byte("A: b\nC: d"), "proxy": []byte("http://old:1")},
		"proxy":   {"address": []byte("http://new:2"), "username": []byte("pu"), "password": []byte("pp")},
		"long":    {"address": []byte("https://" + strings.Repeat("a", 2048))},
		"headers": {"headers": []byte("- a")}, "empty": {}, "half": {"tls.crt": []byte("x")},
	}
	read := func(spec notificationv1.ProviderSpec) (*Config, error) {
		return Read(&notificationv1.Provider{ObjectMeta: metav1.ObjectMeta{Name: "p"}, Spec: spec}, func(name string) (map[string][]byte, error) {
			if d, ok := data[name]; ok {
				return d, nil
			}
			return nil, errors.New("not found")
		})
	}
	c, err := read(notificationv1.ProviderSpec{Type: "generic", Address: "https://spec", Username: "su", Proxy: "http://spec:3", SecretRef: ref("login")})
	if err != nil || c.Address != "https://secret" || c.Username != "u" || c.Password != "p" || c.Token != "t" || c.Headers["C"] != "d" ||
		c.Proxy.Host != "old:1" || len(c.Warnings) != 1 || c.Timeout != 15*time.Second {
		t.Errorf("the Secret does not win: %+v %v", c, err)
	}
	c, err = read(notificationv1.ProviderSpec{Type: "generic", Proxy: "http://spec:3", SecretRef: ref("login"), ProxySecretRef: ref("proxy"), Timeout: meta.DurationPtr(time.Minute)})
	if err != nil || c.Proxy.String() != "http://pu:pp@new:2" || c.Timeout != time.Minute {
		t.Errorf("proxySecretRef does not win: %v %v", c.Proxy, err)
	}
	for reason, tt := range map[string]struct {
		spec notificationv1.ProviderSpec
		want string
	}{
		"a missing Secret": {notificationv1.ProviderSpec{SecretRef: ref("absent")}, "failed to read secret: not found"}, "a long address": {notificationv1.ProviderSpec{SecretRef: ref("long")}, "longer than 2048"},
		"headers that are no map": {notificationv1.ProviderSpec{SecretRef: ref("headers")}, "not a YAML map"}, "no TLS files": {notificationv1.ProviderSpec{CertSecretRef: ref("empty")}, "none of"},
		"half a pair": {notificationv1.ProviderSpec{CertSecretRef: ref("half")}, "given together"}, "a bad proxy": {notificationv1.ProviderSpec{Proxy: "ftp://x"}, "invalid proxy"},
		"no proxy in the Secret": {notificationv1.ProviderSpec{ProxySecretRef: ref("empty")}, "invalid proxy secret 'empty'"},
	} {
		if _, err := read(tt.spec); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %v", reason, err)
		}
	}
	if _, err := (&Config{Provider: &notificationv1.Provider{Spec: notificationv1.ProviderSpec{Type: "pigeon"}}}).Open(); err == nil || err.Error() != "provider pigeon not supported" {
		t.Errorf("%v", err)
	}
}

func TestPublicAddresses(t *testing.T) {
	t.Parallel()
	for addr, want := range map[string]bool{
		"8.8.8.8": true, "2606:4700::1111": true, "127.0.0.1": false, "10.1.2.3": false, "192.168.0.1": false, "172.16.0.1": false, "169.254.169.254": false,
		"0.0.0.0": false, "100.64.0.1": false, "::1": false, "fe80::1": false, "fd00:ec2::254": false, "::ffff:169.254.169.254": false, "64:ff9b::a9fe:a9fe": false, "224.0.0.1": false, "255.255.255.255": false,
	} {
		if got := public(netip.MustParseAddr(addr).Unmap()); got != want {
			t.Errorf("%s: public %v", addr, got)
		}
	}
}

// The policy looks at the address that is connected to, so a name that means something else by then
// helps nobody.
func TestPolicyAtConnection(t *testing.T) {
	t.Parallel()
	var called int
	server := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { called++ }))
	defer server.Close()
	_, port, _ := net.SplitHostPort(server.Listener.Addr().String())
	for _, address := range []string{server.URL, "http://localhost:" + port, "http://[::ffff:127.0.0.1]:" + port} {
		p := &notificationv1.Provider{Spec: notificationv1.ProviderSpec{Type: "generic", Address: address}}
		c, err := Read(p, nil)
		if err != nil {
			t.Fatal(err)
		}
		c.Policy.PublicOnly = true
		sender, err := c.Open()
		if err != nil {
			t.Fatal(err)
		}
		var e *Error
		if err := sender.Send(t.Context(), sample()); !errors.As(err, &e) || e.again || !strings.Contains(err.Error(), "is not public") {
			t.Errorf("%s: %v", address, err)
		}
	}
	if called > 0 {
		t.Errorf("%d calls got through", called)
	}
}

// The operator's proxy may be anywhere; what it is asked for may not.
func TestPolicyThroughTheOperatorsProxy(t *testing.T) {
	t.Parallel()
	proxy := &url.URL{Scheme: "http", Host: "10.0.0.1:3128"}
	choose, dial := Policy{PublicOnly: true}.viaOperator(func(*http.Request) (*url.URL, error) { return proxy, nil })
	req, _ := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://169.254.169.254/latest", nil)
	var refusal *policyError
	if _, err := choose(req); !errors.As(err, &refusal) {
		t.Errorf("the metadata service through a proxy: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := dial(ctx, "tcp", "10.0.0.1:3128"); errors.As(err, &refusal) {
		t.Errorf("the proxy itself is refused: %v", err)
	}
	if _, err := dial(t.Context(), "tcp", "10.0.0.2:80"); !errors.As(err, &refusal) {
		t.Errorf("another private address: %v", err)
	}
}
