package gitrepo

import (
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/gitops-toolkit/flux/internal/gitrepo/pack"
	"github.com/gitops-toolkit/flux/internal/gitrepo/transport"
)

// Options of a Store. The zero value is fit for use.
type Options struct {
	// Algorithms restricts what SSH may negotiate.
	Algorithms Algorithms
	// Limits bounds packs and objects; the zero value means pack.DefaultLimits.
	Limits pack.Limits
	// MaxEntries bounds the tree entries that one Snapshot hands out; 0 means 4 million.
	MaxEntries int64
}

const (
	defaultMaxEntries = 4 << 20
	// scratchDir is where packs go that are looked at and thrown away. A crash may leave some; they are removed at the
	// next start.
	scratchDir = "scratch"
)

// Store keeps the mirrors below one directory, which one process at a time may use. It is safe for
// concurrent use.
type Store struct {
	dir  string
	opts Options
	salt []byte

	mu      sync.Mutex
	mirrors map[string]*mirror
}

// NewStore opens the directory, which is created if missing. Mirrors that an earlier process left there
// are used.
func NewStore(dir string, opts Options) (*Store, error) {
	if opts.Limits == (pack.Limits{}) {
		opts.Limits = pack.DefaultLimits
	}
	if opts.MaxEntries == 0 {
		opts.MaxEntries = defaultMaxEntries
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("directory of the Git mirrors: %w", err)
	}
	scratch := filepath.Join(dir, scratchDir)
	if err := errors.Join(os.RemoveAll(scratch), os.Mkdir(scratch, 0o700)); err != nil {
		return nil, fmt.Errorf("directory of the Git mirrors: %w", err)
	}
	salt, err := loadSalt(filepath.Join(dir, "salt"))
	if err != nil {
		return nil, fmt.Errorf("directory of the Git mirrors: %w", err)
	}
	return &Store{dir: dir, opts: opts, salt: salt, mirrors: map[string]*mirror{}}, nil
}

// loadSalt reads what makes the names of mirrors, which depend on credentials, useless to others.
func loadSalt(path string) ([]byte, error) {
	salt, err := os.ReadFile(path)
	if err == nil && len(salt) == sha256.Size {
		return salt, nil
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	salt = make([]byte, sha256.Size)
	if _, err := rand.Read(salt); err != nil {
		return nil, err
	}
	return salt, os.WriteFile(path, salt, 0o600)
}

// key names the mirror of a remote. Whatever says who we are and how the server is checked is part of
// it, so that nobody reads what his own credentials do not reach.
func (s *Store) key(r Remote) string {
	mac := hmac.New(sha256.New, s.salt)
	put := func(parts ...string) {
		for _, p := range parts {
			fmt.Fprintf(mac, "%d:%s,", len(p), p)
		}
	}
	a := r.Auth
	put(r.URL, string(a.CA), string(a.KnownHosts), a.Principal)
	if r.Proxy != nil {
		put(r.Proxy.String())
	}
	if a.Principal == "" {
		put(a.Username, a.Password, a.BearerToken, string(a.ClientCert), string(a.ClientKey), string(a.Identity), a.Passphrase)
	}
	return hex.EncodeToString(mac.Sum(nil)[:20])
}

// mirror returns the mirror of a remote, with a dialer for its present credentials.
func (s *Store) mirror(r Remote) (*mirror, error) {
	key := s.key(r)
	s.mu.Lock()
	defer s.mu.Unlock()
	m := s.mirrors[key]
	if m == nil {
		m = &mirror{store: s, dir: filepath.Join(s.dir, key), turn: make(chan struct{}, 1)}
	}
	if err := m.setRemote(r); err != nil {
		return nil, err
	}
	s.mirrors[key] = m
	m.used = time.Now()
	return m, nil
}

const (
	collectInterval = time.Hour
	collectIdle     = 24 * time.Hour
)

// CollectUnused removes, until ctx ends, the mirrors that nobody has used for a day.
func (s *Store) CollectUnused(ctx context.Context) error {
	ticker := time.NewTicker(collectInterval)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
			_, _ = s.Collect(collectIdle) // What could not be removed is tried again in an hour.
		}
	}
}

// Collect removes mirrors that nobody used for the given time, and returns how many.
func (s *Store) Collect(idle time.Duration) (int, error) {
	entries, err := os.ReadDir(s.dir)
	if err != nil {
		return 0, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	var errs []error
	removed := 0
	for _, e := range entries {
		info, err := e.Info()
		if err != nil || !e.IsDir() || e.Name() == scratchDir {
			continue
		}
		last := info.ModTime()
		m := s.mirrors[e.Name()]
		if m != nil && m.used.After(last) {
			last = m.used
			_ = os.Chtimes(m.dir, last, last) // So that the next process knows.
		}
		if time.Since(last) < idle {
			continue
		}
		if m != nil && !m.tryDrop() {
			continue
		}
		delete(s.mirrors, e.Name())
		errs = append(errs, os.RemoveAll(filepath.Join(s.dir, e.Name())))
		removed++
	}
	return removed, errors.Join(errs...)
}

// Close ends idle connections. Snapshots that are open stay readable until they are closed.
func (s *Store) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, m := range s.mirrors {
		if m.parent == nil {
			m.dialer.Close()
		}
	}
	return nil
}

// RemoteHead looks up the default branch of a remote. For a repository without commits it is the branch
// that the first commit will create if the server says so, and ErrEmpty otherwise.
func RemoteHead(ctx context.Context, r Remote) (branch string, err error) {
	d, err := transport.New(r, Algorithms{})
	if err != nil {
		return "", err
	}
	defer d.Close()
	m := &mirror{dialer: d, remote: r}
	refs, err := m.list(ctx, "HEAD")
	if err != nil {
		return "", m.wrap(ctx, err)
	}
	for _, ref := range refs {
		if ref.Name == "HEAD" && ref.Target != "" {
			return trimHeads(ref.Target), nil
		}
	}
	if len(refs) == 0 {
		return "", ErrEmpty
	}
	return "", m.wrap(ctx, fmt.Errorf("%w: HEAD is not a branch", ErrReference))
}
