package intake

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-logr/logr"

	"github.com/gitops-toolkit/flux/internal/notify/event"
)

func ask(ctx context.Context, h http.Handler) int {
	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequestWithContext(ctx, http.MethodPost, "/", strings.NewReader(byHand)))
	return w.Code
}

// A sender that has gone away takes no event with it: when it comes again it is told that the event was taken.
func TestRoutingOutlivesTheRequest(t *testing.T) {
	t.Parallel()
	h := NewHandler(func(ctx context.Context, _ *event.Event) error {
		if _, bounded := ctx.Deadline(); !bounded {
			t.Error("routing has no end")
		}
		return ctx.Err()
	}, NewLimiter(time.Minute), logr.Discard())
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	if code := ask(gone, h); code != http.StatusAccepted {
		t.Errorf("a sender that went away: %d", code)
	}
	if code := ask(t.Context(), h); code != http.StatusTooManyRequests {
		t.Errorf("the same event again: %d", code)
	}
}

// An event that could not be routed may come again.
func TestEventsThatCannotBeRoutedComeAgain(t *testing.T) {
	t.Parallel()
	failing := errors.New("no Alerts can be listed")
	h := NewHandler(func(context.Context, *event.Event) error { return failing }, NewLimiter(time.Minute), logr.Discard())
	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), http.MethodPost, "/", strings.NewReader(byHand)))
	if w.Code != http.StatusServiceUnavailable || len(w.Header()) != 0 {
		t.Errorf("%d %v", w.Code, w.Header())
	}
	failing = nil
	for _, want := range []int{http.StatusAccepted, http.StatusTooManyRequests} {
		if code := ask(t.Context(), h); code != want {
			t.Errorf("%d, want %d", code, want)
		}
	}
}

// After Close nothing is on its way any more, and nothing more is taken.
func TestClose(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		routed := false
		h := NewHandler(func(context.Context, *event.Event) error {
			time.Sleep(200 * time.Millisecond) // the bubble's clock
			routed = true
			return nil
		}, NewLimiter(0), logr.Discard())
		code := make(chan int, 1)
		go func() { code <- ask(t.Context(), h) }()
		synctest.Wait()
		h.Close(time.Second)
		if !routed {
			t.Error("an event is still on its way")
		}
		if got := <-code; got != http.StatusAccepted {
			t.Errorf("the last event: %d", got)
		}
		if got := ask(t.Context(), h); got != http.StatusServiceUnavailable {
			t.Errorf("an event after the end: %d", got)
		}
	})
}

// Nobody waits for routing that does not end.
func TestCloseIsBounded(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		end := make(chan struct{})
		h := NewHandler(func(context.Context, *event.Event) error { <-end; return nil }, NewLimiter(0), logr.Discard())
		go ask(t.Context(), h)
		synctest.Wait()
		began := time.Now()
		h.Close(time.Second)
		if took := time.Since(began); took != time.Second {
			t.Errorf("waited %s", took)
		}
		close(end)
	})
}
