package store

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/gitops-toolkit/flux/internal/artifact"
)

const (
	collectTimeout = 5 * time.Second
	collectFiles   = 1000
)

// Collect removes artifacts of the object that advertises current: those whose successor is older
// than the retention time, and the oldest of those above the retention count. It never removes
// current nor a file that is being served. It returns the paths that it removed. At most five
// seconds are spent and a thousand files removed; the rest is for the next time.
func (s *Store) Collect(ctx context.Context, current artifact.Ref) ([]string, error) {
	name, err := parsePath(current.Path)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, collectTimeout)
	defer cancel()
	unlock, err := s.locked()
	if err != nil {
		return nil, err
	}
	defer unlock()
	records, err := s.records(name)
	if err != nil {
		return nil, err
	}
	var removed []string
	for _, n := range s.garbage(records, name) {
		if err := ctx.Err(); err != nil {
			return removed, fmt.Errorf("garbage collection of '%s' did not finish: %w", name.Dir(), err)
		}
		if err := s.remove(n); err != nil {
			return removed, fmt.Errorf("garbage collection of '%s': %w", n.Path(), err)
		}
		removed = append(removed, n.Path())
	}
	return removed, nil
}

// stored is an artifact file with the time at which it was stored.
type storedFile struct {
	name Name
	at   time.Time
}

// records lists the artifacts in the directory of an object, the newest first.
func (s *Store) records(object Name) ([]storedFile, error) {
	entries, err := os.ReadDir(s.file(object.Dir()))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var records []storedFile
	for _, e := range entries {
		if !e.Type().IsRegular() || !validFile(e.Name()) {
			continue
		}
		n := object
		n.File = e.Name()
		at, found := s.stored[n.Path()]
		if !found {
			info, err := e.Info()
			if err != nil {
				continue // gone since
			}
			at = info.ModTime()
		}
		records = append(records, storedFile{n, at})
	}
	slices.SortStableFunc(records, func(a, b storedFile) int { return b.at.Compare(a.at) })
	return records, nil
}

// garbage decides which records may go, the oldest first.
func (s *Store) garbage(records []storedFile, current Name) []Name {
	i := slices.IndexFunc(records, func(r storedFile) bool { return r.name == current })
	if i < 0 {
		return nil // without the advertised artifact every other may still be wanted
	}
	replaced := records[i].at
	old := slices.Delete(slices.Clone(records), i, i+1)
	var garbage []Name
	for i, r := range old {
		if r.at.After(replaced) { // stored later, but it is not what is advertised
			replaced = r.at
		}
		expired := s.opts.Now().Sub(replaced) > s.opts.RetentionTTL
		if (expired || i+1 >= s.opts.RetentionRecords) && s.served[r.name.Path()] == 0 {
			garbage = append(garbage, r.name)
		}
		replaced = r.at
	}
	slices.Reverse(garbage)
	return garbage[:min(len(garbage), collectFiles)]
}

// remove removes a name, the lock file that upstream left for it, and the blob if that was its last
// name.
func (s *Store) remove(n Name) error {
	file := s.file(n.Path())
	info, err := os.Lstat(file)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	if err := errors.Join(os.Remove(file), removeIfThere(file+lockSuffix)); err != nil {
		return err
	}
	delete(s.stored, n.Path())
	err = s.at("name removed")
	return errors.Join(err, s.dropBlob(info))
}

// dropBlob removes the blob that is the file described, if no name but its own is left.
func (s *Store) dropBlob(info fs.FileInfo) error {
	known, found := s.known[idOf(info)]
	if !found {
		return nil
	}
	now, err := os.Stat(s.blob(known.digest))
	if err != nil || !os.SameFile(info, now) {
		delete(s.known, idOf(info))
		return nil
	}
	if links(now) > 1 {
		return nil
	}
	delete(s.known, idOf(info))
	return errors.Join(removeIfThere(s.blob(known.digest)), s.at("blob removed"))
}

// dropUnnamed removes the blob of this digest if it has no other name.
func (s *Store) dropUnnamed(digest artifact.Digest) error {
	info, err := os.Stat(s.blob(digest))
	if err != nil || links(info) > 1 {
		return nil
	}
	delete(s.known, idOf(info))
	return removeIfThere(s.blob(digest))
}

// discard removes a file that is not what its digest says, and its blob, so that nobody gets it
// again.
func (s *Store) discard(name Name) error {
	unlock, err := s.locked()
	if err != nil {
		return err
	}
	defer unlock()
	info, err := os.Lstat(s.file(name.Path()))
	if err != nil {
		return err
	}
	if known, found := s.known[idOf(info)]; found && sameFile(info, s.blob(known.digest)) {
		if err := removeIfThere(s.blob(known.digest)); err != nil {
			return err
		}
	}
	return s.remove(name)
}

// Delete removes all artifacts of an object and returns how many there were.
func (s *Store) Delete(ctx context.Context, kind, namespace, name string) (int, error) {
	object := Name{Kind: kind, Namespace: namespace, Name: name}
	if !validObject([]string{kind, namespace, name}) {
		return 0, fmt.Errorf("%w: %q", ErrName, object.Dir())
	}
	unlock, err := s.locked()
	if err != nil {
		return 0, err
	}
	defer unlock()
	dir := s.file(object.Dir())
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	removed := 0
	for _, e := range entries {
		if err := ctx.Err(); err != nil {
			return removed, fmt.Errorf("deletion of '%s' did not finish: %w", object.Dir(), err)
		}
		object.File = e.Name()
		if e.IsDir() || strings.HasSuffix(e.Name(), lockSuffix) {
			continue
		}
		if err := s.remove(object); err != nil {
			return removed, fmt.Errorf("deletion of '%s': %w", object.Path(), err)
		}
		if e.Type().IsRegular() {
			removed++
		}
	}
	return removed, s.removeDir(object)
}

// removeDir removes what is left of an object's directory, and the namespace's and kind's if they
// are empty.
func (s *Store) removeDir(object Name) error {
	dir := s.file(object.Dir())
	if err := os.RemoveAll(dir); err != nil {
		return err
	}
	for range 2 {
		dir = filepath.Dir(dir)
		if os.Remove(dir) != nil {
			return nil // others live there
		}
	}
	return nil
}
