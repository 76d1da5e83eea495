// Package charts loads Helm charts from artifacts and keeps them parsed: once per digest for the process, within a
// bound of bytes. What it hands out is a copy that an action may change, as Helm's actions do.
package charts

import (
	"bytes"
	"container/list"
	"context"
	"fmt"
	"maps"
	"os"
	"strings"
	"sync"

	"golang.org/x/sync/singleflight"
	"helm.sh/helm/v4/pkg/chart/common"
	chart "helm.sh/helm/v4/pkg/chart/v2"

	"github.com/gitops-toolkit/flux/internal/artifact"
)

// Fetcher downloads an artifact into a file and verifies its digest.
type Fetcher interface {
	Fetch(ctx context.Context, ref artifact.Ref, f *os.File) error
}

// DefaultBytes bounds the parsed charts that are kept.
const DefaultBytes = 32 << 20

// Cache keeps parsed charts by the digest of their artifact; the least recently used goes first. It is safe for
// concurrent use.
type Cache struct {
	fetcher Fetcher
	bound   int64
	flight  singleflight.Group

	mu     sync.Mutex
	size   int64
	order  list.List
	byKey  map[artifact.Digest]*list.Element
	parsed int // for tests: how often a chart was parsed
}

type entry struct {
	key   artifact.Digest
	chart *chart.Chart
	bytes int64
}

// NewCache returns a cache that fetches with f and keeps at most bound bytes, DefaultBytes when bound is 0.
func NewCache(f Fetcher, bound int64) *Cache {
	if bound <= 0 {
		bound = DefaultBytes
	}
	return &Cache{fetcher: f, bound: bound, byKey: map[artifact.Digest]*list.Element{}}
}

// Load returns the chart of an artifact. The chart is the caller's: changing it changes nothing here.
func (c *Cache) Load(ctx context.Context, ref artifact.Ref) (*chart.Chart, error) {
	if got := c.lookup(ref.Digest); got != nil {
		return Clone(got), nil
	}
	ch := c.flight.DoChan(string(ref.Digest), func() (any, error) {
		if got := c.lookup(ref.Digest); got != nil {
			return got, nil
		}
		return c.load(context.WithoutCancel(ctx), ref)
	})
	select {
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	case r := <-ch:
		if r.Err != nil {
			return nil, r.Err
		}
		return Clone(r.Val.(*chart.Chart)), nil
	}
}

// Parsed tells how many charts were parsed since the cache was made.
func (c *Cache) Parsed() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.parsed
}

func (c *Cache) lookup(key artifact.Digest) *chart.Chart {
	c.mu.Lock()
	defer c.mu.Unlock()
	e, ok := c.byKey[key]
	if !ok {
		return nil
	}
	c.order.MoveToFront(e)
	return e.Value.(entry).chart
}

func (c *Cache) load(ctx context.Context, ref artifact.Ref) (*chart.Chart, error) {
	f, err := os.CreateTemp("", "chart-*.tgz")
	if err != nil {
		return nil, err
	}
	defer func() {
		_ = f.Close()
		_ = os.Remove(f.Name())
	}()
	if err := c.fetcher.Fetch(ctx, ref, f); err != nil {
		return nil, err
	}
	content, err := os.ReadFile(f.Name())
	if err != nil {
		return nil, err
	}
	loaded, err := Parse(content)
	if err != nil {
		return nil, &ParseError{Err: err}
	}
	c.keep(ref.Digest, loaded)
	return loaded, nil
}

// ParseError says that an artifact was fetched but holds no valid chart: trying again does not help.
type ParseError struct{ Err error }

// Error returns what Helm says about the chart.
func (e *ParseError) Error() string { return e.Err.Error() }

// Unwrap returns the cause.
func (e *ParseError) Unwrap() error { return e.Err }

func (c *Cache) keep(key artifact.Digest, loaded *chart.Chart) {
	size := weigh(loaded)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.parsed++
	if c.byKey[key] != nil {
		return
	}
	c.byKey[key] = c.order.PushFront(entry{key, loaded, size})
	c.size += size
	for c.size > c.bound && c.order.Len() > 0 {
		last := c.order.Back()
		old := last.Value.(entry)
		c.order.Remove(last)
		delete(c.byKey, old.key)
		c.size -= old.bytes
	}
}

// weigh estimates the bytes of a parsed chart.
func weigh(c *chart.Chart) int64 {
	size := int64(4096 + 2*len(c.Schema))
	for _, files := range [][]*common.File{c.Templates, c.Files} {
		for _, f := range files {
			size += int64(len(f.Data) + len(f.Name) + 64)
		}
	}
	size += weighValue(c.Values)
	for _, d := range c.Dependencies() {
		size += weigh(d)
	}
	return size
}

func weighValue(v any) int64 {
	size := int64(48)
	switch v := v.(type) {
	case string:
		size += int64(len(v))
	case []any:
		for _, item := range v {
			size += weighValue(item)
		}
	case map[string]any:
		for k, item := range v {
			size += int64(len(k)) + weighValue(item)
		}
	}
	return size
}

// Clone copies what Helm's actions change: metadata, values, the tree of dependencies. Files are shared.
func Clone(c *chart.Chart) *chart.Chart {
	out := &chart.Chart{
		Lock: c.Lock, Templates: c.Templates, Schema: c.Schema, SchemaModTime: c.SchemaModTime, Files: c.Files, ModTime: c.ModTime,
	}
	out.Templates = append([]*common.File(nil), c.Templates...)
	out.Files = append([]*common.File(nil), c.Files...)
	if c.Metadata != nil {
		m := *c.Metadata
		m.Annotations = maps.Clone(c.Metadata.Annotations)
		m.Dependencies = make([]*chart.Dependency, len(c.Metadata.Dependencies))
		for i, d := range c.Metadata.Dependencies {
			if d != nil {
				copied := *d
				m.Dependencies[i] = &copied
			}
		}
		if c.Metadata.Dependencies == nil {
			m.Dependencies = nil
		}
		out.Metadata = &m
	}
	if c.Values != nil {
		out.Values, _ = copyValue(c.Values).(map[string]any)
	}
	for _, d := range c.Dependencies() {
		out.AddDependency(Clone(d))
	}
	return out
}

func copyValue(v any) any {
	switch v := v.(type) {
	case map[string]any:
		if v == nil {
			return v
		}
		out := make(map[string]any, len(v))
		for k, item := range v {
			out[k] = copyValue(item)
		}
		return out
	case []any:
		out := make([]any, len(v))
		for i, item := range v {
			out[i] = copyValue(item)
		}
		return out
	}
	return v
}

// SetVersion marks a chart from a registry with the digest of its artifact. The tag of the revision must be the version
// of the chart, if it is a version at all; the digest becomes build metadata, unless track is false.
func SetVersion(c *chart.Chart, revision string, track bool) (digest string, err error) {
	tag, digest := splitRevision(revision)
	version, err := parseVersion(c.Metadata.Version)
	if err != nil {
		return "", fmt.Errorf("chart version %q: %w", c.Metadata.Version, err)
	}
	if wanted, err := parseVersion(strings.ReplaceAll(tag, "_", "+")); err == nil && tag != "" && wanted.String() != version.String() {
		return "", fmt.Errorf("artifact revision %s does not match chart version %s", tag, c.Metadata.Version)
	}
	_, sum, _ := strings.Cut(digest, ":")
	if !track || sum == "" {
		return digest, nil
	}
	marked, err := version.SetMetadata(sum[:min(12, len(sum))])
	if err != nil {
		return "", fmt.Errorf("mark chart version %s with digest %s: %w", c.Metadata.Version, digest, err)
	}
	c.Metadata.Version = marked.String()
	return digest, nil
}

// splitRevision takes <tag>@<algorithm>:<hex> apart; the tag may be missing.
func splitRevision(revision string) (tag, digest string) {
	if tag, digest, ok := strings.Cut(revision, "@"); ok {
		return tag, digest
	}
	return "", revision
}

// Parse reads a chart from an archive. Charts stand in a directory of any name; in artifacts made from a directory they
// may also stand at the root.
func Parse(content []byte) (*chart.Chart, error) {
	c, err := parseArchive(content)
	if err != nil {
		return nil, err
	}
	drop(c)
	return c, nil
}

// drop forgets the raw files of a chart, which are all of its content a second time.
func drop(c *chart.Chart) {
	c.Raw = nil
	for _, d := range c.Dependencies() {
		drop(d)
	}
}

func isGzip(content []byte) bool { return bytes.HasPrefix(content, []byte{0x1f, 0x8b, 0x08}) }
