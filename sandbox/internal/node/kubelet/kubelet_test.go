package kubelet

import (
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"
)

func TestOnlyTheAPIServerMayAsk(t *testing.T) {
	t.Parallel()
	handler := (&server{}).routes()
	ask := func(method, path string, groups ...string) int {
		r := httptest.NewRequest(method, path, nil)
		r.TLS = &tls.ConnectionState{PeerCertificates: []*x509.Certificate{{Subject: pkix.Name{Organization: groups}}}}
		w := httptest.NewRecorder()
		handler.ServeHTTP(w, r)
		return w.Code
	}
	tests := []struct {
		reason, method, path string
		groups               []string
		want                 int
	}{
		{"the API server", http.MethodGet, "/healthz", []string{"system:masters"}, http.StatusOK},
		{"a node has the same authority, but no right", http.MethodGet, "/healthz", []string{"system:nodes"}, http.StatusForbidden},
		{"exec cannot be done", http.MethodPost, "/exec/n/p/c", []string{"system:masters"}, http.StatusNotImplemented},
		{"attach cannot be done", http.MethodPost, "/attach/n/p/c", []string{"system:masters"}, http.StatusNotImplemented},
		{"anything else is not there", http.MethodGet, "/pods", []string{"system:masters"}, http.StatusNotFound},
	}
	for _, test := range tests {
		t.Run(test.reason, func(t *testing.T) {
			t.Parallel()
			if got := ask(test.method, test.path, test.groups...); got != test.want {
				t.Errorf("got %d, want %d", got, test.want)
			}
		})
	}
	if r := httptest.NewRequest(http.MethodGet, "/healthz", nil); fromAPIServer(r) {
		t.Error("a caller without a certificate counts as the API server")
	}
}

func TestLogOptions(t *testing.T) {
	t.Parallel()
	options, err := logOptions(httptest.NewRequest(http.MethodGet,
		"/?follow=true&timestamps=true&tailLines=5&limitBytes=7&sinceTime=2030-01-02T03:04:05Z&stream=Stderr", nil))
	if err != nil {
		t.Fatal(err)
	}
	if !options.Follow || !options.Timestamps || options.Tail != 5 || options.Limit != 7 || options.Stream != "stderr" ||
		!options.Since.Equal(time.Date(2030, 1, 2, 3, 4, 5, 0, time.UTC)) {
		t.Errorf("got %+v", options)
	}
	if all, err := logOptions(httptest.NewRequest(http.MethodGet, "/", nil)); err != nil || all.Tail != -1 {
		t.Errorf("without a number all lines are wanted: %+v, %v", all, err)
	}
	for _, bad := range []string{"/?tailLines=-1", "/?sinceSeconds=x", "/?sinceTime=yesterday"} {
		if _, err := logOptions(httptest.NewRequest(http.MethodGet, bad, nil)); err == nil {
			t.Errorf("%s was accepted", bad)
		}
	}
}
