// Package remote fetches the remote bases of a kustomization: public Git repositories over HTTP(S) and single files.
// It starts no process, bounds what it takes, and does not reach the machine itself or its link-local network, where
// cloud metadata lives.
//
// What upstream's kustomize does beyond that is refused with a reason: SSH and addresses with passwords (a base that
// needs credentials should be a source of its own), and file URLs. Submodules are not followed.
package remote

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/gitops-toolkit/flux/internal/gitrepo"
)

// Limits of what is fetched for one build.
const (
	maxFile    = 16 << 20
	maxBytes   = 256 << 20
	maxEntries = 50_000
	timeout    = time.Minute
)

// Fetcher keeps mirrors of the repositories that were asked for. It is shared by all builds.
type Fetcher struct {
	git        *gitrepo.Store
	dir        string
	client     *http.Client
	allowLocal bool
	proxies    sync.Map // host:port of proxies in use
}

// Option changes a Fetcher.
type Option func(*Fetcher)

// AllowLocal lets it reach loopback and link-local addresses: for tests, and for clusters on a laptop.
func AllowLocal() Option { return func(f *Fetcher) { f.allowLocal = true } }

// New opens a directory for mirrors and copies, which the Fetcher owns.
func New(dir string, options ...Option) (*Fetcher, error) {
	store, err := gitrepo.NewStore(filepath.Join(dir, "mirrors"), gitrepo.Options{})
	if err != nil {
		return nil, err
	}
	f := &Fetcher{git: store, dir: filepath.Join(dir, "copies")}
	for _, o := range options {
		o(f)
	}
	if err := errors.Join(os.RemoveAll(f.dir), os.Mkdir(f.dir, 0o700)); err != nil {
		return nil, err
	}
	dialer := &net.Dialer{Timeout: 10 * time.Second, Control: func(_, address string, _ syscall.RawConn) error { return f.checkAddress(address) }}
	f.client = &http.Client{Timeout: timeout, Transport: &http.Transport{
		Proxy: f.proxy, DialContext: dialer.DialContext, TLSHandshakeTimeout: 10 * time.Second, ResponseHeaderTimeout: 30 * time.Second,
		MaxIdleConns: 10, IdleConnTimeout: 30 * time.Second,
	}}
	return f, nil
}

// Close ends the use of the mirrors.
func (f *Fetcher) Close() error { return f.git.Close() }

// proxy returns the proxy of the environment. The check of addresses when dialling sees only the proxy then, so the
// host is checked as far as it is an address; the proxy, which the operator chose, may be local.
func (f *Fetcher) proxy(req *http.Request) (*url.URL, error) {
	proxy, err := http.ProxyFromEnvironment(req)
	if proxy == nil || err != nil {
		return nil, err
	}
	if net.ParseIP(req.URL.Hostname()) != nil {
		if err := f.checkAddress(net.JoinHostPort(req.URL.Hostname(), "0")); err != nil {
			return nil, err
		}
	}
	f.proxies.Store(proxy.Host, true)
	return proxy, nil
}

// checkAddress refuses addresses at which only this machine, or its cloud, answers.
func (f *Fetcher) checkAddress(address string) error {
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return err
	}
	ip := net.ParseIP(host)
	if _, isProxy := f.proxies.Load(address); isProxy {
		return nil
	}
	if f.allowLocal || ip != nil && !ip.IsLoopback() && !ip.IsLinkLocalUnicast() && !ip.IsLinkLocalMulticast() && !ip.IsUnspecified() {
		return nil
	}
	return fmt.Errorf("address %s is local to the controller and not allowed", host)
}

// Session is what one build fetches. It implements build.Remote.
type Session struct {
	f     *Fetcher
	dir   string
	seen  map[location]string
	bytes int64
	count int
}

// Session begins one.
func (f *Fetcher) Session() *Session { return &Session{f: f, seen: map[location]string{}} }

// Close deletes what was fetched.
func (s *Session) Close() error {
	if s.dir == "" {
		return nil
	}
	return os.RemoveAll(s.dir)
}

// Fetch returns a directory with what a reference names, and the path in it of what is meant. Within a session a
// repository is fetched once for each ref.
func (s *Session) Fetch(ctx context.Context, ref string) (dir, name string, err error) {
	l, err := parse(ref)
	if err != nil {
		return "", "", err
	}
	key := l
	key.dir = ""
	name = l.dir
	if l.file != "" {
		name = path.Base(urlPath(l.file))
	}
	if dir, ok := s.seen[key]; ok {
		return dir, name, nil
	}
	if s.dir == "" {
		if s.dir, err = os.MkdirTemp(s.f.dir, "build-"); err != nil {
			return "", "", err
		}
	}
	if dir, err = os.MkdirTemp(s.dir, "base-"); err != nil {
		return "", "", err
	}
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	if l.file != "" {
		err = s.fetchFile(ctx, l.file, filepath.Join(dir, name))
	} else {
		err = s.fetchRepository(ctx, l, dir)
	}
	if err != nil {
		return "", "", err
	}
	s.seen[key] = dir
	return dir, name, nil
}

func urlPath(raw string) string {
	u, err := url.Parse(raw)
	if err != nil {
		return "file.yaml"
	}
	return u.Path
}

func (s *Session) fetchFile(ctx context.Context, from, to string) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, from, nil)
	if err != nil {
		return err
	}
	resp, err := s.f.client.Do(req)
	if err != nil {
		return withoutQuery(err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("the server answered %s", resp.Status)
	}
	return s.write(to, resp.Body, 0o600)
}

// withoutQuery drops the URL that net/http puts into errors: its query may hold a token.
func withoutQuery(err error) error {
	var urlErr *url.Error
	if errors.As(err, &urlErr) {
		return urlErr.Err
	}
	return err
}

// write copies a file within the limits.
func (s *Session) write(to string, content io.Reader, mode os.FileMode) error {
	f, err := os.OpenFile(to, os.O_CREATE|os.O_EXCL|os.O_WRONLY, mode)
	if err != nil {
		return err
	}
	n, err := io.Copy(f, io.LimitReader(content, maxFile+1))
	s.bytes += n
	switch {
	case err != nil:
	case n > maxFile:
		err = fmt.Errorf("a file has more than %d bytes", maxFile)
	case s.bytes > maxBytes:
		err = fmt.Errorf("the remote bases have more than %d bytes", maxBytes)
	}
	return errors.Join(err, f.Close())
}

func (s *Session) fetchRepository(ctx context.Context, l location, dir string) error {
	if err := s.checkHost(ctx, l.repository); err != nil {
		return err
	}
	remote := gitrepo.Remote{URL: l.repository}
	rev, err := s.resolve(ctx, remote, l.ref)
	if err != nil {
		return err
	}
	snap, err := s.f.git.Fetch(ctx, remote, rev)
	if err != nil {
		return err
	}
	defer snap.Close()
	return snap.Walk(func(name string, e gitrepo.Entry) (bool, error) {
		if s.count++; s.count > maxEntries {
			return false, fmt.Errorf("the remote bases have more than %d files", maxEntries)
		}
		return true, s.export(ctx, snap, filepath.Join(dir, filepath.FromSlash(name)), e)
	})
}

// checkHost refuses a repository on a local address.
func (s *Session) checkHost(ctx context.Context, repository string) error {
	u, err := url.Parse(repository)
	if err != nil {
		return err
	}
	addresses, err := net.DefaultResolver.LookupHost(ctx, u.Hostname())
	if err != nil {
		return err
	}
	for _, a := range addresses {
		if err := s.f.checkAddress(net.JoinHostPort(a, "0")); err != nil {
			return err
		}
	}
	return nil
}

var fullHash = regexp.MustCompile(`^[0-9a-f]{40}$`)

// resolve looks a ref up as a commit, a branch or a tag; without one it takes the default branch.
func (s *Session) resolve(ctx context.Context, remote gitrepo.Remote, ref string) (gitrepo.Revision, error) {
	switch {
	case ref == "":
		branch, err := gitrepo.RemoteHead(ctx, remote)
		if err != nil {
			return gitrepo.Revision{}, err
		}
		return s.f.git.Resolve(ctx, remote, gitrepo.Reference{Branch: branch})
	case fullHash.MatchString(ref):
		return s.f.git.Resolve(ctx, remote, gitrepo.Reference{Commit: ref})
	case strings.HasPrefix(ref, "refs/"):
		return s.f.git.Resolve(ctx, remote, gitrepo.Reference{Name: ref})
	}
	rev, err := s.f.git.Resolve(ctx, remote, gitrepo.Reference{Branch: ref})
	if errors.Is(err, gitrepo.ErrReference) {
		return s.f.git.Resolve(ctx, remote, gitrepo.Reference{Tag: ref})
	}
	return rev, err
}

// export writes one entry. Links are left out: a base must not depend on where it lies.
func (s *Session) export(ctx context.Context, snap *gitrepo.Snapshot, to string, e gitrepo.Entry) error {
	if err := context.Cause(ctx); err != nil {
		return err
	}
	switch e.Mode {
	case gitrepo.ModeDir:
		return os.Mkdir(to, 0o700)
	case gitrepo.ModeFile, gitrepo.ModeExecutable:
		content, _, err := snap.Blob(e.Hash)
		if err != nil {
			return err
		}
		defer content.Close()
		return s.write(to, content, 0o600)
	}
	return nil
}
