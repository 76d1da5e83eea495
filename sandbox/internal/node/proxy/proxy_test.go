package proxy

import (
	"io"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	corelisters "k8s.io/client-go/listers/core/v1"
	discoverylisters "k8s.io/client-go/listers/discovery/v1"
	"k8s.io/client-go/tools/cache"
)

// cluster has a Service web with a ready and an unready pod, a headless one, an
// external one, and one without pods.
func cluster(t *testing.T) *Cluster {
	t.Helper()
	byNamespace := cache.Indexers{cache.NamespaceIndex: cache.MetaNamespaceIndexFunc}
	services, slices := cache.NewIndexer(cache.MetaNamespaceKeyFunc, byNamespace), cache.NewIndexer(cache.MetaNamespaceKeyFunc, byNamespace)
	service := func(name string, spec corev1.ServiceSpec) {
		if err := services.Add(&corev1.Service{ObjectMeta: metav1.ObjectMeta{Namespace: "n", Name: name}, Spec: spec}); err != nil {
			t.Fatal(err)
		}
	}
	service("web", corev1.ServiceSpec{ClusterIP: "10.96.0.9", Ports: []corev1.ServicePort{{Name: "http", Port: 80}}})
	service("set", corev1.ServiceSpec{ClusterIP: corev1.ClusterIPNone})
	service("out", corev1.ServiceSpec{Type: corev1.ServiceTypeExternalName, ExternalName: "example.com"})
	service("empty", corev1.ServiceSpec{ClusterIP: "10.96.0.10", Ports: []corev1.ServicePort{{Port: 80}}})

	yes, no, name, port, zero := true, false, "http", int32(8080), "set-0"
	slice := func(service string, ports []discoveryv1.EndpointPort, endpoints ...discoveryv1.Endpoint) {
		err := slices.Add(&discoveryv1.EndpointSlice{
			ObjectMeta: metav1.ObjectMeta{Namespace: "n", Name: service, Labels: map[string]string{discoveryv1.LabelServiceName: service}},
			Ports:      ports, Endpoints: endpoints,
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	slice("web", []discoveryv1.EndpointPort{{Name: &name, Port: &port}},
		discoveryv1.Endpoint{Addresses: []string{"10.244.0.2"}, Conditions: discoveryv1.EndpointConditions{Ready: &yes}},
		discoveryv1.Endpoint{Addresses: []string{"10.244.0.3"}, Conditions: discoveryv1.EndpointConditions{Ready: &no}})
	slice("set", nil, discoveryv1.Endpoint{Addresses: []string{"10.244.0.4"}, Hostname: &zero},
		discoveryv1.Endpoint{Addresses: []string{"10.244.0.5"}})
	return &Cluster{
		Services: corelisters.NewServiceLister(services), Slices: discoverylisters.NewEndpointSliceLister(slices),
		PodNetwork: netip.MustParsePrefix("10.244.0.0/16"), ServiceNetwork: netip.MustParsePrefix("10.96.0.0/16"),
		Host: func(pod netip.Addr) netip.Addr {
			b := pod.As4()
			return netip.AddrFrom4([4]byte{127, 7, b[2], b[3]})
		},
	}
}

func TestResolve(t *testing.T) {
	t.Parallel()
	c := cluster(t)
	tests := []struct {
		reason, host string
		port         int
		want         string
		ours, fails  bool
	}{
		{"a Service's full name, with the final dot", "web.n.svc.cluster.local.", 80, "127.7.0.2:8080", true, false},
		{"without the domain", "web.n.svc", 80, "127.7.0.2:8080", true, false},
		{"in capitals", "WEB.N.SVC", 80, "127.7.0.2:8080", true, false},
		{"a name that could be a domain, but is a Service's", "web.n", 80, "127.7.0.2:8080", true, false},
		{"a domain", "example.com", 443, "", false, false},
		{"a Service's address", "10.96.0.9", 80, "127.7.0.2:8080", true, false},
		{"a pod's address", "10.244.0.77", 9440, "127.7.0.77:9440", true, false},
		{"an address elsewhere", "192.0.2.1", 80, "", false, false},
		{"a pod of a headless Service", "set-0.set.n.svc", 5432, "127.7.0.4:5432", true, false},
		{"an external Service", "out.n.svc", 443, "example.com:443", true, false},
		{"a port that the Service does not have", "web.n.svc", 81, "", true, true},
		{"a Service without ready pods", "empty.n.svc", 80, "", true, true},
		{"a Service that is not there", "none.n.svc", 80, "", true, true},
		{"a Service address that nobody has", "10.96.9.9", 80, "", true, true},
	}
	for _, test := range tests {
		t.Run(test.reason, func(t *testing.T) {
			t.Parallel()
			got, ours, err := c.Resolve(test.host, test.port)
			if got != test.want || ours != test.ours || (err != nil) != test.fails {
				t.Errorf("got %q, %v, %v", got, ours, err)
			}
		})
	}
}

// one resolves one host to one address.
type one struct{ host, address string }

func (o one) Resolve(host string, _ int) (string, bool, error) {
	return o.address, host == o.host, nil
}

func TestProxy(t *testing.T) {
	t.Parallel()
	echo := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		io.WriteString(w, r.Host+" "+r.Header.Get("Proxy-Authorization"))
	})
	plain, secure := httptest.NewServer(echo), httptest.NewTLSServer(echo)
	t.Cleanup(plain.Close)
	t.Cleanup(secure.Close)
	get := func(backend *httptest.Server, target string) string {
		t.Helper()
		p := httptest.NewServer(NewHandler(one{"web.n.svc", strings.SplitN(backend.URL, "//", 2)[1]}))
		defer p.Close()
		transport := backend.Client().Transport.(*http.Transport).Clone()
		address, err := url.Parse(strings.Replace(p.URL, "//", "//user:word@", 1))
		if err != nil {
			t.Fatal(err)
		}
		transport.Proxy = http.ProxyURL(address)
		if transport.TLSClientConfig != nil {
			transport.TLSClientConfig.ServerName = "example.com" // what httptest's certificate is for
		}
		defer transport.CloseIdleConnections()
		response, err := (&http.Client{Transport: transport}).Get(target)
		if err != nil {
			t.Fatal(err)
		}
		defer response.Body.Close()
		body, err := io.ReadAll(response.Body)
		if err != nil {
			t.Fatal(err)
		}
		return string(body)
	}
	if got := get(plain, "http://web.n.svc/"); got != "web.n.svc " {
		t.Errorf("over HTTP the host is kept and the proxy's credential is not handed on, got %q", got)
	}
	if got := get(secure, "https://web.n.svc/"); got != "web.n.svc " {
		t.Errorf("over HTTPS the tunnel reaches the server, got %q", got)
	}
}

func TestProxyRefusesToBeAServer(t *testing.T) {
	t.Parallel()
	w := httptest.NewRecorder()
	NewHandler(one{}).ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/etc/passwd", nil))
	if w.Code != http.StatusBadRequest {
		t.Errorf("got %d", w.Code)
	}
}
