package retryafter

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"
)

func TestTransport(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		status int
		after  string
		want   time.Duration
	}{
		{http.StatusTooManyRequests, "120", 2 * time.Minute},
		{http.StatusServiceUnavailable, "120", 2 * time.Minute},
		{http.StatusTooManyRequests, "1", 0},
		{http.StatusTooManyRequests, "", 0},
		{http.StatusInternalServerError, "120", 0},
		{http.StatusOK, "120", 0},
	} {
		asked := 0
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			asked++
			w.Header().Set("Retry-After", tc.after)
			w.WriteHeader(tc.status)
		}))
		client := &http.Client{Transport: &Transport{Next: http.DefaultTransport}}
		resp, err := client.Get(server.URL)
		var e *Error
		switch {
		case tc.want == 0 && (err != nil || resp.StatusCode != tc.status):
			t.Errorf("%d %s: %v", tc.status, tc.after, err)
		case tc.want != 0 && (!errors.As(err, &e) || e.After != tc.want):
			t.Errorf("%d %s: %v", tc.status, tc.after, err)
		}
		if err == nil {
			_ = resp.Body.Close()
		} else if _, err := client.Get(server.URL); !errors.As(err, &e) || asked != 1 {
			t.Errorf("%d %s: asked %d times, %v", tc.status, tc.after, asked, err)
		}
		server.Close()
	}
}
