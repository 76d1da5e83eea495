package registrytest

import (
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"testing"
)

// StartLogin starts a proxy that leads to the registry whatever host is asked for, such as that of a cloud, and lets in
// only who comes with the login. It returns the proxy's address.
func (s *Server) StartLogin(t testing.TB, username, password string) string {
	forward := &httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) {
		r.Out.URL.Scheme, r.Out.URL.Host, r.Out.Host = "http", s.Host, r.In.Host
	}}
	proxy := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if user, secret, _ := r.BasicAuth(); user != username || secret != password {
			w.Header().Set("WWW-Authenticate", `Basic realm="registry"`)
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		forward.ServeHTTP(w, r)
	}))
	t.Cleanup(proxy.Close)
	return proxy.URL
}
