package action

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"time"
)

// keptLines is how many different lines a Log keeps.
const keptLines = 10

// Log is a slog.Handler that keeps the last lines of what Helm says, for the event of an action that fails. A line that
// repeats is kept as its first and its last. It is safe for concurrent use.
type Log struct {
	// Also, if not nil, is told every line.
	Also func(message string, attrs map[string]any)

	mu    sync.Mutex
	lines []line
}

type line struct {
	text        string
	first, last time.Time
	count       int
}

// Enabled takes all levels.
func (l *Log) Enabled(context.Context, slog.Level) bool { return true }

// Handle keeps a record.
func (l *Log) Handle(_ context.Context, r slog.Record) error {
	l.handle(r, nil)
	return nil
}

func (l *Log) handle(r slog.Record, with []slog.Attr) {
	attrs := map[string]any{}
	add := func(a slog.Attr) bool {
		v := a.Value.Resolve().Any()
		if err, ok := v.(error); ok {
			v = err.Error()
		}
		attrs[a.Key] = v
		return true
	}
	for _, a := range with {
		add(a)
	}
	r.Attrs(add)
	text, err := json.Marshal(attrs)
	if err != nil {
		text = []byte("{}")
	}
	l.keep(r.Message+": "+string(text), r.Time)
	if l.Also != nil {
		l.Also(r.Message, attrs)
	}
}

// Add keeps a line of our own.
func (l *Log) Add(message string) {
	l.keep(message+": {}", time.Now())
	if l.Also != nil {
		l.Also(message, nil)
	}
}

func (l *Log) keep(text string, at time.Time) {
	if at.IsZero() {
		at = time.Now()
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if n := len(l.lines); n > 0 && l.lines[n-1].text == text {
		l.lines[n-1].last, l.lines[n-1].count = at, l.lines[n-1].count+1
		return
	}
	l.lines = append(l.lines, line{text: text, first: at, last: at, count: 1})
	if len(l.lines) > keptLines {
		l.lines = l.lines[len(l.lines)-keptLines:]
	}
}

// Reset forgets all lines.
func (l *Log) Reset() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.lines = nil
}

// String returns the lines, oldest first.
func (l *Log) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	var out []string
	for _, one := range l.lines {
		out = append(out, stamped(one.first, one.text))
		if one.count > 2 {
			out = append(out, fmt.Sprintf("(%d duplicate lines omitted)", one.count-2))
		}
		if one.count > 1 {
			out = append(out, stamped(one.last, one.text))
		}
	}
	return strings.Join(out, "\n")
}

func stamped(at time.Time, text string) string {
	return at.UTC().Format(time.RFC3339Nano) + ": " + text
}

// WithAttrs returns a handler that adds attributes.
func (l *Log) WithAttrs(attrs []slog.Attr) slog.Handler { return &logWith{l, attrs} }

// WithGroup returns the handler: groups do not matter here.
func (l *Log) WithGroup(string) slog.Handler { return l }

type logWith struct {
	*Log
	attrs []slog.Attr
}

func (l *logWith) Handle(_ context.Context, r slog.Record) error {
	l.handle(r, l.attrs)
	return nil
}

func (l *logWith) WithAttrs(attrs []slog.Attr) slog.Handler {
	return &logWith{l.Log, append(append([]slog.Attr(nil), l.attrs...), attrs...)}
}

func (l *logWith) WithGroup(string) slog.Handler { return l }
