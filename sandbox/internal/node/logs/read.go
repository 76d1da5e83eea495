package logs

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"time"
)

// Options choose what to read. The zero value reads nothing, because Tail is 0.
type Options struct {
	// Tail is how many of the last lines to read; negative means all.
	Tail int64
	// Since leaves out what is older; zero means nothing.
	Since time.Time
	// Limit is how many bytes to write at most; 0 means no limit.
	Limit int64
	// Timestamps puts the time before each line.
	Timestamps bool
	// Follow waits for more until the log ends.
	Follow bool
	// Stream is "stdout", "stderr" or empty for both.
	Stream string
}

// errLimit ends a read that has written enough.
var errLimit = errors.New("limit reached")

// Read writes the log to w until its end, or until ctx ends when following.
func (l *Log) Read(ctx context.Context, o Options, w io.Writer) error {
	r := &reader{log: l, options: o, out: w, left: o.Limit}
	defer r.close()
	err := r.run(ctx)
	if errors.Is(err, errLimit) {
		return nil
	}
	return err
}

type reader struct {
	log     *Log
	options Options
	out     io.Writer
	left    int64
	skip    int64 // lines of the past to leave out

	file    *os.File
	buffer  *bufio.Reader
	partial []byte // a line whose end is not there yet
	joined  bool   // the last line was a partial one: the next continues it
}

func (r *reader) run(ctx context.Context) error {
	files, pieces, err := r.log.handles()
	if err != nil {
		return err
	}
	changed, _, live := r.log.snapshot()
	if err := r.past(files); err != nil || !r.options.Follow {
		return err
	}
	for {
		if err := r.drain(); err != nil {
			return err
		}
		_, now, _ := r.log.snapshot()
		switch {
		case now != pieces:
			// What was written between the drain and the turn is still in the old piece.
			if err := r.drain(); err != nil {
				return err
			}
			pieces = now
			if err := r.reopen(); err != nil {
				return err
			}
		case !live:
			return nil
		default:
			select {
			case <-ctx.Done():
				return nil
			case <-changed:
			}
		}
		// Before the next drain, so that nothing written after it is missed.
		changed, _, live = r.log.snapshot()
	}
}

// past writes what is there already and leaves the last file open.
func (r *reader) past(files []*os.File) error {
	if r.options.Tail >= 0 {
		total, err := r.count()
		if err != nil {
			closeAll(files)
			return err
		}
		r.skip = max(0, total-r.options.Tail)
	}
	for i, file := range files {
		r.use(file)
		if err := r.drain(); err != nil {
			closeAll(files[i+1:])
			return err
		}
	}
	r.skip = 0
	return nil
}

// count counts the lines that the options would show.
func (r *reader) count() (int64, error) {
	files, _, err := r.log.handles()
	if err != nil {
		return 0, err
	}
	o := r.options
	o.Follow, o.Tail, o.Limit = false, -1, 0
	var lines lineCounter
	counter := &reader{log: r.log, options: o, out: &lines}
	defer counter.close()
	err = counter.past(files)
	return lines.n, err
}

type lineCounter struct{ n int64 }

func (c *lineCounter) Write(p []byte) (int, error) {
	c.n += int64(bytes.Count(p, []byte{'\n'}))
	return len(p), nil
}

func (r *reader) reopen() error {
	file, err := os.Open(r.log.path)
	if err != nil {
		return err
	}
	r.use(file)
	return nil
}

func (r *reader) use(file *os.File) {
	r.close()
	r.file, r.buffer, r.partial = file, bufio.NewReaderSize(file, 64<<10), nil
}

func (r *reader) close() {
	if r.file != nil {
		r.file.Close()
	}
}

// drain writes the whole lines up to the present end of the file.
func (r *reader) drain() error {
	if r.buffer == nil {
		return nil
	}
	for {
		data, err := r.buffer.ReadBytes('\n')
		if len(r.partial) > 0 {
			data = append(r.partial, data...)
			r.partial = nil
		}
		if err == io.EOF {
			r.partial = data
			return nil
		}
		if err != nil {
			return err
		}
		if err := r.emit(data); err != nil {
			return err
		}
	}
}

// emit writes one stored line as asked for.
func (r *reader) emit(line []byte) error {
	fields := bytes.SplitN(bytes.TrimSuffix(line, []byte{'\n'}), []byte{' '}, 4)
	if len(fields) < 4 {
		return nil // a line cut short by a full disk
	}
	stamp, stream, tag, text := fields[0], fields[1], fields[2], fields[3]
	if r.options.Stream != "" && r.options.Stream != string(stream) {
		return nil
	}
	if !r.options.Since.IsZero() {
		at, err := time.Parse(time.RFC3339Nano, string(stamp))
		if err != nil || at.Before(r.options.Since) {
			return nil
		}
	}
	whole := string(tag) != "P"
	if r.skip > 0 {
		if whole {
			r.skip--
		}
		return nil
	}
	var out []byte
	if r.options.Timestamps && !r.joined {
		out = append(append(out, stamp...), ' ')
	}
	out = append(out, text...)
	if whole {
		out = append(out, '\n')
	}
	r.joined = !whole
	return r.write(out)
}

func (r *reader) write(out []byte) error {
	if r.options.Limit <= 0 {
		_, err := r.out.Write(out)
		return err
	}
	if int64(len(out)) > r.left {
		out = out[:r.left]
	}
	r.left -= int64(len(out))
	if _, err := r.out.Write(out); err != nil {
		return err
	}
	if r.left <= 0 {
		return errLimit
	}
	return nil
}
