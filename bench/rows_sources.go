package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/gitops-toolkit/flux/internal/artifact"
	"github.com/gitops-toolkit/flux/internal/artifact/archive"
	"github.com/gitops-toolkit/flux/internal/artifact/cache"
	"github.com/gitops-toolkit/flux/internal/charts/index/indextest"
)

// Rows about the other sources, and the cache of artifacts.
func init() {
	rows = append(rows,
		row{"100 GitRepositories on one repository of 10,000 files, 100 MB", "a clone for each", "one mirror; a push is fetched once, and costs kilobytes, ≤ 5 s CPU for all, ≤ 64 MiB above idle", hundredOfOne},
		row{"1,000 sources at a host that never answers, 10 healthy ones", "the dead take all workers in turn", "the healthy keep their intervals", deadHost},
		row{"OCIRepository poll, unchanged tag", "1 HEAD and status patches", "1 HEAD, 0 API writes", ociPoll},
		row{"Bucket of 2,000 objects at an S3 server", "listed twice, and all fetched again after a change", "unchanged: one listing, 0 objects, 0 API writes; one changed: 1 object", bucketPoll},
		row{"artifact cache: 100 consumers of one artifact of 100 MB", "100 downloads, 100 unpacks", "1 download, 1 unpack", artifactCache},
	)
}

var (
	ociRepositories = schema.GroupVersionResource{Group: fluxURL, Version: "v1", Resource: "ocirepositories"}
	buckets         = schema.GroupVersionResource{Group: fluxURL, Version: "v1", Resource: "buckets"}
)

// blobs is a fetcher of one artifact that counts.
type blobs struct {
	data      []byte
	downloads atomic.Int64
}

// Fetch writes the artifact.
func (b *blobs) Fetch(_ context.Context, _ artifact.Ref, f *os.File) error {
	b.downloads.Add(1)
	_, err := f.Write(b.data)
	return err
}

func artifactCache(ctx context.Context, w *world) ([]figure, error) {
	files := map[string]string{}
	for i := range 10_000 {
		files[fmt.Sprintf("data/d%d/f%d.txt", i/100, i)] = noise(i, 10<<10)
	}
	data, err := pack(ctx, files)
	if err != nil {
		return nil, err
	}
	files = nil
	source := &blobs{data: data}
	trees, err := cache.Open(cache.Options{Dir: w.dir + "/cache", Fetcher: source})
	if err != nil {
		return nil, err
	}
	defer trees.Close() //nolint:errcheck // thrown away
	ref := artifact.Ref{Path: "x", URL: "http://x/x", Revision: "x", Digest: artifact.DigestOf(artifact.SHA256, data), Size: int64(len(data))}
	var failed error
	var once sync.Once
	began := time.Now()
	peak := indextest.Peak(func() {
		var group sync.WaitGroup
		for range 100 {
			group.Go(func() {
				tree, err := trees.Acquire(ctx, ref)
				if err != nil {
					once.Do(func() { failed = err })
					return
				}
				_ = tree.Digest("data/d7")
				tree.Release()
			})
		}
		group.Wait()
	})
	return []figure{
		{"downloads", float64(source.downloads.Load()), 1, "downloads", fmt.Sprintf("%.0f MiB packed, 10,000 files", float64(len(data))/(1<<20))},
		{"until all 100 have it", time.Since(began).Seconds(), -1, "s", ""},
		{"peak heap", float64(peak) / (1 << 20), 64, "MiB", ""},
	}, failed
}

// pack makes an archive of files.
func pack(ctx context.Context, files map[string]string) ([]byte, error) {
	tree := archive.NewListTree()
	for path, data := range files {
		err := tree.Add(path, archive.ListFile{Size: int64(len(data)), ID: path, Open: func() (io.ReadCloser, error) { return io.NopCloser(strings.NewReader(data)), nil }})
		if err != nil {
			return nil, err
		}
	}
	var b bytes.Buffer
	_, err := archive.NewBuilder(archive.Options{}).Write(ctx, &b, tree, archive.Ignore{Nothing: true})
	return b.Bytes(), err
}
