package wire

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/go-git/go-git/v5/plumbing"
)

// FetchRequest says what to ask for, and what not to send.
type FetchRequest struct {
	// Want are the commits or tags to get. At least one.
	Want []Hash
	// Have are commits whose trees we hold completely.
	Have []Hash
	// Shallow are commits that we hold without their parents.
	Shallow []Hash
	// Depth is the number of commits of history; 0 is all of it.
	Depth int
	// Filter leaves objects out, in the syntax of git rev-list --filter; see Server.Filter.
	Filter string
}

// FetchResponse is the answer. Pack must be read to its end and closed.
type FetchResponse struct {
	// Shallow and Unshallow are commits whose parents were left out, or sent after all.
	Shallow, Unshallow []Hash
	// Pack is the pack, thin if Have was not empty.
	Pack io.ReadCloser
}

// ErrCannot is wrapped by errors that mean that the server lacks a capability that the request needs.
var ErrCannot = errors.New("the server cannot do this")

// Fetch asks for a pack. In version 0 over a stateful transport, c must be the connection of Discover.
func (s *Server) Fetch(ctx context.Context, c Conn, f FetchRequest) (*FetchResponse, error) {
	if f.Depth > 0 && !s.Shallow() {
		return nil, fmt.Errorf("leave out history: %w", ErrCannot)
	}
	if f.Filter != "" && !s.Filter() {
		return nil, fmt.Errorf("leave out objects: %w", ErrCannot)
	}
	encode := s.encode0
	if s.Version == 2 {
		encode = s.encode2
	}
	req, err := encode(f)
	if err != nil {
		return nil, err
	}
	body, err := c.Exchange(ctx, req)
	if err != nil {
		return nil, err
	}
	decode := decode0
	if s.Version == 2 {
		decode = decode2
	}
	resp, err := decode(newPktReader(body))
	if err != nil {
		_ = body.Close()
		return nil, unexpectedEnd(err)
	}
	resp.Pack.(*packReader).body = body
	return resp, nil
}

func (s *Server) encode2(f FetchRequest) ([]byte, error) {
	req := &request{}
	req.line("command=fetch")
	s.introduce(req)
	req.delim()
	req.line("ofs-delta")
	req.line("no-progress")
	if len(f.Have) > 0 {
		req.line("thin-pack")
	}
	f.body(req)
	req.line("done")
	req.flush()
	return req.Bytes(), nil
}

func (f FetchRequest) body(req *request) {
	for _, h := range f.Want {
		req.line("want %s", h)
	}
	for _, h := range f.Shallow {
		req.line("shallow %s", h)
	}
	if f.Depth > 0 {
		req.line("deepen %d", f.Depth)
	}
	if f.Filter != "" {
		req.line("filter %s", f.Filter)
	}
	for _, h := range f.Have {
		req.line("have %s", h)
	}
}

func (s *Server) encode0(f FetchRequest) ([]byte, error) {
	if !s.supports("", "side-band-64k") {
		return nil, fmt.Errorf("send the pack in a side band: %w", ErrCannot)
	}
	caps := []string{"side-band-64k", "agent=" + agent}
	for name, wanted := range map[string]bool{
		"ofs-delta": true, "no-progress": true, "multi_ack_detailed": true,
		"thin-pack": len(f.Have) > 0, "shallow": f.Depth > 0 || len(f.Shallow) > 0, "filter": f.Filter != "",
	} {
		if wanted && s.supports("", name) {
			caps = append(caps, name)
		}
	}
	req := &request{}
	for i, h := range f.Want {
		if i == 0 {
			req.line("want %s %s", h, strings.Join(caps, " "))
			continue
		}
		req.line("want %s", h)
	}
	rest := f
	rest.Want, rest.Have = nil, nil
	rest.body(req)
	req.flush()
	FetchRequest{Have: f.Have}.body(req)
	req.line("done")
	return req.Bytes(), nil
}

// decode2 reads the sections before the pack.
func decode2(p *pktReader) (*FetchResponse, error) {
	resp := &FetchResponse{}
	for {
		kind, section, err := p.line()
		if err != nil {
			return nil, err
		}
		if kind != pktData {
			return nil, fmt.Errorf("no pack in the answer: %w", ErrProtocol)
		}
		if section == "packfile" {
			resp.Pack = &packReader{p: p}
			return resp, nil
		}
		for {
			kind, line, err := p.line()
			if err != nil {
				return nil, err
			}
			if kind != pktData {
				break
			}
			if section == "shallow-info" {
				if err := resp.addShallow(line); err != nil {
					return nil, err
				}
			}
		}
	}
}

func (r *FetchResponse) addShallow(line string) error {
	verb, hex, _ := strings.Cut(line, " ")
	if !plumbing.IsHash(hex) {
		return fmt.Errorf("shallow %.100q: %w", line, ErrProtocol)
	}
	if verb == "unshallow" {
		r.Unshallow = append(r.Unshallow, plumbing.NewHash(hex))
		return nil
	}
	r.Shallow = append(r.Shallow, plumbing.NewHash(hex))
	return nil
}

// decode0 reads shallow lines and acknowledgements up to the first packet of the pack, which begins
// with the number of a side band.
func decode0(p *pktReader) (*FetchResponse, error) {
	resp := &FetchResponse{}
	for {
		kind, data, err := p.next()
		if err != nil {
			return nil, err
		}
		if kind != pktData || len(data) == 0 {
			continue
		}
		if data[0] <= 3 {
			resp.Pack = &packReader{p: p, pending: data}
			return resp, nil
		}
		line := strings.TrimSuffix(string(data), "\n")
		switch verb, rest, _ := strings.Cut(line, " "); verb {
		case "shallow", "unshallow":
			if err := resp.addShallow(line); err != nil {
				return nil, err
			}
		case "ACK", "NAK":
		case "ERR":
			return nil, remoteError([]byte(rest))
		default:
			return nil, fmt.Errorf("answer %.100q: %w", line, ErrProtocol)
		}
	}
}

// packReader takes the pack out of its side band.
type packReader struct {
	p       *pktReader
	body    io.Closer
	pending []byte // a packet with its band
	rest    []byte // of the pack's bytes in the packet at hand
	done    bool
	notes   []byte // the beginning of what the server told on the side
}

// said is what the server told on the side, in one line.
func (r *packReader) said() string {
	return remoteText(strings.Join(strings.Fields(string(r.notes)), " "))
}

func (r *packReader) Read(b []byte) (int, error) {
	for len(r.rest) == 0 {
		if r.done {
			return 0, io.EOF
		}
		if err := r.advance(); err != nil {
			return 0, err
		}
	}
	n := copy(b, r.rest)
	r.rest = r.rest[n:]
	return n, nil
}

func (r *packReader) advance() error {
	kind, data := pktData, r.pending
	if r.pending = nil; data == nil {
		var err error
		if kind, data, err = r.p.next(); err != nil {
			return unexpectedEnd(err)
		}
	}
	if kind != pktData {
		r.done = true
		return nil
	}
	if len(data) == 0 {
		return nil
	}
	switch data[0] {
	case 1:
		r.rest = data[1:]
	case 2: // Progress, which we did not ask for, and what the hooks of a push write.
		r.notes = append(r.notes, data[1:][:min(len(data)-1, maxRemoteText-len(r.notes))]...)
	case 3:
		return remoteError(data[1:])
	default:
		return fmt.Errorf("side band %d: %w", data[0], ErrProtocol)
	}
	return nil
}

func (r *packReader) Close() error { return r.body.Close() }
