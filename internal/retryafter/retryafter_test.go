package retryafter_test

import (
	"net/http"
	"testing"
	"time"

	"github.com/gitops-toolkit/flux/internal/retryafter"
)

func TestRead(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		text     string
		ok       bool
		min, max time.Duration
	}{
		{"17", true, 17 * time.Second, 17 * time.Second},
		{"0", true, 0, 0},
		{time.Now().Add(time.Hour).UTC().Format(http.TimeFormat), true, 59 * time.Minute, time.Hour},
		{"Wed, 21 Oct 2015 07:28:00 GMT", true, 0, 0},
		{"-1", false, 0, 0},
		{"99999999999999999999", false, 0, 0},
		{"soon", false, 0, 0},
		{"", false, 0, 0},
	} {
		got, ok := retryafter.Read(http.Header{"Retry-After": {tt.text}})
		if ok != tt.ok || got < tt.min || got > tt.max {
			t.Errorf("%q: %s, %v", tt.text, got, ok)
		}
	}
}
