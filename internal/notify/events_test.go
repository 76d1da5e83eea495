package notify

import (
	"context"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-logr/logr"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/rest"

	"github.com/gitops-toolkit/flux/api"
	"github.com/gitops-toolkit/flux/internal/kernel"
	"github.com/gitops-toolkit/flux/internal/notify/event"
	"github.com/gitops-toolkit/flux/internal/notify/intake"
)

// An event that was taken is in a queue before the queues are written, and later ones are not taken.
func TestTakenEventsAreQueuedBeforeTheEnd(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		queued, missing := 0, false
		h := intake.NewHandler(func(context.Context, *event.Event) error {
			time.Sleep(closeTime / 2) // the bubble's clock
			queued++
			return nil
		}, intake.NewLimiter(0), logr.Discard())
		post := func() int {
			w := httptest.NewRecorder()
			h.ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), http.MethodPost, "/", strings.NewReader("{}")))
			return w.Code
		}
		ctx, stop := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() {
			ended <- untilClosed(h, func(ctx context.Context) error {
				<-ctx.Done()
				missing = queued == 0
				return nil
			})(ctx)
		}()
		code := make(chan int, 1)
		go func() { code <- post() }()
		synctest.Wait()
		stop()
		if err := <-ended; err != nil || missing {
			t.Errorf("the queues are written before the event is in one: %v %v", missing, err)
		}
		if first, second := <-code, post(); first != http.StatusAccepted || second != http.StatusServiceUnavailable {
			t.Errorf("the last event %d, one after it %d", first, second)
		}
	})
}

// While the Alerts are not known no event is taken.
func TestNothingIsRoutedWithoutAlerts(t *testing.T) {
	t.Parallel()
	scheme := runtime.NewScheme()
	if err := corev1.AddToScheme(scheme); err != nil {
		t.Fatal(err)
	}
	if err := api.AddToScheme(scheme); err != nil {
		t.Fatal(err)
	}
	away := httptest.NewServer(http.NotFoundHandler())
	away.Close()
	process, err := kernel.NewProcess(&rest.Config{Host: away.URL}, kernel.ProcessOptions{
		Scheme: scheme, MetricsAddr: "0", HealthAddr: "0", Log: logr.Discard(),
	})
	if err != nil {
		t.Fatal(err)
	}
	r := newRouter(process.Controller("notification-controller", kernel.Defaults()), &outbox{log: logr.Discard()})
	if err := r.route(t.Context(), &event.Event{}); err == nil {
		t.Error("an event was taken although nobody knows who wants it")
	}
}
