package wire

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/go-git/go-git/v5/plumbing"
)

// Hash is the SHA-1 name of an object.
type Hash = plumbing.Hash

// Conn carries a conversation with git-upload-pack.
type Conn interface {
	// Advertise opens the conversation and returns what the server says first.
	Advertise(ctx context.Context) (io.ReadCloser, error)
	// Exchange sends a request and returns the answer.
	Exchange(ctx context.Context, request []byte) (io.ReadCloser, error)
}

// Ref is a name and what it points at.
type Ref struct {
	Name string
	Hash Hash
	// Peeled is the object that an annotated tag points at, and zero for all else.
	Peeled Hash
	// Target is the ref that a symbolic ref (HEAD) points at.
	Target string
}

// Commit is the hash of the commit that the ref means, if the server told which.
func (r Ref) Commit() Hash {
	if r.Peeled != plumbing.ZeroHash {
		return r.Peeled
	}
	return r.Hash
}

// Server is what Discover found out. It holds no connection and may be kept for the next conversation
// over a stateless transport.
type Server struct {
	// Version is 0 or 2.
	Version int
	caps    map[string][]string
	refs    []Ref // version 0 lists them all at once
}

// maxRefs bounds a listing.
const maxRefs = 2 << 20

// agent is how we introduce ourselves.
const agent = "gitops-toolkit-flux"

// Discover opens the conversation.
func Discover(ctx context.Context, c Conn) (*Server, error) {
	body, err := c.Advertise(ctx)
	if err != nil {
		return nil, err
	}
	defer body.Close()
	p := newPktReader(body)
	kind, first, err := p.line()
	if err == nil && kind == pktData && strings.HasPrefix(first, "# service=") {
		// Smart HTTP in version 0 names the service first.
		if _, _, err = p.line(); err == nil {
			kind, first, err = p.line()
		}
	}
	if err != nil {
		return nil, unexpectedEnd(err)
	}
	if kind == pktData && first == "version 2" {
		return discover2(p)
	}
	return discover0(p, kind, first)
}

func unexpectedEnd(err error) error {
	if errors.Is(err, io.EOF) {
		return fmt.Errorf("the answer ends early: %w", ErrProtocol)
	}
	return err
}

func discover2(p *pktReader) (*Server, error) {
	s := &Server{Version: 2, caps: map[string][]string{}}
	for {
		kind, line, err := p.line()
		if err != nil {
			return nil, unexpectedEnd(err)
		}
		if kind != pktData {
			return s, s.checkFormat()
		}
		name, value, _ := strings.Cut(line, "=")
		s.caps[name] = strings.Fields(value)
	}
}

func discover0(p *pktReader, kind pktKind, line string) (*Server, error) {
	s := &Server{caps: map[string][]string{}}
	for first := true; kind == pktData; first = false {
		if line == "version 1" {
			first = true
		} else if err := s.addRef0(line, first); err != nil {
			return nil, err
		}
		var err error
		if kind, line, err = p.line(); err != nil {
			return nil, unexpectedEnd(err)
		}
	}
	for _, pair := range s.caps["symref"] {
		name, target, _ := strings.Cut(pair, ":")
		i := slices.IndexFunc(s.refs, func(r Ref) bool { return r.Name == name })
		if i >= 0 {
			s.refs[i].Target = target
		}
	}
	return s, s.checkFormat()
}

func (s *Server) addRef0(line string, first bool) error {
	if first {
		var caps string
		line, caps, _ = strings.Cut(line, "\x00")
		for _, c := range strings.Fields(caps) {
			name, value, _ := strings.Cut(c, "=")
			s.caps[name] = append(s.caps[name], value)
		}
		if err := s.checkFormat(); err != nil {
			return err
		}
	}
	hex, name, ok := strings.Cut(line, " ")
	if hex == "shallow" {
		return nil
	}
	if !ok || !plumbing.IsHash(hex) {
		return fmt.Errorf("ref %.100q: %w", line, ErrProtocol)
	}
	if name == "capabilities^{}" { // An empty repository.
		return nil
	}
	if tag, peeled := strings.CutSuffix(name, "^{}"); peeled {
		if n := len(s.refs); n > 0 && s.refs[n-1].Name == tag {
			s.refs[n-1].Peeled = plumbing.NewHash(hex)
		}
		return nil
	}
	if len(s.refs) >= maxRefs {
		return fmt.Errorf("more than %d refs: %w", maxRefs, ErrProtocol)
	}
	s.refs = append(s.refs, Ref{Name: name, Hash: plumbing.NewHash(hex)})
	return nil
}

// ErrObjectFormat is wrapped by errors about repositories whose objects have names of another kind than SHA-1.
var ErrObjectFormat = errors.New("unsupported object format")

func (s *Server) checkFormat() error {
	if f := s.caps["object-format"]; len(f) > 0 && !slices.Contains(f, "sha1") {
		return fmt.Errorf("%w: the repository names its objects with %.20s, and only sha1 is supported", ErrObjectFormat, f[0])
	}
	return nil
}

// supports tells whether version 0 has the capability, or a version 2 command the feature.
func (s *Server) supports(command, feature string) bool {
	if s.Version == 2 {
		return slices.Contains(s.caps[command], feature)
	}
	_, ok := s.caps[feature]
	return ok
}

// AnyWant tells whether commits may be asked for by hash though no ref points at them.
func (s *Server) AnyWant() bool {
	return s.Version == 2 || s.supports("", "allow-any-sha1-in-want") || s.supports("", "allow-reachable-sha1-in-want")
}

// Filter tells whether objects can be left out of a fetch.
func (s *Server) Filter() bool { return s.supports("fetch", "filter") }

// Partial tells whether trees can be fetched without their files, and any file later by its hash.
func (s *Server) Partial() bool { return s.Version == 2 && s.Filter() && s.Shallow() }

// Shallow tells whether history can be left out of a fetch.
func (s *Server) Shallow() bool { return s.supports("fetch", "shallow") }

// ListRefs lists the refs whose name begins with one of the prefixes, HEAD included if asked for. In an
// empty repository HEAD may be there with a target but without a hash.
func (s *Server) ListRefs(ctx context.Context, c Conn, prefixes []string) ([]Ref, error) {
	if s.Version == 0 {
		return filterRefs(s.refs, prefixes), nil
	}
	req := &request{}
	req.line("command=ls-refs")
	s.introduce(req)
	req.delim()
	req.line("peel")
	req.line("symrefs")
	if s.supports("ls-refs", "unborn") {
		req.line("unborn")
	}
	for _, prefix := range prefixes {
		req.line("ref-prefix %s", prefix)
	}
	req.flush()
	body, err := c.Exchange(ctx, req.Bytes())
	if err != nil {
		return nil, err
	}
	defer body.Close()
	refs, err := readRefs2(newPktReader(body))
	return filterRefs(refs, prefixes), err // The prefixes are only a hint to the server.
}

func (s *Server) introduce(req *request) {
	if _, ok := s.caps["agent"]; ok {
		req.line("agent=%s", agent)
	}
	if _, ok := s.caps["object-format"]; ok {
		req.line("object-format=sha1")
	}
}

func readRefs2(p *pktReader) (refs []Ref, err error) {
	for {
		kind, line, err := p.line()
		if err != nil {
			return nil, unexpectedEnd(err)
		}
		if kind != pktData {
			return refs, nil
		}
		fields := strings.Split(line, " ")
		if len(fields) < 2 || fields[0] != "unborn" && !plumbing.IsHash(fields[0]) || len(refs) >= maxRefs {
			return nil, fmt.Errorf("ref %.100q: %w", line, ErrProtocol)
		}
		ref := Ref{Name: fields[1]}
		if fields[0] != "unborn" {
			ref.Hash = plumbing.NewHash(fields[0])
		}
		for _, attr := range fields[2:] {
			if v, ok := strings.CutPrefix(attr, "peeled:"); ok {
				ref.Peeled = plumbing.NewHash(v)
			}
			if v, ok := strings.CutPrefix(attr, "symref-target:"); ok {
				ref.Target = v
			}
		}
		refs = append(refs, ref)
	}
}

func filterRefs(refs []Ref, prefixes []string) (out []Ref) {
	for _, r := range refs {
		if slices.ContainsFunc(prefixes, func(p string) bool { return strings.HasPrefix(r.Name, p) }) {
			out = append(out, r)
		}
	}
	return out
}
