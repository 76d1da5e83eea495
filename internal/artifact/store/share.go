package store

import (
	"errors"
	"maps"
	"os"
	"time"

	"github.com/gitops-toolkit/flux/internal/artifact"
)

// Share gives content that is stored already another name, and returns the reference to advertise. found is false if
// there is none of this digest, or it is damaged; then nothing changes.
func (s *Store) Share(name Name, digest artifact.Digest, revision string, metadata map[string]string) (ref artifact.Ref, found bool, err error) {
	if err := name.validate(); err != nil {
		return ref, false, err
	}
	unlock, err := s.locked()
	if err != nil {
		return ref, false, err
	}
	defer unlock()
	blob, now := s.blob(digest), s.opts.Now()
	if !s.whole(blob, digest) {
		return ref, false, nil
	}
	s.forget(blob)
	err = errors.Join(os.Chtimes(blob, time.Time{}, now), s.know(blob, digest))
	if err == nil {
		err = s.nameBlob(digest, name)
	}
	if err != nil {
		return ref, false, explain(name, err)
	}
	s.stored[name.Path()] = now
	info, err := os.Stat(blob)
	if err != nil {
		return ref, false, explain(name, err)
	}
	return artifact.Ref{
		Path: name.Path(), URL: s.URL(name.Path()), Revision: revision, Digest: digest, Size: info.Size(),
		LastUpdateTime: now.UTC().Truncate(time.Second), Metadata: maps.Clone(metadata),
	}, true, nil
}
