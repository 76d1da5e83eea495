package store

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path"
	"path/filepath"
	"syscall"
	"time"

	"github.com/gitops-toolkit/flux/internal/artifact"
)

// Put stores what write writes under a name and returns the reference to advertise. An older file of
// the same name is replaced at once and as a whole. If write fails, nothing changes.
func (s *Store) Put(ctx context.Context, name Name, revision string, metadata map[string]string, write func(io.Writer) error) (artifact.Ref, error) {
	if err := name.validate(); err != nil {
		return artifact.Ref{}, err
	}
	if err := os.MkdirAll(s.file(name.Dir()), dirMode); err != nil {
		return artifact.Ref{}, explain(name, fmt.Errorf("%w: %w", ErrDirectory, err))
	}
	temp, digest, size, err := s.write(ctx, write)
	if err != nil {
		return artifact.Ref{}, explain(name, err)
	}
	now := s.opts.Now()
	if err := s.publish(temp, digest, name, now); err != nil {
		return artifact.Ref{}, explain(name, errors.Join(err, removeIfThere(temp)))
	}
	return artifact.Ref{
		Path:           name.Path(),
		URL:            s.URL(name.Path()),
		Revision:       revision,
		Digest:         digest,
		Size:           size,
		LastUpdateTime: now.UTC().Truncate(time.Second),
		Metadata:       maps.Clone(metadata),
	}, nil
}

// explain names the artifact, and tells what to do about a full volume.
func explain(name Name, err error) error {
	if errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) {
		return fmt.Errorf("cannot store artifact '%s': %w; enlarge the volume or lower --artifact-retention-records and --artifact-retention-ttl: %w", name.Path(), ErrFull, err)
	}
	return fmt.Errorf("cannot store artifact '%s': %w", name.Path(), err)
}

// write writes content aside and syncs it.
func (s *Store) write(ctx context.Context, write func(io.Writer) error) (temp string, digest artifact.Digest, size int64, err error) {
	f, err := s.temp.create()
	if err != nil {
		return "", "", 0, err
	}
	digest, size, err = s.fill(ctx, f, write)
	if err = errors.Join(err, f.Close()); err != nil {
		return "", "", 0, errors.Join(err, removeIfThere(f.Name()))
	}
	return f.Name(), digest, size, nil
}

func (s *Store) fill(ctx context.Context, f *os.File, write func(io.Writer) error) (artifact.Digest, int64, error) {
	if err := s.at("temp created"); err != nil {
		return "", 0, err
	}
	h := s.opts.Algorithm.New()
	buffered := bufio.NewWriterSize(f, 1<<16)
	if err := write(&contextWriter{ctx, io.MultiWriter(buffered, h)}); err != nil {
		return "", 0, err
	}
	if err := s.at("content written"); err != nil {
		return "", 0, err
	}
	if err := errors.Join(buffered.Flush(), f.Sync()); err != nil {
		return "", 0, err
	}
	info, err := f.Stat()
	if err != nil {
		return "", 0, err
	}
	return artifact.NewDigest(s.opts.Algorithm, h), info.Size(), s.at("content synced")
}

// contextWriter ends a long write when the context ends.
type contextWriter struct {
	ctx context.Context
	w   io.Writer
}

func (w *contextWriter) Write(p []byte) (int, error) {
	if err := w.ctx.Err(); err != nil {
		return 0, err
	}
	return w.w.Write(p)
}

// publish makes the file temp the blob of its digest, unless there is one, and gives it a name.
func (s *Store) publish(temp string, digest artifact.Digest, name Name, now time.Time) error {
	unlock, err := s.locked()
	if err != nil {
		return err
	}
	defer unlock()
	if err := s.keepBlob(temp, digest, now); err != nil {
		return err
	}
	err = s.at("blob stored")
	if err == nil {
		err = s.nameBlob(digest, name)
	}
	// unnamed after an error, or because the file system has no hard links
	if cleanup := s.dropUnnamed(digest); err != nil || cleanup != nil {
		return errors.Join(err, cleanup)
	}
	s.stored[name.Path()] = now
	return s.at("named")
}

// keepBlob moves temp to the blob of this digest. A blob that is there already and whole is kept,
// so that its other names share it.
func (s *Store) keepBlob(temp string, digest artifact.Digest, now time.Time) error {
	blob := s.blob(digest)
	if s.whole(blob, digest) {
		s.forget(blob)
		if err := os.Chtimes(blob, time.Time{}, now); err != nil {
			return err
		}
		return errors.Join(s.know(blob, digest), os.Remove(temp))
	}
	if err := os.MkdirAll(filepath.Dir(blob), dirMode); err != nil {
		return err
	}
	if err := errors.Join(os.Chtimes(temp, time.Time{}, now), os.Rename(temp, blob)); err != nil {
		return err
	}
	return errors.Join(s.know(blob, digest), syncDir(filepath.Dir(blob)))
}

// whole reports whether there is a blob of this digest, and its content is right.
func (s *Store) whole(blob string, digest artifact.Digest) bool {
	f, err := os.Open(blob)
	if err != nil {
		return false
	}
	defer f.Close() //nolint:errcheck // read only
	info, err := f.Stat()
	if err != nil {
		return false
	}
	if known := s.known[idOf(info)]; known.verified && known.digest == digest {
		return true
	}
	got, err := hashFile(context.Background(), f, digest.Algorithm())
	return err == nil && got == digest
}

// know registers a file as verified.
func (s *Store) know(file string, digest artifact.Digest) error {
	info, err := os.Stat(file)
	if err != nil {
		return err
	}
	s.known[idOf(info)] = knownFile{digest: digest, verified: true}
	return nil
}

// forget drops what is known of a file that is about to change.
func (s *Store) forget(file string) {
	if info, err := os.Stat(file); err == nil {
		delete(s.known, idOf(info))
	}
}

// nameBlob makes name a link to the blob of this digest.
func (s *Store) nameBlob(digest artifact.Digest, name Name) error {
	blob, file := s.blob(digest), s.file(name.Path())
	previous, err := os.Stat(file)
	if err == nil && sameFile(previous, blob) {
		return nil
	}
	had := err == nil
	// the directory may have gone with a deletion meanwhile
	if err := os.MkdirAll(filepath.Dir(file), dirMode); err != nil {
		return fmt.Errorf("%w: %w", ErrDirectory, err)
	}
	temp, err := s.temp.link(blob)
	if err != nil {
		return err
	}
	if err := s.at("link created"); err != nil {
		return errors.Join(err, os.Remove(temp))
	}
	if err := os.Rename(temp, file); err != nil {
		return errors.Join(err, os.Remove(temp))
	}
	if err := s.at("link renamed"); err != nil {
		return err
	}
	if err := s.know(file, digest); err != nil {
		return err
	}
	if had {
		return errors.Join(s.dropBlob(previous), syncDir(filepath.Dir(file)))
	}
	return errors.Join(syncDir(filepath.Dir(file)), s.syncParents(name))
}

// syncParents makes the directories above an object's own last.
func (s *Store) syncParents(name Name) error {
	return errors.Join(
		syncDir(s.file(path.Join(name.Kind, name.Namespace))),
		syncDir(s.file(name.Kind)),
		syncDir(s.opts.Root),
	)
}

// Link makes a stable name beside an artifact, such as latest.tar.gz, lead to it and returns the
// address of that name.
func (s *Store) Link(ref artifact.Ref, file string) (string, error) {
	target, err := parsePath(ref.Path)
	if err != nil {
		return "", err
	}
	link := target
	link.File = file
	if err := link.validate(); err != nil {
		return "", err
	}
	unlock, err := s.locked()
	if err != nil {
		return "", err
	}
	defer unlock()
	if old, err := os.Readlink(s.file(link.Path())); err == nil && old == s.file(target.Path()) {
		return s.URL(link.Path()), nil
	}
	temp := s.temp.next()
	if err := os.Symlink(s.file(target.Path()), temp); err != nil {
		return "", explain(link, err)
	}
	if err := s.at("symlink created"); err != nil {
		return "", errors.Join(err, os.Remove(temp))
	}
	if err := os.Rename(temp, s.file(link.Path())); err != nil {
		return "", explain(link, errors.Join(err, os.Remove(temp)))
	}
	return s.URL(link.Path()), s.at("symlink renamed")
}

// hashFile reads a file from its start.
func hashFile(ctx context.Context, f io.ReadSeeker, a artifact.Algorithm) (artifact.Digest, error) {
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		return "", err
	}
	h := a.New()
	if _, err := io.Copy(&contextWriter{ctx, h}, f); err != nil {
		return "", err
	}
	return artifact.NewDigest(a, h), nil
}

func removeIfThere(file string) error {
	if err := os.Remove(file); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

func sameFile(info fs.FileInfo, file string) bool {
	other, err := os.Stat(file)
	return err == nil && os.SameFile(info, other)
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
