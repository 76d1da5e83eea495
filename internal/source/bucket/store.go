package bucket

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"strings"
	"sync"

	"golang.org/x/sync/errgroup"

	sourcev1 "github.com/gitops-toolkit/flux/api/source/v1"
	"github.com/gitops-toolkit/flux/internal/artifact/archive"
	"github.com/gitops-toolkit/flux/internal/artifact/ignore"
	"github.com/gitops-toolkit/flux/internal/source/attempt"
)

const (
	// downloads is how many objects are fetched at once.
	downloads = 32
	// maxBytes bounds what is fetched of one bucket.
	maxBytes = 16 << 30
)

// shelf is where the artifacts of a Bucket stand.
func (c *controller) shelf(obj *sourcev1.Bucket) attempt.Shelf {
	return attempt.Shelf{Store: c.Artifacts, Kind: "bucket", Namespace: obj.Namespace, Name: obj.Name, Link: "latest.tar.gz"}
}

// mirrorDir is where the objects of a Bucket are kept.
func (c *controller) mirrorDir(obj *sourcev1.Bucket) string {
	return filepath.Join(c.Mirrors, obj.Namespace, obj.Name)
}

func (p *poll) openMirror() (*mirror, *attempt.Failure) {
	spec := p.obj.Spec
	place := sha256.Sum256(fmt.Appendf(nil, "%q %q %q %t", provider(p.obj), spec.Endpoint, spec.BucketName, spec.Insecure))
	m, err := openMirror(p.mirrorDir(p.obj), hex.EncodeToString(place[:]))
	if err != nil {
		return nil, attempt.Storage(sourcev1.DirectoryCreationFailedReason, fmt.Errorf("failed to open the directory of fetched objects: %w", err))
	}
	return m, nil
}

// fetched is an object with its content.
type fetched struct {
	object
	kept
}

// take fetches what the mirror lacks, and stores the artifact.
func (p *poll) take(ctx context.Context, remote storage, objects []object, file *patterns, f *found) *attempt.Failure {
	limited, cancel := context.WithTimeout(ctx, p.obj.GetTimeout())
	defer cancel()
	got, err := p.fetch(limited, remote, objects)
	if err != nil {
		return p.fetchFailed(err)
	}
	tree, err := p.tree(got, file)
	if err != nil {
		return attempt.Fetch(sourcev1.BucketOperationFailedReason, fmt.Errorf("fetch from bucket '%s' failed: %w; rename the object, or leave it out with spec.ignore", p.obj.Spec.BucketName, err))
	}
	objects = objects[:0]
	keys := map[string]bool{ignore.FileName: file != nil}
	for _, g := range got {
		objects = append(objects, g.object)
		keys[g.Key] = true
	}
	f.revision, f.objects = revisionOf(p.algorithm(), objects), len(got)
	if fail := p.store(ctx, tree, f); fail != nil {
		return fail
	}
	if err := p.mirror.save(keys); err != nil {
		return unstored("failed to keep the fetched objects", err)
	}
	return nil
}

// fetch returns all objects with their content, in the order of the listing. Those that have vanished since are left out,
// those that have changed have the etag of what was fetched.
func (p *poll) fetch(ctx context.Context, remote storage, objects []object) ([]fetched, error) {
	all := make([]*fetched, len(objects))
	var size budget
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(downloads)
	for i, o := range objects {
		if k, found := p.mirror.have(o.Key, o.ETag); found {
			all[i] = &fetched{o, k}
			continue
		}
		group.Go(func() error {
			if err := ctx.Err(); err != nil {
				return err
			}
			one, err := p.fetchOne(ctx, remote, o, &size)
			all[i] = one
			return err
		})
	}
	if err := group.Wait(); err != nil {
		return nil, err
	}
	var got []fetched
	for _, one := range all {
		if one != nil {
			got = append(got, *one)
		}
	}
	return got, nil
}

func (p *poll) fetchOne(ctx context.Context, remote storage, o object, size *budget) (_ *fetched, err error) {
	body, etag, err := remote.open(ctx, o)
	if errors.Is(err, errGone) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("failed to get '%s' object: %w", o.Key, err)
	}
	defer func() { err = errors.Join(err, body.Close()) }()
	k, err := p.mirror.put(o.Key, etag, &counted{body, size})
	if err != nil {
		return nil, fmt.Errorf("failed to get '%s' object: %w", o.Key, err)
	}
	o.ETag = etag
	return &fetched{o, k}, nil
}

// budget counts the bytes of all objects together.
type budget struct {
	mu   sync.Mutex
	used int64
}

func (b *budget) take(n int) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.used += int64(n); b.used > maxBytes {
		return fmt.Errorf("%w: the objects have more than %d bytes", archive.ErrLimit, int64(maxBytes))
	}
	return nil
}

type counted struct {
	io.Reader
	size *budget
}

func (c *counted) Read(p []byte) (int, error) {
	n, err := c.Reader.Read(p)
	if over := c.size.take(n); over != nil {
		return n, over
	}
	return n, err
}

// tree lays the objects out as files.
func (p *poll) tree(got []fetched, file *patterns) (*archive.ListTree, error) {
	tree := archive.NewListTree()
	add := func(key string, k kept) error {
		name, err := archive.CleanPath(key)
		if err != nil {
			return err
		}
		return tree.Add(name, archive.ListFile{Size: k.Size, ID: k.SHA256, Open: func() (io.ReadCloser, error) { return p.mirror.open(k) }})
	}
	if file != nil {
		if err := add(ignore.FileName, file.kept); err != nil {
			return nil, err
		}
	}
	for _, g := range got {
		if err := add(g.Key, g.kept); err != nil {
			return nil, err
		}
	}
	return tree, nil
}

// store archives the files. A mirror that turns out to be damaged is dropped; the next attempt fetches everything.
func (p *poll) store(ctx context.Context, tree *archive.ListTree, f *found) *attempt.Failure {
	_, hex, _ := strings.Cut(f.revision, ":")
	err := p.shelf(p.obj).Put(ctx, hex+".tar.gz", f.revision, nil, &f.Found, func(w io.Writer) error {
		_, err := p.Archives.Write(ctx, w, tree, archive.Ignore{Nothing: true})
		return err
	})
	if errors.Is(err, errDamaged) {
		err = errors.Join(err, p.mirror.remove())
	}
	if err != nil {
		return unstored(attempt.Archived, err)
	}
	return nil
}

// unstored is the failure to keep something.
func unstored(doing string, err error) *attempt.Failure {
	if errors.Is(err, errDamaged) {
		return attempt.Storage(sourcev1.ArchiveOperationFailedReason, fmt.Errorf("%s: %w; they are fetched again", doing, err))
	}
	return attempt.Unstored(doing, err)
}
