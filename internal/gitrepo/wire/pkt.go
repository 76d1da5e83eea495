// Package wire speaks Git's fetch protocol, versions 0 and 2, over any transport.
//
// A Conn carries bytes: an advertisement, then requests and their answers. This package knows what the
// bytes mean: Discover reads what the server can do (and, in version 0, its refs), ListRefs lists refs
// by prefix, Fetch asks for commits and returns the pack. All that a fetch needs is said in one request
// (wants, haves, shallows, depth, done), so there is one round trip whatever the transport.
//
// The formats are those of Git's gitprotocol-pack, gitprotocol-v2 and gitprotocol-capabilities pages.
package wire

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"
)

var (
	// ErrProtocol is wrapped by errors that mean that the answer is not Git's protocol.
	ErrProtocol = errors.New("not a valid answer of a Git server")
	// ErrRemote is wrapped by errors whose text the server sent.
	ErrRemote = errors.New("the remote says")
)

type pktKind int

const (
	pktData pktKind = iota
	pktFlush
	pktDelim
	pktEnd
)

// maxPkt is the longest packet line that the protocol allows.
const maxPkt = 65520

// pktReader reads packet lines.
type pktReader struct {
	r   *bufio.Reader
	buf [maxPkt]byte
}

func newPktReader(r io.Reader) *pktReader { return &pktReader{r: bufio.NewReaderSize(r, 8<<10)} }

// next returns the next packet; its payload is valid until the call after.
func (p *pktReader) next() (pktKind, []byte, error) {
	var head [4]byte
	if _, err := io.ReadFull(p.r, head[:]); err != nil {
		if errors.Is(err, io.ErrUnexpectedEOF) {
			err = fmt.Errorf("%w: %w", err, ErrProtocol)
		}
		return 0, nil, err
	}
	n := 0
	for _, c := range head {
		d := bytes.IndexByte([]byte("0123456789abcdef"), lower(c))
		if d < 0 {
			return 0, nil, fmt.Errorf("packet length %q: %w", head, ErrProtocol)
		}
		n = n<<4 | d
	}
	switch {
	case n == 0:
		return pktFlush, nil, nil
	case n == 1:
		return pktDelim, nil, nil
	case n == 2:
		return pktEnd, nil, nil
	case n < 4 || n > maxPkt:
		return 0, nil, fmt.Errorf("packet of %d bytes: %w", n, ErrProtocol)
	}
	payload := p.buf[:n-4]
	if _, err := io.ReadFull(p.r, payload); err != nil {
		return 0, nil, fmt.Errorf("packet: %w: %w", err, ErrProtocol)
	}
	return pktData, payload, nil
}

// line is next for text: without the final newline, and with the server's own error as an error.
func (p *pktReader) line() (pktKind, string, error) {
	kind, data, err := p.next()
	if err != nil {
		return kind, "", err
	}
	text := string(bytes.TrimSuffix(data, []byte("\n")))
	if msg, ok := bytes.CutPrefix([]byte(text), []byte("ERR ")); ok {
		return kind, "", remoteError(msg)
	}
	return kind, text, nil
}

func lower(c byte) byte {
	if c >= 'A' && c <= 'F' {
		return c + 'a' - 'A'
	}
	return c
}

// maxRemoteText bounds what we repeat of a server's message.
const maxRemoteText = 500

func remoteError(msg []byte) error {
	return fmt.Errorf("%w: %s", ErrRemote, remoteText(string(msg)))
}

// remoteText makes a server's message fit for one line of ours.
func remoteText(msg string) string {
	msg = strings.TrimSpace(msg)
	if len(msg) > maxRemoteText {
		msg = msg[:maxRemoteText]
	}
	return strings.Map(func(r rune) rune {
		if r < ' ' {
			return ' '
		}
		return r
	}, strings.ToValidUTF8(msg, "?"))
}

// request builds a request of packet lines.
type request struct{ bytes.Buffer }

func (r *request) line(format string, args ...any) {
	text := fmt.Sprintf(format, args...)
	fmt.Fprintf(&r.Buffer, "%04x%s\n", len(text)+5, text)
}

func (r *request) flush() { r.WriteString("0000") }
func (r *request) delim() { r.WriteString("0001") }
