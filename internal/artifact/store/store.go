// Package store keeps artifacts on disk under the names that consumers know.
//
// Content is stored once: a blob is named by its digest, and the name of an artifact,
// <kind>/<namespace>/<name>/<file>, is a hard link to it, so several names may be one blob and the
// directory tree looks like upstream's. A blob without a name is garbage.
//
// Everything appears by rename: a file is written aside, synced, becomes a blob, and then takes its
// name; half a file is never seen under either. What a crash leaves aside is removed at the next
// start. Each step of that path is a fail point, and the tests cut the power at every one.
//
// A file is verified against its digest once per process and then known by its inode, size and
// modification time; consumers verify what they download anyway.
package store

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/gitops-toolkit/flux/internal/artifact"
	"github.com/gitops-toolkit/flux/internal/artifact/internal/lockfile"
)

// Errors that callers tell apart.
var (
	// ErrMissing says that an artifact is not in the store.
	ErrMissing = errors.New("artifact not found in the store")
	// ErrName says that a name or path is not one that the store may hold.
	ErrName = errors.New("invalid artifact path")
	// ErrFull says that the volume of the store is full.
	ErrFull = errors.New("no space left on the volume of the artifact store")
	// ErrDirectory says that the directory of an object could not be made.
	ErrDirectory = errors.New("cannot create the artifact directory")
)

// IntegrityError says that a stored file is not what its digest says. The file has been removed.
type IntegrityError struct {
	Path      string
	Want, Got artifact.Digest
}

func (e *IntegrityError) Error() string {
	return fmt.Sprintf("computed digest of '%s' is '%s' and doesn't match '%s'", e.Path, e.Got, e.Want)
}

// Options configure a store. Root is required.
type Options struct {
	// Root is the directory of the store, --storage-path.
	Root string
	// Advertised is the address that URLs of artifacts carry, --storage-adv-addr: host[:port], or a
	// URL if another scheme than http is wanted.
	Advertised string
	// Algorithm of the digests of new artifacts, SHA-256 if empty.
	Algorithm artifact.Algorithm
	// RetentionTTL is how long an artifact is kept after a newer one took its place, 0 for a minute.
	RetentionTTL time.Duration
	// RetentionRecords is how many artifacts an object may have, the advertised one included, 0
	// for two.
	RetentionRecords int
	// Now is the clock, time.Now if nil.
	Now func() time.Time
}

// Store is an artifact store. It is safe for concurrent use, and more than one process may use a
// directory.
type Store struct {
	opts Options
	base *url.URL
	root *os.Root
	temp *tempDir

	mu     sync.Mutex
	lock   *os.File
	known  map[fileID]knownFile
	served map[string]int
	stored map[string]time.Time

	// fail is called at each step of the write path; tests end the world there.
	fail func(step string) error
}

// knownFile is what the store knows of a file without reading it.
type knownFile struct {
	digest   artifact.Digest
	verified bool
}

const (
	privateDir  = ".store"
	defaultTTL  = time.Minute
	defaultKeep = 2
	dirMode     = 0o700
	fileMode    = 0o600
)

// Open opens or creates the store in opts.Root and removes what a crash left there.
func Open(opts Options) (*Store, error) {
	s, err := prepare(opts)
	if err != nil {
		return nil, fmt.Errorf("artifact store: %w", err)
	}
	if err := s.recover(); err != nil {
		return nil, errors.Join(fmt.Errorf("artifact store in '%s': %w", opts.Root, err), s.Close())
	}
	return s, nil
}

func prepare(opts Options) (*Store, error) {
	algorithm, err := artifact.ParseAlgorithm(string(opts.Algorithm))
	if err != nil {
		return nil, err
	}
	opts.Algorithm = algorithm
	if opts.RetentionTTL <= 0 {
		opts.RetentionTTL = defaultTTL
	}
	if opts.RetentionRecords <= 0 {
		opts.RetentionRecords = defaultKeep
	}
	if opts.Now == nil {
		opts.Now = time.Now
	}
	if opts.Root, err = filepath.Abs(opts.Root); err != nil {
		return nil, err
	}
	s := &Store{opts: opts, known: map[fileID]knownFile{}, served: map[string]int{}, stored: map[string]time.Time{}}
	if s.base, err = baseURL(opts.Advertised); err != nil {
		return nil, err
	}
	if err := os.MkdirAll(filepath.Join(opts.Root, privateDir), dirMode); err != nil {
		return nil, err
	}
	if s.root, err = os.OpenRoot(opts.Root); err != nil {
		return nil, err
	}
	s.lock, err = os.OpenFile(filepath.Join(opts.Root, privateDir, "lock"), os.O_CREATE|os.O_RDWR, fileMode)
	return s, err
}

// baseURL returns the URL of the store's root.
func baseURL(advertised string) (*url.URL, error) {
	if !strings.Contains(advertised, "://") {
		advertised = "http://" + advertised
	}
	u, err := url.Parse(advertised)
	if err != nil {
		return nil, fmt.Errorf("advertised address: %w", err)
	}
	return &url.URL{Scheme: u.Scheme, Host: u.Host, Path: strings.TrimRight(u.Path, "/") + "/"}, nil
}

// Close lets go of the directory. Nobody may use the store afterwards.
func (s *Store) Close() error {
	var errs []error
	if s.temp != nil {
		errs = append(errs, s.temp.close())
	}
	if s.lock != nil {
		errs = append(errs, s.lock.Close())
	}
	return errors.Join(append(errs, s.root.Close())...)
}

// recover removes what a crash left and learns the digests of the files that are there.
func (s *Store) recover() (err error) {
	unlock, err := s.locked()
	if err != nil {
		return err
	}
	defer unlock()
	if s.temp, err = openTemp(filepath.Join(s.opts.Root, privateDir, "tmp")); err != nil {
		return err
	}
	for _, a := range artifact.Algorithms() {
		blobs, err := os.ReadDir(s.blobDir(a))
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		for _, b := range blobs {
			digest, err := artifact.ParseDigest(string(a) + ":" + b.Name())
			if err != nil {
				continue
			}
			if err := s.learn(digest); err != nil {
				return err
			}
		}
	}
	return nil
}

// learn registers the blob of this digest, or removes it if no name is left.
func (s *Store) learn(digest artifact.Digest) error {
	info, err := os.Stat(s.blob(digest))
	if err != nil {
		return err
	}
	if links(info) == 1 {
		return os.Remove(s.blob(digest))
	}
	s.known[idOf(info)] = knownFile{digest: digest}
	return nil
}

// locked takes the lock among the goroutines of this process and among processes. It is held for
// moments only, never while content is written.
func (s *Store) locked() (unlock func(), err error) {
	s.mu.Lock()
	if err := lockfile.Lock(s.lock); err != nil {
		s.mu.Unlock()
		return nil, fmt.Errorf("cannot lock the store: %w", err)
	}
	return func() {
		lockfile.Unlock(s.lock)
		s.mu.Unlock()
	}, nil
}

// at is a fail point.
func (s *Store) at(step string) error {
	if s.fail == nil {
		return nil
	}
	return s.fail(step)
}

func (s *Store) blobDir(a artifact.Algorithm) string {
	return filepath.Join(s.opts.Root, privateDir, "blobs", string(a))
}

func (s *Store) blob(d artifact.Digest) string {
	return filepath.Join(s.blobDir(d.Algorithm()), d.Hex())
}

func (s *Store) file(p string) string {
	return filepath.Join(s.opts.Root, filepath.FromSlash(p))
}

// URL returns the address of a path in the store.
func (s *Store) URL(p string) string {
	return s.base.ResolveReference(&url.URL{Path: s.base.Path + p}).String()
}

// Check returns ref with the address that the store advertises now, after making sure that its file
// is there and is what the digest says. Otherwise the error is ErrMissing, or an *IntegrityError and
// the file is removed.
func (s *Store) Check(ctx context.Context, ref artifact.Ref) (artifact.Ref, error) {
	name, err := parsePath(ref.Path)
	if err != nil {
		return artifact.Ref{}, err
	}
	want, err := artifact.ParseDigest(string(ref.Digest))
	if err != nil {
		return artifact.Ref{}, err
	}
	got, size, err := s.digest(ctx, name, want)
	if errors.Is(err, ErrMissing) {
		return artifact.Ref{}, errors.Join(err, s.tidy(want))
	}
	if err != nil {
		return artifact.Ref{}, err
	}
	if got != want {
		return artifact.Ref{}, errors.Join(&IntegrityError{Path: ref.Path, Want: want, Got: got}, s.discard(name))
	}
	ref.URL = s.URL(ref.Path)
	ref.Size = size
	ref.Metadata = maps.Clone(ref.Metadata)
	return ref, nil
}

// tidy removes the blob of a digest if somebody else has removed its last name.
func (s *Store) tidy(digest artifact.Digest) error {
	unlock, err := s.locked()
	if err != nil {
		return err
	}
	defer unlock()
	return s.dropUnnamed(digest)
}

// digest returns the digest of a stored file, reading it if it is not known.
func (s *Store) digest(ctx context.Context, name Name, want artifact.Digest) (artifact.Digest, int64, error) {
	f, err := os.Open(s.file(name.Path()))
	if errors.Is(err, fs.ErrNotExist) {
		return "", 0, fmt.Errorf("%w: '%s'", ErrMissing, name.Path())
	}
	if err != nil {
		return "", 0, err
	}
	defer f.Close() //nolint:errcheck // read only
	info, err := f.Stat()
	if err != nil {
		return "", 0, err
	}
	s.mu.Lock()
	known := s.known[idOf(info)]
	s.mu.Unlock()
	if known.verified && known.digest == want {
		return want, info.Size(), nil
	}
	got, err := hashFile(ctx, f, want.Algorithm())
	if err != nil {
		return "", 0, err
	}
	if got == want {
		s.mu.Lock()
		s.known[idOf(info)] = knownFile{digest: got, verified: true}
		s.mu.Unlock()
	}
	return got, info.Size(), nil
}
