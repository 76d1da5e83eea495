package wire

import (
	"bytes"
	"context"
	"errors"
	"io"
	"strings"
	"testing"
)

// script answers each step of a conversation with fixed bytes.
type script struct {
	answers []string
	asked   []string
}

func (s *script) Advertise(context.Context) (io.ReadCloser, error) { return s.next("") }

func (s *script) Exchange(_ context.Context, request []byte) (io.ReadCloser, error) {
	return s.next(string(request))
}

func (s *script) next(request string) (io.ReadCloser, error) {
	s.asked = append(s.asked, request)
	if len(s.answers) == 0 {
		return nil, io.EOF
	}
	answer := s.answers[0]
	s.answers = s.answers[1:]
	return io.NopCloser(strings.NewReader(answer)), nil
}

func pkt(lines ...string) string {
	r := &request{}
	for _, l := range lines {
		switch l {
		case "0000":
			r.flush()
		case "0001":
			r.delim()
		default:
			r.line("%s", l)
		}
	}
	return r.String()
}

const one, two = "1111111111111111111111111111111111111111", "2222222222222222222222222222222222222222"

func TestConversation2(t *testing.T) {
	t.Parallel()
	c := &script{answers: []string{
		pkt("version 2", "agent=git/2", "ls-refs=unborn", "fetch=shallow filter", "object-format=sha1", "0000"),
		pkt(one+" HEAD symref-target:refs/heads/main", one+" refs/heads/main", two+" refs/tags/v1 peeled:"+one, "0000"),
		pkt("shallow-info", "shallow "+one, "0001", "packfile", "\x01PACK", "\x02progress", "\x01rest", "0000"),
	}}
	ctx := context.Background()
	s, err := Discover(ctx, c)
	if err != nil || s.Version != 2 || !s.Filter() || !s.Shallow() || !s.AnyWant() {
		t.Fatalf("%+v, %v", s, err)
	}
	refs, err := s.ListRefs(ctx, c, []string{"HEAD", "refs/tags/"})
	if err != nil || len(refs) != 2 || refs[0].Target != "refs/heads/main" || refs[1].Commit().String() != one {
		t.Fatalf("%+v, %v", refs, err)
	}
	resp, err := s.Fetch(ctx, c, FetchRequest{Want: []Hash{refs[0].Hash}, Depth: 1})
	if err != nil || len(resp.Shallow) != 1 {
		t.Fatalf("%+v, %v", resp, err)
	}
	if data, err := io.ReadAll(resp.Pack); err != nil || string(data) != "PACK\nrest\n" {
		t.Fatalf("pack %q, %v", data, err)
	}
	if req := c.asked[2]; !strings.Contains(req, "want "+one) || !strings.Contains(req, "deepen 1") || strings.Contains(req, "thin-pack") {
		t.Fatalf("asked %q", req)
	}
}

// TestServerErrors checks that what the server says reaches the reader, on one line and not too long.
func TestServerErrors(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	long := "ERR access denied\x1b[31m\nsecond line " + strings.Repeat("x", 2000)
	for reason, answers := range map[string][]string{
		"at the start":        {pkt(long)},
		"instead of a pack":   {pkt("version 2", "fetch=shallow", "0000"), pkt(long)},
		"in the band":         {pkt("version 2", "fetch=shallow", "0000"), pkt("packfile", "\x03"+strings.TrimPrefix(long, "ERR "))},
		"version 0":           {pkt(one+" refs/heads/main\x00side-band-64k", "0000"), pkt(long)},
		"version 0, the band": {pkt(one+" refs/heads/main\x00side-band-64k", "0000"), pkt("NAK", "\x03"+strings.TrimPrefix(long, "ERR "))},
	} {
		err := converse(ctx, &script{answers: answers})
		if !errors.Is(err, ErrRemote) || !strings.Contains(err.Error(), "access denied") ||
			strings.ContainsAny(err.Error(), "\x1b\n") || len(err.Error()) > 2*maxRemoteText {
			t.Errorf("%s: %q", reason, err)
		}
	}
}

// converse goes through all steps that the answers allow.
func converse(ctx context.Context, c Conn) error {
	s, err := Discover(ctx, c)
	if err != nil {
		return err
	}
	resp, err := s.Fetch(ctx, c, FetchRequest{Want: []Hash{{1}}})
	if err != nil {
		return err
	}
	_, err = io.Copy(io.Discard, resp.Pack)
	return err
}

func TestOtherObjectFormat(t *testing.T) {
	t.Parallel()
	for _, answer := range []string{
		pkt("version 2", "object-format=sha256", "0000"),
		pkt(strings.Repeat("ab", 32)+" HEAD\x00side-band-64k object-format=sha256", "0000"),
	} {
		_, err := Discover(context.Background(), &script{answers: []string{answer}})
		if !errors.Is(err, ErrObjectFormat) || !strings.Contains(err.Error(), "sha256") {
			t.Error(err)
		}
	}
}

func FuzzAnswers(f *testing.F) {
	f.Add([]byte(pkt("version 2", "fetch=shallow", "0000")), []byte(pkt("shallow-info", "shallow "+one, "0001", "packfile", "\x01PACK", "0000")))
	f.Add([]byte(pkt(one+" HEAD\x00side-band-64k symref=HEAD:refs/heads/main", "0000")), []byte(pkt("NAK", "\x01PACK", "0000")))
	f.Add([]byte(pkt("# service=git-upload-pack", "0000", one+" HEAD\x00", two+" HEAD^{}", "0000")), []byte(pkt(one+" refs/x peeled:"+two, "0000")))
	f.Fuzz(func(t *testing.T, first, second []byte) {
		ctx := context.Background()
		_ = converse(ctx, &script{answers: []string{string(first), string(second)}})
		if s, err := Discover(ctx, &script{answers: []string{string(first)}}); err == nil {
			_, _ = s.ListRefs(ctx, &script{answers: []string{string(second)}}, []string{"refs/"})
		}
		p := newPktReader(bytes.NewReader(second))
		for range len(second) + 1 {
			if _, _, err := p.next(); err != nil {
				return
			}
		}
	})
}
