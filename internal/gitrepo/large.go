package gitrepo

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/go-git/go-git/v5/plumbing/format/config"

	"github.com/gitops-toolkit/flux/internal/gitrepo/lfs"
)

const (
	// largeDir is where a mirror keeps large files, by their SHA-256.
	largeDir = "lfs"
	// maxLargeKept is how many bytes of them a mirror keeps beyond those in use.
	maxLargeKept = 1 << 30
	// maxLargeFiles bounds what one commit may name.
	maxLargeFiles = 50_000
	lfsConfig     = ".lfsconfig"
)

// ErrLargeFile is wrapped by errors about files that Git LFS keeps.
var ErrLargeFile = errors.New("large file")

// LargeFile is a file that Git LFS keeps beside the repository.
type LargeFile struct {
	lfs.Pointer
	Path string
	Mode Mode
	// ID names the content for those who may read it: it is different for other remotes and credentials.
	ID string
}

// LargeFiles are those of one commit. They are fetched when they are opened. They must be closed.
type LargeFiles struct {
	List []LargeFile

	store  *Store
	remote Remote
	dir    string
	at     string // address of the server, if the repository names one

	mu      sync.Mutex
	client  *lfs.Client
	sources map[string]*lfs.Source
}

// LargeFiles finds the files of a commit that .gitattributes gives to Git LFS and that are pointers. Nothing is fetched.
func (s *Store) LargeFiles(r Remote, snap *Snapshot) (*LargeFiles, error) {
	key := s.key(r)
	l := &LargeFiles{store: s, remote: r, dir: filepath.Join(s.dir, key, largeDir), sources: map[string]*lfs.Source{}}
	if err := l.find(snap, snap.Root(), nil, lfs.Attributes{}, key); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrLargeFile, err)
	}
	if len(l.List) == 0 {
		return l, nil
	}
	var err error
	if l.at, err = lfsAddress(snap); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrLargeFile, err)
	}
	return l, nil
}

func (l *LargeFiles) find(snap *Snapshot, tree Hash, dir []string, attrs lfs.Attributes, key string) error {
	if len(dir) > maxDepth {
		return fmt.Errorf("%w: directories nested deeper than %d", ErrTree, maxDepth)
	}
	entries, err := snap.Tree(tree)
	if err != nil {
		return err
	}
	if i := slices.IndexFunc(entries, func(e Entry) bool { return e.Name == lfs.AttributesFile && e.Mode == ModeFile }); i >= 0 {
		text, err := snap.small(entries[i].Hash, lfs.MaxAttributes)
		if err != nil {
			return fmt.Errorf("'%s': %w", path.Join(path.Join(dir...), lfs.AttributesFile), err)
		}
		if attrs, err = attrs.In(dir, text); err != nil {
			return err
		}
	}
	for _, e := range entries {
		at := append(slices.Clone(dir), e.Name)
		switch {
		case e.Mode == ModeDir:
			if err := l.find(snap, e.Hash, at, attrs, key); err != nil {
				return err
			}
		case (e.Mode == ModeFile || e.Mode == ModeExecutable) && attrs.Large(at):
			if err := l.add(snap, e, path.Join(at...), key); err != nil {
				return fmt.Errorf("'%s': %w", path.Join(at...), err)
			}
		}
	}
	return nil
}

func (l *LargeFiles) add(snap *Snapshot, e Entry, at, key string) error {
	if size, err := snap.Size(e.Hash); err != nil || size >= lfs.MaxPointer {
		return err // A file that was committed before it was large enough for Git LFS is what it is.
	}
	text, err := snap.small(e.Hash, lfs.MaxPointer)
	if err != nil {
		return err
	}
	p, ok, err := lfs.Parse(text)
	if err != nil || !ok {
		return err
	}
	if p.Size > lfs.MaxObject {
		return fmt.Errorf("%w: it has %d bytes, %d are allowed", lfs.ErrTooLarge, p.Size, int64(lfs.MaxObject))
	}
	if len(l.List) == maxLargeFiles {
		return fmt.Errorf("there are more than %d", maxLargeFiles)
	}
	// The pointer is public, the content is not: who only knows the pointer must not get what was fetched for others.
	l.List = append(l.List, LargeFile{p, at, e.Mode, "lfs:" + key + ":" + p.OID})
	return nil
}

// small reads a blob of at most limit bytes.
func (s *Snapshot) small(h Hash, limit int64) ([]byte, error) {
	r, size, err := s.Blob(h)
	if err != nil {
		return nil, err
	}
	defer r.Close() //nolint:errcheck // read only
	if size > limit {
		return nil, fmt.Errorf("it has %d bytes, %d are allowed", size, limit)
	}
	return io.ReadAll(r)
}

// lfsAddress reads lfs.url of the file .lfsconfig, "" if there is none.
func lfsAddress(snap *Snapshot) (string, error) {
	r, size, err := snap.Open(lfsConfig)
	if errors.Is(err, ErrReference) {
		return "", nil
	}
	if err != nil {
		return "", err
	}
	defer r.Close() //nolint:errcheck // read only
	if size > maxModulesFile {
		return "", fmt.Errorf("'%s' has %d bytes", lfsConfig, size)
	}
	parsed := config.New()
	if err := config.NewDecoder(io.LimitReader(r, maxModulesFile)).Decode(parsed); err != nil {
		return "", fmt.Errorf("'%s' cannot be parsed: %w", lfsConfig, err)
	}
	address := parsed.Section("lfs").Option("url")
	if address != "" && !strings.HasPrefix(address, "https://") && !strings.HasPrefix(address, "http://") {
		return "", fmt.Errorf("'%s': lfs.url must begin with https:// or http://", lfsConfig)
	}
	return address, nil
}

// Open returns the content of a file, fetched if it is not here yet.
func (l *LargeFiles) Open(ctx context.Context, f LargeFile) (io.ReadCloser, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	name := filepath.Join(l.dir, f.OID)
	kept, err := os.Open(name)
	if err == nil {
		now := time.Now()
		_ = os.Chtimes(name, now, now) // So that it is not the next to go.
		return kept, nil
	}
	if !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	if err := l.fetch(ctx, f, name); err != nil {
		return nil, fmt.Errorf("%w '%s': %w", ErrLargeFile, f.Path, err)
	}
	return os.Open(name)
}

func (l *LargeFiles) fetch(ctx context.Context, f LargeFile, name string) error {
	source, err := l.locate(ctx, f)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(l.dir, 0o700); err != nil {
		return err
	}
	temp, err := os.CreateTemp(l.dir, "fetch-")
	if err != nil {
		return err
	}
	defer os.Remove(temp.Name()) //nolint:errcheck // it was renamed, or is of no use
	if err := errors.Join(l.client.Copy(ctx, source, temp), temp.Close()); err != nil {
		return err
	}
	return os.Rename(temp.Name(), name)
}

// locate asks for the file and those after it at once: archives are written in the order of the list.
func (l *LargeFiles) locate(ctx context.Context, f LargeFile) (*lfs.Source, error) {
	if s := l.sources[f.OID]; s != nil && s.Fresh() {
		return s, nil
	}
	if l.client == nil {
		client, err := lfs.Open(ctx, l.remote, l.store.opts.Algorithms, l.at)
		if err != nil {
			return nil, err
		}
		l.client = client
	}
	batch := []lfs.Pointer{f.Pointer}
	from := slices.IndexFunc(l.List, func(o LargeFile) bool { return o.Path == f.Path })
	for _, o := range l.List[from+1:] {
		if len(batch) == lfs.MaxBatch {
			break
		}
		if !slices.Contains(batch, o.Pointer) && l.sources[o.OID] == nil {
			batch = append(batch, o.Pointer)
		}
	}
	found, err := l.client.Locate(ctx, batch)
	if err != nil {
		return nil, err
	}
	for oid, s := range found {
		l.sources[oid] = s
	}
	return l.sources[f.OID], nil
}

// Close ends connections, and removes what the mirror keeps of others beyond its share, the longest unused first.
func (l *LargeFiles) Close() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.client != nil {
		l.client.Close()
	}
	if len(l.List) == 0 {
		return nil
	}
	return trimLarge(l.dir, l.List, maxLargeKept)
}

func trimLarge(dir string, used []LargeFile, limit int64) error {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	inUse := map[string]bool{}
	for _, f := range used {
		inUse[f.OID] = true
	}
	var others []fs.FileInfo
	for _, e := range entries {
		if info, err := e.Info(); err == nil && !inUse[e.Name()] && !(strings.HasPrefix(e.Name(), "fetch-") && time.Since(info.ModTime()) < time.Hour) {
			others = append(others, info)
		}
	}
	slices.SortFunc(others, func(a, b fs.FileInfo) int { return b.ModTime().Compare(a.ModTime()) })
	var errs []error
	for _, info := range others {
		if limit -= info.Size(); limit < 0 {
			errs = append(errs, os.Remove(filepath.Join(dir, info.Name())))
		}
	}
	return errors.Join(errs...)
}
