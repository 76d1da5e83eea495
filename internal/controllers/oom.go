package controllers

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/go-logr/logr"
)

// oomWatch stops the process before the kernel kills it, so that no release is left pending.
type oomWatch struct {
	threshold        uint8
	interval         time.Duration
	maximum, current string
}

// Where the limit and the memory in use are found: control groups of version 2, then 1.
var memoryFiles = []struct{ maximum, current string }{
	{"/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory.current"},
	{"/sys/fs/cgroup/memory/memory.limit_in_bytes", "/sys/fs/cgroup/memory/memory.usage_in_bytes"},
}

func oomWatchOf(v Values) (*oomWatch, error) {
	w := &oomWatch{
		threshold: v.Uint8("oom-watch-memory-threshold"), interval: v.Duration("oom-watch-interval"),
		maximum: v.String("oom-watch-max-memory-path"), current: v.String("oom-watch-current-memory-path"),
	}
	if w.threshold < 1 || w.threshold > 100 {
		return nil, fmt.Errorf("--oom-watch-memory-threshold=%d: want 1 to 100", w.threshold)
	}
	if w.interval < 50*time.Millisecond {
		return nil, fmt.Errorf("--oom-watch-interval=%s: want at least 50ms", w.interval)
	}
	return w, nil
}

// errNearOOM ends the process.
var errNearOOM = errors.New("memory usage is near the limit")

// run looks at the memory until the context ends. Without a limit there is nothing to watch.
func (w *oomWatch) run(ctx context.Context, log logr.Logger) error {
	limit, current := w.find()
	if limit == 0 {
		log.Info("there is no memory limit, so nothing is watched for the gate OOMWatch")
		<-ctx.Done()
		return nil
	}
	tick := time.NewTicker(w.interval)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		used, err := readBytes(current)
		if err != nil {
			log.Error(err, "the memory in use cannot be read")
			continue
		}
		if used >= limit/100*uint64(w.threshold) {
			log.Info(fmt.Sprintf("Memory usage is near OOM (%d/%d), shutting down", used, limit))
			return errNearOOM
		}
	}
}

// find returns the limit in bytes, 0 when there is none, and the file with the bytes in use.
func (w *oomWatch) find() (limit uint64, current string) {
	files := memoryFiles
	if w.maximum != "" || w.current != "" {
		files = []struct{ maximum, current string }{{w.maximum, w.current}}
	}
	for _, f := range files {
		if limit, err := readBytes(f.maximum); err == nil {
			return limit, f.current
		}
	}
	return 0, ""
}

// readBytes reads a number; "max" means that there is no limit.
func readBytes(path string) (uint64, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return 0, err
	}
	word := strings.TrimSpace(string(text))
	if word == "max" {
		return 0, nil
	}
	n, err := strconv.ParseUint(word, 10, 64)
	if err != nil {
		return 0, fmt.Errorf("%s holds %q, which is no number of bytes", path, word)
	}
	return n, nil
}
