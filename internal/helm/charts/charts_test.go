package charts_test

import (
	"context"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/gitops-toolkit/flux/internal/artifact"
	"github.com/gitops-toolkit/flux/internal/artifact/fetch"
	"github.com/gitops-toolkit/flux/internal/helm/charts"
)

// A chart that is not what its digest says is not used, nor kept.
func TestWrongDigest(t *testing.T) {
	t.Parallel()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = w.Write([]byte("something else"))
	}))
	t.Cleanup(server.Close)
	cache := charts.NewCache(fetch.New(fetch.Options{Retries: -1}), 0)
	ref := artifact.Ref{URL: server.URL + "/chart.tgz", Digest: artifact.DigestOf("sha256", []byte("the chart"))}
	for range 2 {
		_, err := cache.Load(context.Background(), ref)
		if err == nil || !strings.Contains(err.Error(), "digest") {
			t.Errorf("the error is %v", err)
		}
	}
	if n := cache.Parsed(); n != 0 {
		t.Errorf("%d charts were parsed", n)
	}
}
