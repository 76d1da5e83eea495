package logs

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func newLog(t *testing.T) *Log {
	t.Helper()
	l, err := Create(filepath.Join(t.TempDir(), "c", "0.log"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return l
}

func read(t *testing.T, l *Log, o Options) string {
	t.Helper()
	var out bytes.Buffer
	if err := l.Read(t.Context(), o, &out); err != nil {
		t.Fatal(err)
	}
	return out.String()
}

func TestRead(t *testing.T) {
	t.Parallel()
	l := newLog(t)
	out, errs := l.Stream("stdout"), l.Stream("stderr")
	fmt.Fprint(out, "one\ntw")
	fmt.Fprint(errs, "oops\n")
	fmt.Fprint(out, "o\n\nlast")
	out.Close()

	tests := []struct {
		reason  string
		options Options
		want    string
	}{
		{"all of it, lines whole and in order", Options{Tail: -1}, "one\noops\ntwo\n\nlast\n"},
		{"the last lines", Options{Tail: 2}, "\nlast\n"},
		{"more than there is", Options{Tail: 100}, "one\noops\ntwo\n\nlast\n"},
		{"none", Options{Tail: 0}, ""},
		{"one stream", Options{Tail: -1, Stream: "stderr"}, "oops\n"},
		{"the last line of one stream", Options{Tail: 1, Stream: "stderr"}, "oops\n"},
		{"so many bytes", Options{Tail: -1, Limit: 5}, "one\no"},
		{"nothing is newer than tomorrow", Options{Tail: -1, Since: time.Now().Add(time.Hour)}, ""},
		{"everything is newer than yesterday", Options{Tail: 1, Since: time.Now().Add(-time.Hour)}, "last\n"},
	}
	for _, test := range tests {
		t.Run(test.reason, func(t *testing.T) {
			t.Parallel()
			if got := read(t, l, test.options); got != test.want {
				t.Errorf("got %q, want %q", got, test.want)
			}
		})
	}
}

func TestTimestamps(t *testing.T) {
	t.Parallel()
	l := newLog(t)
	fmt.Fprint(l.Stream("stdout"), "hello\n")
	stamp, text, _ := strings.Cut(read(t, l, Options{Tail: -1, Timestamps: true}), " ")
	if _, err := time.Parse(time.RFC3339Nano, stamp); err != nil || text != "hello\n" {
		t.Errorf("got %q %q: %v", stamp, text, err)
	}
}

func TestLongLineComesBackWhole(t *testing.T) {
	t.Parallel()
	l := newLog(t)
	long := strings.Repeat("x", 3*lineLimit)
	fmt.Fprintf(l.Stream("stdout"), "%s\nend\n", long)
	if got := read(t, l, Options{Tail: 2}); got != long+"\nend\n" {
		t.Errorf("got %d bytes, want %d", len(got), len(long)+5)
	}
}

// TestFollow reads while the log is written, over the turn to a new piece, and
// ends when the log does.
func TestFollow(t *testing.T) {
	t.Parallel()
	l := newLog(t)
	pipe, w := io.Pipe()
	done := make(chan error, 1)
	go func() {
		done <- l.Read(context.Background(), Options{Tail: -1, Follow: true}, w)
		w.Close()
	}()
	const lines = 1200
	go func() {
		s := l.Stream("stdout")
		for i := range lines {
			// Long enough that the log turns to a second piece.
			fmt.Fprintf(s, "%d %s\n", i, strings.Repeat("y", 40<<10))
		}
		l.Close()
	}()
	text, err := io.ReadAll(pipe)
	if err != nil {
		t.Fatal(err)
	}
	got := strings.Split(strings.TrimSpace(string(text)), "\n")
	if len(got) != lines {
		t.Fatalf("followed %d lines of %d", len(got), lines)
	}
	for i, line := range got {
		if number, _, _ := strings.Cut(line, " "); number != fmt.Sprint(i) {
			t.Fatalf("line %d is %q", i, number)
		}
	}
	if err := <-done; err != nil {
		t.Fatal(err)
	}
}

func TestFollowEndsWithItsContext(t *testing.T) {
	t.Parallel()
	l := newLog(t)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- l.Read(ctx, Options{Tail: -1, Follow: true}, io.Discard) }()
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
}
