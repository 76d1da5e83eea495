// Package ui is how commands speak to a person: progress lines and prompts on stderr, tables
// and documents on stdout. Nothing here knows of clusters or kinds.
package ui

import (
	"fmt"
	"io"
	"sync"
)

// The glyphs that begin a progress line; scripts match on them.
const (
	glyphAction   = "►"
	glyphGenerate = "✚"
	glyphWaiting  = "◎"
	glyphSuccess  = "✔"
	glyphWarning  = "⚠️"
	glyphFailure  = "✗"
)

// Log writes progress lines. It may be used by several goroutines; lines never mix.
type Log struct {
	mu sync.Mutex
	w  io.Writer
}

// NewLog returns a Log that writes to w.
func NewLog(w io.Writer) *Log { return &Log{w: w} }

func (l *Log) line(glyph, format string, args ...any) {
	l.mu.Lock()
	defer l.mu.Unlock()
	fmt.Fprintf(l.w, "%s %s\n", glyph, fmt.Sprintf(format, args...))
}

// Actionf says what is being done to the cluster or a file.
func (l *Log) Actionf(format string, args ...any) { l.line(glyphAction, format, args...) }

// Generatef says what is being made.
func (l *Log) Generatef(format string, args ...any) { l.line(glyphGenerate, format, args...) }

// Waitingf says what is being waited for.
func (l *Log) Waitingf(format string, args ...any) { l.line(glyphWaiting, format, args...) }

// Successf says what has been achieved.
func (l *Log) Successf(format string, args ...any) { l.line(glyphSuccess, format, args...) }

// Warningf says what the person should know although the command goes on.
func (l *Log) Warningf(format string, args ...any) { l.line(glyphWarning, format, args...) }

// Failuref says what went wrong.
func (l *Log) Failuref(format string, args ...any) { l.line(glyphFailure, format, args...) }

// Rawf writes text as it is, without glyph and newline.
func (l *Log) Rawf(format string, args ...any) {
	l.mu.Lock()
	defer l.mu.Unlock()
	fmt.Fprintf(l.w, format, args...)
}
