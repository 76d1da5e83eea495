package helmchart

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"

	"github.com/gitops-toolkit/flux/api/meta"
	sourcev1 "github.com/gitops-toolkit/flux/api/source/v1"
	"github.com/gitops-toolkit/flux/internal/artifact"
	"github.com/gitops-toolkit/flux/internal/artifact/fetch"
	"github.com/gitops-toolkit/flux/internal/charts/chart"
	"github.com/gitops-toolkit/flux/internal/charts/index"
	"github.com/gitops-toolkit/flux/internal/charts/repo"
	"github.com/gitops-toolkit/flux/internal/source/attempt"
	"github.com/gitops-toolkit/flux/internal/source/helmaccess"
)

// fromRepository takes the chart from a Helm repository with an index.
func (p *poll) fromRepository(ctx context.Context, f *found) *attempt.Failure {
	list, err := p.stored(ctx, p.src.artifact, p.obj.Spec.Chart)
	var content *contentError
	switch {
	case errors.Is(err, fetch.ErrNotFound):
		return lost(p.src)
	case errors.As(err, &content):
		return buildFailed(chartPull, fmt.Errorf("failed to load Helm repository from index YAML: %w; reconcile the HelmRepository '%s'", err, p.src.name))
	case err != nil:
		return p.unresolved(p.nextForVersion(err, nil))
	}
	v, err := index.Pick(p.obj.Spec.Chart, p.obj.Spec.Version, list)
	if err != nil {
		return p.unresolved(p.nextForVersion(err, list))
	}
	version, fail := p.versionOf(v.Version, "")
	if fail != nil {
		return fail
	}
	if f.name, f.version = p.obj.Status.ObservedChartName, version; p.current(f) {
		return nil
	}
	p.announce(f, p.obj.Spec.Chart, version)
	data, err := p.download(ctx, p.src.repository, v)
	if err != nil {
		return p.unpulled(err)
	}
	c, err := chart.LoadArchive(bytes.NewReader(data), p.Limits)
	if err != nil {
		return buildFailed(chartPull, fmt.Errorf("failed to load the chart that was downloaded: %w", err))
	}
	p.announce(f, c.Name, version)
	return p.fetched(ctx, c, data, f)
}

// unresolved says that the chart is not in the repository; a new index wakes the object.
func (p *poll) unresolved(err error) *attempt.Failure {
	return buildFailed(chartReference, fmt.Errorf("failed to get chart version for remote reference: %w", err))
}

// contentError says that a stored index could not be read.
type contentError struct{ error }

func (e *contentError) Unwrap() error { return e.error }

// stored looks a chart up in the stored index of a repository.
func (c *controller) stored(ctx context.Context, a *meta.Artifact, name string) ([]index.Version, error) {
	file, done, err := c.openIndex(ctx, artifact.RefOf(a))
	if err != nil {
		return nil, &contentError{err}
	}
	defer done()
	places, err := c.Indexes.Places(a.Digest, func() (*index.Places, error) { return index.Scan(file) })
	if err != nil {
		return nil, &contentError{err}
	}
	list, err := places.Versions(file, name)
	if err != nil && !errors.Is(err, index.ErrUnknownChart) {
		err = &contentError{err}
	}
	return list, err
}

// openIndex opens a stored index: in the store, or a copy if another process keeps it.
func (c *controller) openIndex(ctx context.Context, ref artifact.Ref) (file *os.File, done func(), err error) {
	if _, err := c.Artifacts.Check(ctx, ref); err == nil {
		stored, err := c.Artifacts.OpenFile(ref.Path)
		if err == nil {
			return stored.File, func() { _ = stored.Close() }, nil
		}
	}
	copied, err := os.CreateTemp(c.TempDir, "index-")
	if err != nil {
		return nil, nil, err
	}
	done = func() {
		_ = copied.Close()
		_ = os.Remove(copied.Name())
	}
	if err = c.Fetcher.Fetch(ctx, ref, copied); err == nil {
		_, err = copied.Seek(0, 0)
	}
	if err != nil {
		done()
		return nil, nil, err
	}
	return copied, done, nil
}

// download fetches the archive of a version, and holds it against what the index says of it.
func (p *poll) download(ctx context.Context, from *sourcev1.HelmRepository, v index.Version) (data []byte, err error) {
	if len(v.URLs) == 0 {
		return nil, fmt.Errorf("chart '%s' has no downloadable URLs", v.Version)
	}
	if helmaccess.IsLink(v) {
		data, err = p.linked(ctx, v)
	} else {
		data, err = p.fetchArchive(ctx, from, v.URLs[0])
	}
	if err != nil {
		return nil, err
	}
	if err := v.Check(data); err != nil {
		return nil, fmt.Errorf("version %s from '%s': %w", v.Version, v.URLs[0], err)
	}
	return data, nil
}

func (p *poll) fetchArchive(ctx context.Context, from *sourcev1.HelmRepository, url string) ([]byte, error) {
	r, err := helmaccess.HTTP(ctx, p.cluster, p.req.Log, from, p.Connections)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, from.GetTimeout())
	defer cancel()
	var b bytes.Buffer
	err = r.Chart(ctx, url, p.Limits.Packed, &b)
	if errors.Is(err, repo.ErrTooLarge) {
		err = fmt.Errorf("%w; raise --helm-chart-max-size of source-controller", err)
	}
	return b.Bytes(), err
}
