package helmchart

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"strings"

	"github.com/gitops-toolkit/flux/api/meta"
	sourcev1 "github.com/gitops-toolkit/flux/api/source/v1"
	"github.com/gitops-toolkit/flux/internal/artifact"
	"github.com/gitops-toolkit/flux/internal/artifact/fetch"
	"github.com/gitops-toolkit/flux/internal/charts/chart"
	"github.com/gitops-toolkit/flux/internal/kernel"
	"github.com/gitops-toolkit/flux/internal/source/attempt"
)

// fromArtifact takes the chart from the artifact of a GitRepository or a Bucket.
func (p *poll) fromArtifact(ctx context.Context, f *found) *attempt.Failure {
	if f.Artifact != nil && p.madeNow() && p.obj.Status.ObservedSourceArtifactRevision == p.src.revision() {
		f.name, f.version = p.obj.Status.ObservedChartName, f.Artifact.Revision
		return nil // made of this very artifact, as the spec now says
	}
	tree, err := p.Unpacked.Acquire(ctx, artifact.RefOf(p.src.artifact))
	if errors.Is(err, fetch.ErrNotFound) {
		return lost(p.src)
	}
	if err != nil {
		return buildFailed(chartPull, fmt.Errorf("failed to get the artifact of the %s '%s': %w", p.src.kind, p.src.name, err))
	}
	defer tree.Release()
	root, err := os.OpenRoot(tree.Dir())
	if err != nil {
		return attempt.Storage(sourcev1.ReadOperationFailedReason, err)
	}
	defer root.Close() //nolint:errcheck // read only
	at := path.Clean("/" + p.obj.Spec.Chart)[1:]
	if at == "" {
		at = "."
	}
	c, raw, err := loadAt(root, at, p.Limits)
	if err != nil {
		return buildFailed(chartReference, p.unloadable(err, at))
	}
	return p.fromChart(ctx, f, root, at, c, raw)
}

// loadAt loads a chart: from a directory, or from an archive, whose bytes are raw then.
func loadAt(root *os.Root, at string, limits chart.Limits) (c *chart.Chart, raw []byte, err error) {
	info, err := root.Stat(at)
	if err != nil {
		return nil, nil, err
	}
	if info.IsDir() {
		c, err = chart.LoadDir(root, at, limits)
		return c, nil, err
	}
	if info.Size() > limits.Packed {
		return nil, nil, fmt.Errorf("the archive %w: it has %d bytes, %d are allowed", chart.ErrLimit, info.Size(), limits.Packed)
	}
	if raw, err = root.ReadFile(at); err != nil {
		return nil, nil, err
	}
	c, err = chart.LoadArchive(bytes.NewReader(raw), limits)
	return c, raw, err
}

// unloadable names what was looked for, and where.
func (p *poll) unloadable(err error, at string) error {
	where := fmt.Sprintf("'%s' in the %s '%s'", at, p.src.kind, p.src.name)
	var file *fs.PathError
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("no chart found at path %s; correct spec.chart, or the ignore rules of the source", where)
	case errors.As(err, &file):
		return fmt.Errorf("failed to load chart from path %s: %s: %w", where, file.Path, file.Err)
	}
	return fmt.Errorf("failed to load chart from path %s: %w", where, err)
}

// fromChart stores the chart, packed unless it is an archive that needs no change.
func (p *poll) fromChart(ctx context.Context, f *found, root *os.Root, at string, c *chart.Chart, raw []byte) *attempt.Failure {
	ofSource := ""
	if p.obj.Spec.ReconcileStrategy == sourcev1.ReconcileStrategyRevision {
		ofSource = shortRevision(p.src.artifact)
	}
	version, fail := p.versionOf(c.Version, ofSource)
	if fail != nil {
		return fail
	}
	if f.name, f.version = c.Name, version; p.current(f) {
		return nil
	}
	p.announce(f, c.Name, version)
	if raw != nil && version == c.Version {
		return p.keep(ctx, f, raw)
	}
	if fail := p.merge(c, f, func(name string) ([]byte, error) { return readValues(root, name, p.Limits) }); fail != nil {
		return fail
	}
	if raw == nil {
		n, err := p.vendor(ctx, root, at, c)
		if err != nil {
			return buildFailed(dependencyBuild, err)
		}
		if n > 0 {
			p.req.Event(kernel.Trace("ResolvedDependencies", fmt.Sprintf("resolved %d chart dependencies", n), nil))
		}
	}
	return p.pack(ctx, c, f)
}

// shortRevision is the beginning of the commit or digest that a revision names.
func shortRevision(a *meta.Artifact) string {
	revision := a.Revision
	for _, separator := range []string{"@", ":", "/"} { // main@sha1:<hex>, sha256:<hex>, and of old main/<hex>
		revision = revision[strings.LastIndex(revision, separator)+1:]
	}
	return revision[:min(len(revision), 12)]
}

// readValues reads a values file by its path in the source.
func readValues(root *os.Root, name string, limits chart.Limits) ([]byte, error) {
	at := path.Clean("/" + name)[1:]
	file, err := root.Open(at)
	if errors.Is(err, fs.ErrNotExist) || at == "" {
		return nil, fmt.Errorf("%w '%s'", chart.ErrNoValues, name)
	}
	if err != nil {
		return nil, fmt.Errorf("values file '%s' cannot be read from the source", name)
	}
	defer file.Close() //nolint:errcheck // read only
	data, err := io.ReadAll(io.LimitReader(file, limits.File+1))
	if err != nil {
		return nil, fmt.Errorf("%w '%s': it is not a file", chart.ErrNoValues, name)
	}
	if int64(len(data)) > limits.File {
		return nil, fmt.Errorf("values file '%s' %w: %d bytes are allowed", name, chart.ErrLimit, limits.File)
	}
	return data, nil
}
