package attempt

import (
	"context"
	"io"
	"sync"

	"github.com/gitops-toolkit/flux/internal/artifact"
	"github.com/gitops-toolkit/flux/internal/artifact/store"
)

// Once remembers what content came to as an artifact, so that of many objects that want the same only the first makes it.
// The zero value remembers nothing yet.
type Once struct {
	mu   sync.Mutex
	made map[string]*maker
}

// maxOnce bounds what is remembered.
const maxOnce = 4096

// maker is one content. Whoever holds turn makes it, or finds what was made.
type maker struct {
	turn   chan struct{}
	digest artifact.Digest
}

// take waits for the turn at a content.
func (o *Once) take(ctx context.Context, key string) (*maker, error) {
	o.mu.Lock()
	m := o.made[key]
	if m == nil {
		if o.made == nil || len(o.made) >= maxOnce {
			o.made = map[string]*maker{}
		}
		m = &maker{turn: make(chan struct{}, 1)}
		o.made[key] = m
	}
	o.mu.Unlock()
	select {
	case m.turn <- struct{}{}:
		return m, nil
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}

// PutOnce is Put for content that key names, whoever wants it; "" is content without a name.
func (s Shelf) PutOnce(ctx context.Context, once *Once, key, file, revision string, metadata map[string]string, f *Found, write func(io.Writer) error) error {
	if key == "" {
		return s.Put(ctx, file, revision, metadata, f, write)
	}
	m, err := once.take(ctx, key)
	if err != nil {
		return err
	}
	defer func() { <-m.turn }()
	if m.digest != "" {
		name := store.Name{Kind: s.Kind, Namespace: s.Namespace, Name: s.Name, File: file}
		ref, found, err := s.Store.Share(name, m.digest, revision, metadata)
		if err != nil {
			return err
		}
		if found {
			f.Artifact, f.Stored = ref.Status(), true
			return nil
		}
	}
	if err := s.Put(ctx, file, revision, metadata, f, write); err != nil {
		return err
	}
	m.digest = artifact.Digest(f.Artifact.Digest)
	return nil
}
