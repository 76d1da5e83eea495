package dispatch

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"time"
)

const (
	// maxSpooled is how many items a spool keeps, the newest ones.
	maxSpooled = 10_000
	// maxLine is the longest item in a spool, in bytes.
	maxLine = 8 << 20
	// maxFile and maxPacked are how many bytes of items a file keeps, and a packed spool before it is packed.
	maxFile   = 64 << 20
	maxPacked = 16 << 20
)

// FileSpool is a spool in a file, one JSON object a line. Empty, it keeps nothing.
type FileSpool string

// Write implements Spool.
func (path FileSpool) Write(items []Item) error {
	if path == "" || len(items) == 0 {
		return nil
	}
	lines, err := newest(items, maxFile)
	if err != nil {
		return err
	}
	dir := filepath.Dir(string(path))
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("spool %d events: %w", len(items), err)
	}
	f, err := os.CreateTemp(dir, ".spool-*")
	if err != nil {
		return fmt.Errorf("spool %d events: %w", len(items), err)
	}
	defer os.Remove(f.Name()) //nolint:errcheck // it is gone when all went well
	w := bufio.NewWriter(f)
	err = writeLines(w, lines)
	if err = errors.Join(err, w.Flush(), f.Sync(), f.Close()); err == nil {
		err = os.Rename(f.Name(), string(path))
	}
	if err != nil {
		return fmt.Errorf("spool %d events: %w", len(items), err)
	}
	return nil
}

// Read implements Spool. Lines that cannot be read are left out.
func (path FileSpool) Read() ([]Item, error) {
	if path == "" {
		return nil, nil
	}
	f, err := os.Open(string(path))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read the spool: %w", err)
	}
	defer f.Close() //nolint:errcheck // read only
	return readLines(f), os.Remove(string(path))
}

// Encode packs the newest items into at most limit bytes, for a spool elsewhere, and tells how many did not fit.
func Encode(items []Item, limit int) (data []byte, dropped int, err error) {
	fit, err := newest(items, maxPacked)
	if err != nil {
		return nil, len(items), err
	}
	for {
		var out bytes.Buffer
		w := gzip.NewWriter(&out)
		if err := errors.Join(writeLines(w, fit), w.Close()); err != nil {
			return nil, len(items), fmt.Errorf("encode %d events: %w", len(items), err)
		}
		if out.Len() <= limit || len(fit) == 0 {
			return out.Bytes(), len(items) - len(fit), nil
		}
		// A little less than what is in proportion, and always less.
		fit = fit[len(fit)-min(len(fit)-1, len(fit)*limit/out.Len()*9/10):]
	}
}

// maxUnpacked bounds what a packed spool may hold, in bytes.
const maxUnpacked = 64 << 20 // earlier versions had no maxPacked

// Decode reads what Encode has packed.
func Decode(data []byte) ([]Item, error) {
	r, err := gzip.NewReader(bytes.NewReader(data))
	if err != nil {
		return nil, fmt.Errorf("read the spool: %w", err)
	}
	return readLines(io.LimitReader(r, maxUnpacked)), nil
}

// newest encodes the newest items, the oldest of them first, up to a sum of bytes. What cannot be read again is left
// out.
func newest(items []Item, most int) (lines [][]byte, err error) {
	sum := 0
	for i := len(items) - 1; i >= 0 && len(lines) < maxSpooled; i-- {
		line, err := json.Marshal(items[i])
		if err != nil {
			return nil, fmt.Errorf("encode %d events: %w", len(items), err)
		}
		if len(line) >= maxLine {
			continue
		}
		if sum += len(line) + 1; sum > most {
			break
		}
		lines = append(lines, append(line, '\n'))
	}
	slices.Reverse(lines)
	return lines, nil
}

func writeLines(w io.Writer, lines [][]byte) error {
	for _, line := range lines {
		if _, err := w.Write(line); err != nil {
			return err
		}
	}
	return nil
}

func readLines(r io.Reader) (items []Item) {
	lines := bufio.NewScanner(r)
	lines.Buffer(nil, maxLine)
	for lines.Scan() && len(items) < maxSpooled {
		item := Item{}
		if json.Unmarshal(lines.Bytes(), &item) != nil || item.Event == nil {
			continue
		}
		if now := time.Now(); item.Received.After(now) {
			item.Received = now // another machine's clock was ahead
		}
		items = append(items, item)
	}
	return items
}
