package gitrepo

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"sync"
	"time"

	"github.com/gitops-toolkit/flux/internal/gitrepo/pack"
	"github.com/gitops-toolkit/flux/internal/gitrepo/transport"
	"github.com/gitops-toolkit/flux/internal/gitrepo/wire"
)

// mirror is what we keep of one remote: how to get there, and a generation of objects on disk.
type mirror struct {
	store   *Store
	dir     string
	used    time.Time     // guarded by Store.mu
	turn    chan struct{} // held by the one who fetches
	last    int           // the highest number of a generation so far; guarded by turn
	times   sync.Map      // Hash of a commit to its time.Time
	reached sync.Map      // place of a commit that a ref was seen to reach, to true

	parent *mirror // of a mirror that has only some files: the one with the way to the remote

	mu      sync.Mutex
	remote  Remote
	dialer  transport.Dialer
	server  *wire.Server // what the last conversation over a stateless transport learned
	current *generation  // the last that was opened; its files are open only while somebody uses it
}

// setRemote takes over credentials that were renewed.
func (m *mirror) setRemote(r Remote) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.dialer != nil && reflect.DeepEqual(m.remote, r) {
		return nil
	}
	d, err := transport.New(r, m.store.opts.Algorithms)
	if err != nil {
		return err
	}
	if m.dialer != nil {
		m.dialer.Close()
	}
	m.remote, m.dialer, m.server = r, d, nil
	return nil
}

// wrap names the remote, and the end of the time that was given, in an error.
func (m *mirror) wrap(ctx context.Context, err error) error {
	return m.wrapAs(ctx, "unable to clone", err)
}

func (m *mirror) wrapAs(ctx context.Context, what string, err error) error {
	if errors.Is(ctx.Err(), context.DeadlineExceeded) {
		err = fmt.Errorf("no answer within the time allowed: %w", context.DeadlineExceeded)
	} else if ctx.Err() != nil {
		err = context.Cause(ctx)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	return fmt.Errorf("%s '%s': %w", what, transport.Redact(m.remote.URL), err)
}

// talk runs one conversation. What a stateless server can do is remembered, which saves a request; if
// it leads to a failure we ask again and repeat.
func (m *mirror) talk(ctx context.Context, f func(transport.Conn, *wire.Server) error) error {
	if m.parent != nil {
		return m.parent.talk(ctx, f)
	}
	m.mu.Lock()
	dialer, known := m.dialer, m.server
	m.mu.Unlock()
	conn, err := dialer.Dial(ctx)
	if err != nil {
		return err
	}
	defer conn.Close()
	if known != nil {
		err := f(conn, known)
		if err == nil || ctx.Err() != nil || errors.Is(err, pack.ErrCorrupt) || errors.Is(err, pack.ErrLimit) {
			return err
		}
		m.remember(dialer, nil)
	}
	server, err := wire.Discover(ctx, conn)
	if err != nil {
		return err
	}
	if dialer.Stateless() && server.Version == 2 {
		m.remember(dialer, server)
	}
	return f(conn, server)
}

func (m *mirror) remember(d transport.Dialer, s *wire.Server) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.dialer == d {
		m.server = s
	}
}

func (m *mirror) list(ctx context.Context, prefixes ...string) (refs []wire.Ref, err error) {
	err = m.talk(ctx, func(c transport.Conn, s *wire.Server) error {
		refs, err = s.ListRefs(ctx, c, prefixes)
		return err
	})
	return refs, err
}

// lock waits for its turn to fetch.
func (m *mirror) lock(ctx context.Context) error {
	select {
	case m.turn <- struct{}{}:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (m *mirror) unlock() { <-m.turn }

// tryDrop forgets the generation if nobody is at work.
func (m *mirror) tryDrop() bool {
	select {
	case m.turn <- struct{}{}:
		defer m.unlock()
	default:
		return false
	}
	m.retire()
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.dialer != nil {
		m.dialer.Close()
	}
	return true
}

// retire gives up the current generation; it is removed from disk when its last reader is done.
func (m *mirror) retire() {
	m.mu.Lock()
	g := m.current
	m.current = nil
	m.mu.Unlock()
	if g != nil {
		g.retire()
	}
}

// open returns the current generation, for which the caller must call release. The caller has the turn.
func (m *mirror) open() (*generation, error) {
	m.mu.Lock()
	g := m.current
	m.mu.Unlock()
	if g != nil && g.damaged.Load() {
		m.retire()
	} else if g != nil && g.acquire() {
		return g, nil
	}
	g, err := openGeneration(m.dir, m.last+1, m.store.opts.Limits)
	if err != nil {
		return nil, err
	}
	m.last = g.number()
	m.setCurrent(g)
	return g, nil
}

// stored returns a revision that needs no fetch, without the turn: while somebody fetches, the generation
// is open. It returns nil where the one with the turn has to look: nothing open, no such commit, damage.
func (m *mirror) stored(rev Revision) *Snapshot {
	m.mu.Lock()
	g := m.current
	m.mu.Unlock()
	if g == nil || g.damaged.Load() || !g.acquire() {
		return nil
	}
	defer g.release()
	if !g.holds(rev) {
		return nil
	}
	if _, reached := m.reached.Load(rev.place()); rev.ref == "commit" && !reached {
		return nil
	}
	snap, err := newSnapshot(g, rev, m.store.opts.MaxEntries)
	if err != nil {
		return nil
	}
	return snap
}

func (m *mirror) isCurrent(g *generation) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.current == g
}

func (m *mirror) setCurrent(g *generation) {
	m.mu.Lock()
	old := m.current
	m.current = g
	m.mu.Unlock()
	if old != nil && old.dir != g.dir {
		old.retire()
	}
}

// scratch runs a fetch into a directory that is removed afterwards. A server that cannot leave out
// objects sends them all.
func (m *mirror) scratch(ctx context.Context, req wire.FetchRequest, read func(objects) error) error {
	parent := filepath.Join(m.store.dir, scratchDir)
	if err := os.MkdirAll(parent, 0o700); err != nil {
		return err
	}
	dir, err := os.MkdirTemp(parent, "pack-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	db, err := pack.Open(dir, m.store.opts.Limits)
	if err != nil {
		return err
	}
	defer db.Close()
	err = m.talk(ctx, func(c transport.Conn, s *wire.Server) error {
		req := req
		if !s.Filter() {
			req.Filter = ""
		}
		if !s.Shallow() {
			req.Depth = 0
		}
		resp, err := s.Fetch(ctx, c, req)
		if err != nil {
			return err
		}
		defer resp.Pack.Close()
		_, err = db.Receive(ctx, resp.Pack)
		return err
	})
	if err != nil {
		return err
	}
	return read(db)
}
