package controllers

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/go-logr/logr"
)

func TestOOMWatch(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	limit, used := filepath.Join(dir, "max"), filepath.Join(dir, "current")
	write := func(path, text string) {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write(limit, "1000\n")
	write(used, "100\n")
	w := &oomWatch{threshold: 95, interval: time.Millisecond, maximum: limit, current: used}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- w.run(ctx, logr.Discard()) }()
	write(used, "960\n")
	if err := <-ended; !errors.Is(err, errNearOOM) {
		t.Errorf("ended with %v", err)
	}
	write(limit, "max\n")
	go func() { ended <- w.run(ctx, logr.Discard()) }()
	cancel()
	if err := <-ended; err != nil {
		t.Errorf("without a limit it ended with %v", err)
	}
}
