package bucket_test

import (
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/gitops-toolkit/flux/api/meta"
	sourcev1 "github.com/gitops-toolkit/flux/api/source/v1"
	"github.com/gitops-toolkit/flux/internal/registry/registrytest"
)

func ref(name string) *meta.LocalObjectReference { return &meta.LocalObjectReference{Name: name} }

// says waits until Ready is False with a reason and a message that has all parts.
func (l *lab) says(name, reason string, parts ...string) *sourcev1.Bucket {
	l.Helper()
	return l.until(name, reason+" with "+strings.Join(parts, ", "), func(b *sourcev1.Bucket) bool {
		c := b.Status.Conditions.Get(meta.ReadyCondition)
		if c == nil || c.Status != metav1.ConditionFalse || c.Reason != reason {
			return false
		}
		for _, part := range parts {
			if !strings.Contains(c.Message, part) {
				return false
			}
		}
		return true
	})
}

// tunnel is a proxy that knows CONNECT and wants a password.
func tunnel(t *testing.T) (address string, used *atomic.Int64) {
	used = &atomic.Int64{}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodConnect || r.Header.Get("Proxy-Authorization") != "Basic am86cHJveHktcHc=" { // jo:proxy-pw
			w.WriteHeader(http.StatusProxyAuthRequired)
			return
		}
		there, err := net.Dial("tcp", r.Host)
		if err != nil {
			w.WriteHeader(http.StatusBadGateway)
			return
		}
		here, buffered, err := w.(http.Hijacker).Hijack()
		if err != nil {
			_ = there.Close()
			return
		}
		used.Add(1)
		_, _ = io.WriteString(here, "HTTP/1.1 200 Connection established\r\n\r\n")
		go func() { _, _ = io.Copy(there, buffered); _ = there.Close() }()
		_, _ = io.Copy(here, there)
		_ = here.Close()
	}))
	t.Cleanup(server.Close)
	return server.URL, used
}

// TestTLSAndProxy goes over TLS with an authority of its own, and through a proxy, to a real S3 server.
func TestTLSAndProxy(t *testing.T) {
	t.Parallel()
	ca := registrytest.NewAuthority(t)
	dir := t.TempDir()
	cert, key := ca.Issue(t, time.Now().Add(time.Hour))
	certFile, keyFile := filepath.Join(dir, "tls.crt"), filepath.Join(dir, "tls.key")
	for file, data := range map[string][]byte{certFile: cert, keyFile: key} {
		if err := os.WriteFile(file, data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	server := startS3(t, certFile, keyFile)
	server.put("a.yaml", "a: 1\n")
	proxy, used := tunnel(t)
	l := newLab(t)
	l.secret("s3", map[string]string{"accesskey": accessKey, "secretkey": secretKey})
	l.secret("ca", map[string]string{"ca.crt": string(ca.PEM)})
	l.secret("pair", map[string]string{"ca.crt": string(ca.PEM), "tls.crt": string(cert), "tls.key": string(key)})
	l.secret("old", map[string]string{"caFile": string(ca.PEM)})
	l.secret("other", map[string]string{"ca.crt": string(registrytest.NewAuthority(t).PEM)})
	l.secret("empty", map[string]string{"x": "y"})
	l.secret("half", map[string]string{"tls.crt": string(cert)})
	l.secret("garbage", map[string]string{"ca.crt": "canary-in-the-authority"})
	l.secret("proxy", map[string]string{"address": proxy, "username": "jo", "password": "proxy-pw"})
	l.secret("noproxy", map[string]string{"username": "jo"})
	l.secret("refused", map[string]string{"address": proxy, "username": "jo", "password": "canary-in-the-proxy"})
	l.start()
	good := revisionOf(map[string]string{"a.yaml": "a: 1\n"})
	make := func(name, certs, proxy string) {
		l.create(name, func(b *sourcev1.BucketSpec) {
			b.Endpoint, b.Insecure = server.endpoint, false
			if certs != "" {
				b.CertSecretRef = ref(certs)
			}
			if proxy != "" {
				b.ProxySecretRef = ref(proxy)
			}
		})
	}
	for _, certs := range []string{"ca", "pair", "old"} {
		make("with-"+certs, certs, "")
		l.revision("with-"+certs, good)
	}
	make("through", "ca", "proxy")
	l.revision("through", good)
	if used.Load() == 0 {
		t.Error("nothing went through the proxy")
	}
	make("unknown", "", "")
	l.says("unknown", "BucketOperationFailed", "certificate signed by unknown authority", "name that in spec.certSecretRef")
	make("with-other", "other", "")
	l.says("with-other", "BucketOperationFailed", "certificate signed by unknown authority")
	make("with-empty", "empty", "")
	l.says("with-empty", "AuthenticationFailed", "invalid '"+l.Namespace+"/empty' secret data: it needs 'ca.crt'")
	make("with-half", "half", "")
	l.says("with-half", "AuthenticationFailed", "'tls.crt' and 'tls.key' must be given together")
	make("with-garbage", "garbage", "")
	l.says("with-garbage", "AuthenticationFailed", "spec.certSecretRef: 'ca.crt' holds no certificate in PEM format")
	make("with-none", "none", "")
	l.says("with-none", "AuthenticationFailed", "create it, or correct spec.certSecretRef")
	make("by-noproxy", "ca", "noproxy")
	l.says("by-noproxy", "AuthenticationFailed", "invalid proxy secret '"+l.Namespace+"/noproxy': key 'address' is missing")
	make("by-refused", "ca", "refused")
	if b := l.says("by-refused", "BucketOperationFailed", "Proxy Authentication Required"); strings.Contains(b.Status.Conditions.Get("Ready").Message, "canary") {
		t.Error("the message shows the password of the proxy")
	}
	// What is good stays good when its Secret breaks, and its artifact stays.
	l.update("with-ca", func(b *sourcev1.Bucket) { b.Spec.CertSecretRef = ref("other") })
	if b := l.says("with-ca", "BucketOperationFailed", "certificate signed by unknown authority"); b.Status.Artifact == nil || b.Status.Artifact.Revision != good {
		t.Errorf("the last good artifact is gone: %+v", b.Status.Artifact)
	}
}

// TestHostileServers has a bucket at servers that are busy, broken, expired, of another name, or silent: each has its
// own words, and the last good artifact stays.
func TestHostileServers(t *testing.T) {
	t.Parallel()
	ca := registrytest.NewAuthority(t)
	servedAt := func(host string, until time.Time, h http.HandlerFunc) string {
		server := httptest.NewUnstartedServer(h)
		_ = server.Listener.Close()
		var err error
		if server.Listener, err = net.Listen("tcp", host+":0"); err != nil {
			t.Fatal(err)
		}
		server.TLS = ca.TLS(t, until)
		server.Config.ErrorLog = log.New(io.Discard, "", 0)
		server.StartTLS()
		t.Cleanup(server.Close)
		return server.Listener.Addr().String()
	}
	served := func(until time.Time, h http.HandlerFunc) string { return servedAt("127.0.0.1", until, h) }
	answer := func(status int, header ...string) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) {
			for i := 0; i < len(header); i += 2 {
				w.Header().Set(header[i], header[i+1])
			}
			w.WriteHeader(status)
		}
	}
	hour := time.Now().Add(time.Hour)
	var asked atomic.Int64
	endpoints := map[string]string{
		"busy": served(hour, func(w http.ResponseWriter, r *http.Request) {
			asked.Add(1)
			answer(http.StatusTooManyRequests, "Retry-After", "1800")(w, r)
		}),
		"misnamed": servedAt("127.0.0.2", hour, answer(http.StatusOK)),
		"broken":   served(hour, answer(http.StatusInternalServerError)),
		"expired":  served(time.Now().Add(-time.Hour), answer(http.StatusOK)),
		"cut": served(hour, func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Length", "1000")
			_, _ = io.WriteString(w, "<?xml version=\"1.0\"?><ListBucketResult>")
		}),
		"silent": served(hour, func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }),
		"plain":  strings.TrimPrefix(httptest.NewServer(answer(http.StatusOK)).URL, "http://"),
	}
	l := newLab(t)
	l.secret("s3", map[string]string{"accesskey": accessKey, "secretkey": secretKey})
	l.secret("ca", map[string]string{"ca.crt": string(ca.PEM)})
	l.start()
	for name, endpoint := range endpoints {
		l.create(name, func(b *sourcev1.BucketSpec) {
			b.Endpoint, b.Insecure, b.CertSecretRef = endpoint, false, ref("ca")
			b.Timeout = meta.DurationPtr(5 * time.Second)
		})
	}
	const unsure = "failed to confirm existence of 'sample' bucket: "
	l.says("busy", "BucketOperationFailed", "answers 429 Too Many Requests, and asks to wait 30m0s", unsure)
	for name, parts := range map[string][]string{
		"misnamed": {"not 127.0.0.2", "check spec.endpoint, or give the storage a certificate for it"},
		"broken":   {"500 Internal Server Error"},
		"expired":  {"certificate has expired", "give the storage a certificate that is valid"},
		"cut":      {"unexpected EOF"},
		"silent":   {"check that the storage can be reached from the cluster, or raise spec.timeout (5s)"},
		"plain":    {"set spec.insecure if the storage speaks plain HTTP"},
	} {
		l.says(name, "BucketOperationFailed", append(parts, unsure)...)
	}
	if n := asked.Load(); n != 1 {
		t.Errorf("a server that asked for half an hour was asked %d times", n)
	}
}
