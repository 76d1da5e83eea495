package kernel_test

import (
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"

	"github.com/gitops-toolkit/flux/api/meta"
	"github.com/gitops-toolkit/flux/internal/kernel/kerneltest"
	"github.com/gitops-toolkit/flux/internal/testenv"
)

// For a moment the API server answers "not found" for what is there, while it changes how it serves a definition.
func TestVerdictOutlivesAnswerOfNotFound(t *testing.T) {
	t.Parallel()
	lab := kerneltest.NewLab(t)
	var refused atomic.Int32
	lab.Config = rest.CopyConfig(lab.Config)
	lab.Config.Wrap(func(next http.RoundTripper) http.RoundTripper {
		return testenv.RoundTrip(func(r *http.Request) (*http.Response, error) {
			if r.Method == http.MethodPatch && strings.HasSuffix(r.URL.Path, "/status") && refused.Add(1) <= 2 {
				return &http.Response{
					StatusCode: http.StatusNotFound, Header: http.Header{"Content-Type": {"text/plain"}},
					Body: io.NopCloser(strings.NewReader("404 page not found\n")), Request: r,
				}, nil
			}
			return next.RoundTrip(r)
		})
	})
	lab.Start(&kerneltest.Script{})
	lab.Create("a")
	lab.Ready("a", metav1.ConditionTrue, meta.SucceededReason)
	if n := refused.Load(); n < 3 {
		t.Errorf("%d writes of the status, want the two that were refused and one more", n)
	}
}
