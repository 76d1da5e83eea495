// Package logs keeps what containers print, in the container runtimes' own line
// format (time, stream, a tag for partial lines, text), and reads it back as
// kubectl asks: tail, since, timestamps, follow.
//
// Writer and readers live in one process, so a follower waits for a signal and
// never polls. A log holds the last two pieces of at most pieceSize bytes.
package logs

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"time"
)

const (
	pieceSize = 32 << 20
	lineLimit = 64 << 10
	timeForm  = "2006-01-02T15:04:05.000000000Z07:00"
)

// Log is the output of one run of one container.
type Log struct {
	path string

	mu      sync.Mutex
	file    *os.File // nil when nobody writes any more
	size    int64
	pieces  int           // how often a piece was filled
	changed chan struct{} // closed at the next write
}

// Create starts a log, adding to what the file has.
func Create(path string) (*Log, error) {
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return nil, err
	}
	l := &Log{path: path, changed: make(chan struct{})}
	return l, l.open()
}

// Open returns a log that is written no more. The error is fs.ErrNotExist when
// there is none.
func Open(path string) (*Log, error) {
	if _, err := os.Stat(path); err != nil {
		return nil, err
	}
	return &Log{path: path, changed: make(chan struct{})}, nil
}

func (l *Log) open() error {
	file, err := os.OpenFile(l.path, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	info, err := file.Stat()
	if err != nil {
		file.Close()
		return err
	}
	l.file, l.size = file, info.Size()
	return nil
}

// Close ends the log; followers read the rest and leave.
func (l *Log) Close() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.file == nil {
		return nil
	}
	err := l.file.Close()
	l.file = nil
	close(l.changed)
	return err
}

// Stream returns a writer for "stdout" or "stderr". Close writes what is left
// of an unfinished line.
func (l *Log) Stream(name string) io.WriteCloser { return &stream{log: l, name: name} }

type stream struct {
	log  *Log
	name string
	rest []byte
}

// Write never fails: a full disk must not stop the container.
func (s *stream) Write(p []byte) (int, error) {
	s.rest = append(s.rest, p...)
	for {
		end := bytes.IndexByte(s.rest, '\n')
		switch {
		case end >= 0 && end <= lineLimit:
			s.log.line(s.name, "F", s.rest[:end])
			s.rest = s.rest[end+1:]
		case len(s.rest) > lineLimit:
			s.log.line(s.name, "P", s.rest[:lineLimit])
			s.rest = s.rest[lineLimit:]
		default:
			return len(p), nil
		}
	}
}

func (s *stream) Close() error {
	if len(s.rest) > 0 {
		s.log.line(s.name, "F", s.rest)
		s.rest = nil
	}
	return nil
}

func (l *Log) line(stream, tag string, text []byte) {
	line := fmt.Appendf(nil, "%s %s %s %s\n", time.Now().UTC().Format(timeForm), stream, tag, text)
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.file == nil {
		return
	}
	if l.size+int64(len(line)) > pieceSize {
		l.turn()
	}
	if l.file == nil {
		return
	}
	n, _ := l.file.Write(line)
	l.size += int64(n)
	close(l.changed)
	l.changed = make(chan struct{})
}

// turn puts the full piece aside and starts the next.
func (l *Log) turn() {
	l.file.Close()
	l.file = nil
	if err := os.Rename(l.path, l.path+".old"); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return
	}
	if l.open() == nil {
		l.pieces++
	}
}

// handles opens all pieces at one moment, oldest first.
func (l *Log) handles() (files []*os.File, pieces int, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, path := range []string{l.path + ".old", l.path} {
		file, err := os.Open(path)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			closeAll(files)
			return nil, 0, err
		}
		files = append(files, file)
	}
	return files, l.pieces, nil
}

func closeAll(files []*os.File) {
	for _, file := range files {
		file.Close()
	}
}

// snapshot returns what a reader needs to know before it reads on.
func (l *Log) snapshot() (changed <-chan struct{}, pieces int, live bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.changed, l.pieces, l.file != nil
}
