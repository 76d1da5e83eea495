package git

import (
	"io"
	"log"
	"net/http"
	"sync"
	"sync/atomic"
)

var quiet = log.New(io.Discard, "", 0)

// Request is what one request of a client cost. Over SSH a session is one request.
type Request struct {
	// Transport is "http", "https" or "ssh".
	Transport string
	// Repo is the repository's name without ".git".
	Repo string
	// Service is "git-upload-pack" (fetch) or "git-receive-pack" (push).
	Service string
	// Advertise is true for the listing of refs at the start of a conversation over HTTP.
	Advertise bool
	// Status is the HTTP status, or 200 for an SSH session whose command succeeded and 500 otherwise.
	Status int
	// Authorization is true if the client sent credentials.
	Authorization bool
	// Sent and Received are bytes of the body, or of the SSH channel: to and from the client.
	Sent, Received int64
}

type recorder struct {
	mu   sync.Mutex
	list []Request
}

func (r *recorder) add(req Request) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.list = append(r.list, req)
	if len(r.list) > 100_000 {
		r.list = r.list[len(r.list)-50_000:]
	}
}

// Requests returns what was asked since the start or the last ResetRequests, in order of completion.
// Of a long history the newest 50,000 at least are kept.
func (s *Server) Requests() []Request {
	s.record.mu.Lock()
	defer s.record.mu.Unlock()
	return append([]Request(nil), s.record.list...)
}

// ResetRequests forgets the requests so far.
func (s *Server) ResetRequests() {
	s.record.mu.Lock()
	defer s.record.mu.Unlock()
	s.record.list = nil
}

// Sent adds up the bytes sent to clients.
func Sent(requests []Request) (n int64) {
	for _, r := range requests {
		n += r.Sent
	}
	return n
}

type countingReader struct {
	io.Reader
	n atomic.Int64
}

func (c *countingReader) Read(p []byte) (int, error) {
	n, err := c.Reader.Read(p)
	c.n.Add(int64(n))
	return n, err
}

type countingWriter struct {
	io.Writer
	n atomic.Int64
}

func (c *countingWriter) Write(p []byte) (int, error) {
	n, err := c.Writer.Write(p)
	c.n.Add(int64(n))
	return n, err
}

type countingResponse struct {
	http.ResponseWriter
	status int
	n      int64
}

func (c *countingResponse) WriteHeader(status int) {
	if c.status == 0 {
		c.status = status
	}
	c.ResponseWriter.WriteHeader(status)
}

func (c *countingResponse) Write(p []byte) (int, error) {
	if c.status == 0 {
		c.status = http.StatusOK
	}
	n, err := c.ResponseWriter.Write(p)
	c.n += int64(n)
	return n, err
}

// Unwrap lets http.ResponseController reach the connection.
func (c *countingResponse) Unwrap() http.ResponseWriter { return c.ResponseWriter }
