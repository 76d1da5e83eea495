package dispatch

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"time"
)

const (
	// maxSpooled is how many items the spool keeps, the newest ones.
	maxSpooled = 10_000
	// maxLine is the longest item in the spool, in bytes.
	maxLine = 8 << 20
)

// writeSpool replaces the spool with items, one JSON object a line, in the order in which they came.
func writeSpool(path string, items []Item) error {
	if path == "" || len(items) == 0 {
		return nil
	}
	slices.SortStableFunc(items, func(a, b Item) int { return a.Received.Compare(b.Received) })
	items = items[max(0, len(items)-maxSpooled):]
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return fmt.Errorf("spool %d events: %w", len(items), err)
	}
	f, err := os.CreateTemp(filepath.Dir(path), ".spool-*")
	if err != nil {
		return fmt.Errorf("spool %d events: %w", len(items), err)
	}
	defer os.Remove(f.Name()) //nolint:errcheck // it is gone when all went well
	w := bufio.NewWriter(f)
	out := json.NewEncoder(w)
	for _, item := range items {
		if err = out.Encode(item); err != nil {
			break
		}
	}
	if err = errors.Join(err, w.Flush(), f.Sync(), f.Close()); err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		return fmt.Errorf("spool %d events: %w", len(items), err)
	}
	return nil
}

// readSpool takes what the spool holds and removes it. Lines that cannot be read are left out.
func readSpool(path string) ([]Item, error) {
	if path == "" {
		return nil, nil
	}
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read the spool: %w", err)
	}
	defer f.Close() //nolint:errcheck // read only
	var items []Item
	lines := bufio.NewScanner(f)
	lines.Buffer(nil, maxLine)
	for lines.Scan() && len(items) < maxSpooled {
		item := Item{}
		if json.Unmarshal(lines.Bytes(), &item) != nil || item.Event == nil || item.Received.After(time.Now()) {
			continue
		}
		items = append(items, item)
	}
	return items, os.Remove(path)
}
