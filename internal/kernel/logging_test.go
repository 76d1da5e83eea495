package kernel

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
)

// client-go tells as an error that it gave up reading an answer because the process stops.
func TestLogIsSilentAboutGivingUp(t *testing.T) {
	t.Parallel()
	var out strings.Builder
	log, err := NewLogger(&out, "json", "info")
	if err != nil {
		t.Fatal(err)
	}
	const message = "Unexpected error when reading response body"
	log.Error(fmt.Errorf("read: %w", context.Canceled), message)
	if out.Len() > 0 {
		t.Errorf("logged %s", out.String())
	}
	log.Error(errors.New("connection reset"), message)
	log.Error(context.Canceled, "something else")
	if lines := strings.Count(out.String(), "\n"); lines != 2 {
		t.Errorf("%d lines, want 2:\n%s", lines, out.String())
	}
}
