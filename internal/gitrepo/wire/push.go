package wire

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/go-git/go-git/v5/plumbing"
)

// Command moves one ref; a zero hash stands for no ref.
type Command struct {
	Ref      string
	Old, New Hash
}

// ErrPushOptions is returned for push options that the server does not take.
var ErrPushOptions = fmt.Errorf("push options: %w", ErrCannot)

// RefusedError is what the server says of a ref that it did not move. Said is what its hooks wrote, if anything.
type RefusedError struct{ Ref, Reason, Said string }

func (e *RefusedError) Error() string {
	text := fmt.Sprintf("the remote refused to update %s: %s", e.Ref, remoteText(e.Reason))
	if e.Said != "" {
		text += fmt.Sprintf(" (it says: %s)", e.Said)
	}
	return text
}

// Receives tells whether this is a server for pushes. A login that may only read can lead to one for fetches, whatever
// was asked for.
func (s *Server) Receives() bool { return s.Version == 0 && !s.supports("", "multi_ack") }

// Refs are those of the advertisement of a server of version 0, as all are that receive.
func (s *Server) Refs() []Ref { return s.refs }

// Push sends a pack and moves refs, all of them or none if the server can. Options are for its hooks.
func (s *Server) Push(ctx context.Context, c Conn, commands []Command, options []string, pack []byte) error {
	caps := []string{"agent=" + agent}
	for _, name := range []string{"report-status", "side-band-64k", "atomic", "ofs-delta", "quiet"} {
		if s.supports("", name) {
			caps = append(caps, name)
		}
	}
	if len(options) > 0 {
		if !s.supports("", "push-options") {
			return ErrPushOptions
		}
		caps = append(caps, "push-options")
	}
	req := &request{}
	for i, cmd := range commands {
		line := fmt.Sprintf("%s %s %s", cmd.Old, cmd.New, cmd.Ref)
		if i == 0 {
			line += "\x00 " + strings.Join(caps, " ")
		}
		req.line("%s", line)
	}
	req.flush()
	if len(options) > 0 {
		for _, o := range options {
			req.line("%s", o)
		}
		req.flush()
	}
	req.Write(pack)
	body, err := c.Exchange(ctx, req.Bytes())
	if err != nil {
		return err
	}
	defer body.Close()
	if !s.supports("", "report-status") {
		_, err := io.Copy(io.Discard, io.LimitReader(body, maxPkt))
		return err
	}
	report, bands := newPktReader(body), (*packReader)(nil)
	if s.supports("", "side-band-64k") {
		bands = &packReader{p: report, body: body}
		report = newPktReader(bands)
	}
	err = readReport(report, commands)
	if refused := (*RefusedError)(nil); bands != nil && errors.As(err, &refused) {
		refused.Said = bands.said()
	}
	return err
}

// readReport reads what became of the commands.
func readReport(p *pktReader, commands []Command) error {
	moved := map[string]bool{}
	for {
		kind, line, err := p.line()
		if err != nil {
			return unexpectedEnd(err)
		}
		if kind != pktData {
			break
		}
		verb, rest, _ := strings.Cut(line, " ")
		ref, reason, _ := strings.Cut(rest, " ")
		switch {
		case verb == "unpack" && rest != "ok":
			return fmt.Errorf("the remote could not unpack: %w", remoteError([]byte(rest)))
		case verb == "ok":
			moved[ref] = true
		case verb == "ng":
			return &RefusedError{Ref: ref, Reason: reason}
		}
	}
	for _, c := range commands {
		if !moved[c.Ref] {
			return fmt.Errorf("no word on %s: %w", c.Ref, ErrProtocol)
		}
	}
	return nil
}

// Current is where a ref is now, zero if it is not.
func Current(refs []Ref, name string) Hash {
	for _, r := range refs {
		if r.Name == name {
			return r.Hash
		}
	}
	return plumbing.ZeroHash
}
