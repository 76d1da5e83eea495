package helmchart

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/Masterminds/semver/v3"

	sourcev1 "github.com/gitops-toolkit/flux/api/source/v1"
	"github.com/gitops-toolkit/flux/internal/charts/chart"
	"github.com/gitops-toolkit/flux/internal/charts/index"
	"github.com/gitops-toolkit/flux/internal/registry"
	"github.com/gitops-toolkit/flux/internal/source/attempt"
	"github.com/gitops-toolkit/flux/internal/source/helmaccess"
)

// legacyContentMediaType is what Helm called the layer of a chart in its first versions.
const legacyContentMediaType = "application/tar+gzip"

// opened is a repository of a registry that was opened with Secrets of these versions, and what was found out there.
type opened struct {
	versions string
	repo     *registry.Repository
	until    time.Time
	// accepted is what a signature was last found good for.
	accepted string
}

// fromRegistry takes the chart from a registry.
func (p *poll) fromRegistry(ctx context.Context, f *found) *attempt.Failure {
	repo, err := p.registry(ctx)
	if err != nil {
		return p.unpulled(err)
	}
	found, err := p.pickTag(ctx, repo, p.obj.Spec.Chart, p.obj.Spec.Version)
	if err != nil {
		return p.unpulled(fmt.Errorf("failed to get chart version for remote reference: %w", err))
	}
	version, fail := p.versionOf(found, "")
	if fail != nil {
		return fail
	}
	f.name, f.version = p.obj.Status.ObservedChartName, version
	if p.current(f) && p.obj.Spec.Verify == nil {
		return nil
	}
	digest, err := p.digest(ctx, repo, found)
	if err != nil {
		return p.unpulled(err)
	}
	if fail := p.verify(ctx, repo, digest, found, f); fail != nil {
		return fail
	}
	if p.current(f) {
		return nil
	}
	p.announce(f, lastPart(p.obj.Spec.Chart), version)
	c, data, err := p.pull(ctx, repo, digest)
	if err != nil {
		return p.unpulled(err)
	}
	p.announce(f, c.Name, version)
	return p.fetched(ctx, c, data, f)
}

func lastPart(name string) string { return name[strings.LastIndex(name, "/")+1:] }

// memory is what the process keeps of the object.
func (p *poll) memory() opened {
	m, _ := p.req.Memory().(opened)
	return m
}

// registry opens the repository of the chart, or takes the one of the last time if nothing that it is made of has changed.
func (p *poll) registry(ctx context.Context) (*registry.Repository, error) {
	made, known := helmaccess.Versions(p.cluster, p.src.repository)
	made += "/" + p.obj.Spec.Chart
	m := p.memory()
	if known && m.repo != nil && m.versions == made && (m.until.IsZero() || time.Now().Before(m.until)) {
		return m.repo, nil
	}
	repo, until, err := p.open(ctx, p.src.repository, p.obj.Spec.Chart)
	if err != nil {
		return nil, err
	}
	m.versions, m.repo, m.until = made, repo, until
	p.req.Remember(m)
	return repo, nil
}

func (p *poll) open(ctx context.Context, from *sourcev1.HelmRepository, name string) (*registry.Repository, time.Time, error) {
	remote, until, err := helmaccess.Registry(ctx, p.cluster, p.req.Log, from, name, p.Cloud)
	if err != nil {
		return nil, until, err
	}
	repo, err := p.Registries.Open(remote)
	return repo, until, err
}

// forget lets what the registry said be asked anew.
func (p *poll) forget() {
	m := p.memory()
	m.repo = nil
	p.req.Remember(m)
}

// pickTag returns the version that is meant. A complete version needs no list of tags.
func (p *poll) pickTag(ctx context.Context, repo *registry.Repository, name, want string) (string, error) {
	if _, err := semver.StrictNewVersion(want); err == nil {
		return want, nil
	}
	ctx, cancel := context.WithTimeout(ctx, p.obj.GetTimeout())
	defer cancel()
	var tags []string
	err := repo.Tags(ctx, func(tag string) { tags = append(tags, strings.ReplaceAll(tag, "_", "+")) })
	if err != nil {
		return "", err
	}
	return index.PickTag(name, want, tags)
}

// digest finds out which manifest has the version.
func (p *poll) digest(ctx context.Context, repo *registry.Repository, version string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, p.obj.GetTimeout())
	defer cancel()
	tag := strings.ReplaceAll(version, "+", "_")
	digest, err := repo.Digest(ctx, tag)
	if err != nil {
		return "", fmt.Errorf("failed to pull chart '%s:%s': %w", repo.Name(), tag, err)
	}
	return digest, nil
}

// linked fetches the archive of a version that its index has in a registry.
func (p *poll) linked(ctx context.Context, v index.Version) ([]byte, error) {
	at, id, err := helmaccess.Link(v)
	if err != nil {
		return nil, err
	}
	repo, err := p.Registries.Open(at)
	if err != nil {
		return nil, err
	}
	digest := id
	if registry.CheckDigest(id) != nil {
		if digest, err = p.digest(ctx, repo, id); err != nil {
			return nil, err
		}
	}
	_, data, err := p.pull(ctx, repo, digest)
	return data, err
}

// pull fetches the archive of a chart.
func (p *poll) pull(ctx context.Context, repo *registry.Repository, digest string) (*chart.Chart, []byte, error) {
	ctx, cancel := context.WithTimeout(ctx, p.obj.GetTimeout())
	defer cancel()
	fail := func(err error) (*chart.Chart, []byte, error) {
		return nil, nil, fmt.Errorf("failed to pull chart '%s@%s': %w", repo.Name(), digest, err)
	}
	manifest, err := repo.Manifest(ctx, digest)
	if err != nil {
		return fail(err)
	}
	layer, err := manifest.Select(registry.HelmContentMediaType)
	if errors.Is(err, registry.ErrNoLayer) {
		if old, oldErr := manifest.Select(legacyContentMediaType); oldErr == nil {
			layer, err = old, nil
		}
	}
	if err != nil {
		return fail(fmt.Errorf("%w; it is not a chart", err))
	}
	if layer.Size > p.Limits.Packed {
		return fail(fmt.Errorf("it %w: it has %d bytes, %d are allowed; raise --helm-chart-max-size of source-controller", chart.ErrLimit, layer.Size, p.Limits.Packed))
	}
	body, err := repo.Blob(ctx, layer)
	if err != nil {
		return fail(err)
	}
	data, err := io.ReadAll(body)
	if err = errors.Join(err, body.Close()); err != nil {
		return fail(err)
	}
	c, err := chart.LoadArchive(bytes.NewReader(data), p.Limits)
	if err != nil {
		return fail(err)
	}
	return c, data, nil
}
