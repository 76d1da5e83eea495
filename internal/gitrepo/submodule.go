package gitrepo

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net/url"
	"path"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/go-git/go-git/v5/plumbing/format/config"

	"github.com/gitops-toolkit/flux/internal/gitrepo/transport"
	"github.com/gitops-toolkit/flux/internal/gitrepo/wire"
)

// Limits of submodules, whatever repositories ask for.
const (
	maxSubmodules     = 256
	maxSubmoduleDepth = 8
	maxModulesFile    = 1 << 20
)

// ErrSubmodule is wrapped by errors about a .gitmodules file, or about more submodules than allowed.
var ErrSubmodule = errors.New("submodules are refused")

// Submodule is a directory of a commit that stands for a commit of another repository.
type Submodule struct {
	// Path from the root of the repository that has the submodule.
	Path string
	// URL as resolved, for a relative one against the address of the repository that has the submodule.
	URL    string
	Commit Hash
}

// Checkout is a submodule that was fetched. Path is from the root of the outermost repository, Remote where it came from.
type Checkout struct {
	Path     string
	Remote   Remote
	Snapshot *Snapshot
}

// SubmoduleOptions say how to fetch submodules.
type SubmoduleOptions struct {
	// Timeout of each fetch; 0 for none but the context's.
	Timeout time.Duration
	// Wanted tells whether to fetch the submodule at a path; nil means all.
	Wanted func(path string) (bool, error)
}

// Submodules fetches the submodules of a snapshot, and theirs, outer ones before inner ones. They go where
// .gitmodules says, but credentials only to the host of the remote; see Remote.Elsewhere. The caller must close the
// snapshots. On error there are none.
func (s *Store) Submodules(ctx context.Context, r Remote, snap *Snapshot, o SubmoduleOptions) ([]Checkout, error) {
	w := &submoduleWalk{store: s, opts: o, origin: r}
	if err := w.enter(ctx, r, snap, "", 1); err != nil {
		for _, c := range w.found {
			c.Snapshot.Close()
		}
		return nil, err
	}
	return w.found, nil
}

type submoduleWalk struct {
	store  *Store
	opts   SubmoduleOptions
	origin Remote
	found  []Checkout
}

// enter fetches the submodules of one repository.
func (w *submoduleWalk) enter(ctx context.Context, r Remote, snap *Snapshot, dir string, depth int) error {
	list, err := snap.Submodules(r.URL)
	if err != nil {
		return fmt.Errorf("repository at '%s': %w", "/"+dir, err)
	}
	for _, sub := range list {
		at := path.Join(dir, sub.Path)
		if w.opts.Wanted != nil {
			wanted, err := w.opts.Wanted(at)
			if err != nil {
				return err
			}
			if !wanted {
				continue
			}
		}
		if depth > maxSubmoduleDepth || len(w.found) >= maxSubmodules {
			return fmt.Errorf("%w: at '%s' there are more than %d, or they are nested deeper than %d", ErrSubmodule, at, maxSubmodules, maxSubmoduleDepth)
		}
		remote := w.origin.Elsewhere(sub.URL)
		inner, err := w.fetch(ctx, remote, sub.Commit)
		if err != nil {
			return fmt.Errorf("submodule '%s': %w", at, err)
		}
		w.found = append(w.found, Checkout{Path: at, Remote: remote, Snapshot: inner})
		if err := w.enter(ctx, remote, inner, at, depth+1); err != nil {
			return err
		}
	}
	return nil
}

func (w *submoduleWalk) fetch(ctx context.Context, r Remote, commit Hash) (*Snapshot, error) {
	if w.opts.Timeout > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, w.opts.Timeout)
		defer cancel()
	}
	return w.store.Fetch(ctx, r, pinned(commit))
}

// Submodules lists the submodules that .gitmodules names and the commit has. A relative URL is resolved against base.
func (s *Snapshot) Submodules(base string) ([]Submodule, error) {
	r, size, err := s.Open(".gitmodules")
	if errors.Is(err, ErrReference) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer r.Close()
	if size > maxModulesFile {
		return nil, fmt.Errorf("%w: .gitmodules is larger than %d bytes", ErrSubmodule, maxModulesFile)
	}
	file := config.New()
	if err := config.NewDecoder(io.LimitReader(r, maxModulesFile)).Decode(file); err != nil {
		return nil, fmt.Errorf("%w: .gitmodules: %w", ErrSubmodule, err)
	}
	var list []Submodule
	for _, section := range file.Section("submodule").Subsections {
		at, raw := section.Option("path"), section.Option("url")
		e, found, err := s.Lookup(at)
		if err != nil {
			return nil, err
		}
		if !found || e.Mode != ModeSubmodule {
			continue
		}
		u, err := submoduleURL(base, raw)
		if err != nil {
			return nil, fmt.Errorf("%w: .gitmodules, submodule at '%s': %w", ErrSubmodule, at, err)
		}
		list = append(list, Submodule{Path: at, URL: u, Commit: e.Hash})
	}
	slices.SortFunc(list, func(a, b Submodule) int { return cmp.Compare(a.Path, b.Path) })
	return slices.CompactFunc(list, func(a, b Submodule) bool { return a.Path == b.Path }), nil
}

// scpForm is user@host:path, as people write SSH addresses.
var scpForm = regexp.MustCompile(`^(?:([A-Za-z0-9._-]+)@)?([A-Za-z0-9._-]+):([^:].*)$`)

// submoduleURL resolves an address of .gitmodules as the git program does.
func submoduleURL(base, raw string) (string, error) {
	if strings.HasPrefix(raw, "./") || strings.HasPrefix(raw, "../") {
		return relativeURL(base, raw)
	}
	if m := scpForm.FindStringSubmatch(raw); m != nil && !strings.Contains(raw, "://") {
		u := url.URL{Scheme: "ssh", Host: m[2], Path: "/" + strings.TrimPrefix(m[3], "/"), User: url.User(cmp.Or(m[1], "git"))}
		raw = u.String()
	}
	return raw, ParseURL(raw)
}

func relativeURL(base, raw string) (string, error) {
	u, err := transport.Parse(base)
	if err != nil {
		return "", err
	}
	dir := strings.TrimRight(u.Path, "/")
	for {
		if rest, ok := strings.CutPrefix(raw, "./"); ok {
			raw = rest
			continue
		}
		rest, ok := strings.CutPrefix(raw, "../")
		if !ok {
			break
		}
		if dir == "" {
			return "", fmt.Errorf("%w: '%s' leads out of '%s'", ErrURL, raw, transport.Redact(base))
		}
		raw, dir = rest, dir[:strings.LastIndex(dir, "/")]
	}
	u.Path, u.RawPath = dir+"/"+raw, ""
	return u.String(), ParseURL(u.String())
}

// Lookup finds what is at a path; a path that is not clean has nothing.
func (s *Snapshot) Lookup(name string) (Entry, bool, error) {
	if name == "" || path.Clean("/" + name)[1:] != name {
		return Entry{}, false, nil
	}
	h := s.Root()
	parts := strings.Split(name, "/")
	for i, part := range parts {
		entries, err := s.Tree(h)
		if err != nil {
			return Entry{}, false, err
		}
		at := slices.IndexFunc(entries, func(e Entry) bool { return e.Name == part })
		switch {
		case at < 0:
			return Entry{}, false, nil
		case i == len(parts)-1:
			return entries[at], true, nil
		case entries[at].Mode != ModeDir:
			return Entry{}, false, nil
		}
		h = entries[at].Hash
	}
	return Entry{}, false, nil
}

// pinned is the revision of a commit that another commit names, and so vouches for: no ref need reach it.
func pinned(commit Hash) Revision { return Revision{Commit: commit, ref: "pinned"} }

// bringPinned asks for the commit by its hash, and, of a server that gives only what a ref reaches, for that.
func (m *mirror) bringPinned(ctx context.Context, g *generation, rev Revision) error {
	able := false
	err := m.talk(ctx, func(_ transport.Conn, s *wire.Server) error {
		able = s.AnyWant()
		return nil
	})
	if err != nil {
		return err
	}
	if able {
		err := m.receive(ctx, g, "pinned", []Hash{rev.Commit}, []Hash{rev.Commit}, 1)
		if err == nil || ctx.Err() != nil || !errors.Is(err, wire.ErrRemote) {
			return err
		}
	}
	rev.ref = "commit"
	return m.bring(ctx, g, rev)
}
