package helmchart

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"path"
	"slices"
	"strings"

	"github.com/Masterminds/semver/v3"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	sourcev1 "github.com/gitops-toolkit/flux/api/source/v1"
	"github.com/gitops-toolkit/flux/internal/charts/chart"
	"github.com/gitops-toolkit/flux/internal/charts/index"
	"github.com/gitops-toolkit/flux/internal/charts/repo"
	"github.com/gitops-toolkit/flux/internal/source/helmaccess"
)

// maxDependencies of a chart.
const maxDependencies = 100

// vendor puts the dependencies that the chart in the directory at lacks into it, and returns how many. The versions of the
// lock file win over the ranges.
func (p *poll) vendor(ctx context.Context, root *os.Root, at string, c *chart.Chart) (int, error) {
	wanted := c.Dependencies
	if c.Lock != nil {
		wanted = c.Lock
	}
	if len(wanted) == 0 {
		return 0, nil
	}
	if len(wanted) > maxDependencies {
		return 0, fmt.Errorf("the chart has %d dependencies, %d are allowed", len(wanted), maxDependencies)
	}
	have, err := c.Vendored(p.Limits)
	if err != nil {
		return 0, err
	}
	added := 0
	for _, d := range wanted {
		if slices.ContainsFunc(have, func(h chart.Dependency) bool { return h.Name == d.Name && matches(h.Version, d.Version) }) {
			continue
		}
		dep, packed, err := p.resolve(ctx, root, at, d)
		if err != nil {
			return 0, fmt.Errorf("failed to add remote dependency '%s': %w", d.Name, err)
		}
		c.AddDependency(dep, packed)
		have = append(have, chart.Dependency{Name: dep.Name, Version: dep.Version})
		added++
	}
	return added, nil
}

// matches tells whether a version is in a range; what is no range is compared as it is.
func matches(version, want string) bool {
	if want == "" || version == want {
		return true
	}
	v, err := semver.NewVersion(version)
	if err != nil {
		return false
	}
	rng, err := semver.NewConstraint(want)
	return err == nil && rng.Check(v)
}

// resolve gets a dependency, packed.
func (p *poll) resolve(ctx context.Context, root *os.Root, at string, d chart.Dependency) (*chart.Chart, []byte, error) {
	url := d.Repository
	switch {
	case url == "" || strings.HasPrefix(url, "file://"):
		return p.beside(root, at, d)
	case strings.HasPrefix(url, "@") || strings.HasPrefix(url, "alias:"):
		return nil, nil, fmt.Errorf("aliased repository dependency '%s' is not supported; write its URL into Chart.yaml", url)
	}
	from, err := p.repositoryOf(ctx, url)
	if err != nil {
		return nil, nil, err
	}
	if helmaccess.IsRegistry(from) {
		return p.dependencyInRegistry(ctx, from, d)
	}
	return p.dependencyInRepository(ctx, from, d)
}

// beside loads a dependency of the same source. Its path is relative to the chart, and cannot leave the source.
func (p *poll) beside(root *os.Root, at string, d chart.Dependency) (*chart.Chart, []byte, error) {
	rel := strings.TrimPrefix(d.Repository, "file://")
	if rel == "" {
		rel = "charts/" + d.Name
	}
	target := path.Join(at, rel)
	if path.IsAbs(rel) || target == ".." || strings.HasPrefix(target, "../") {
		return nil, nil, fmt.Errorf("the path of '%s' leads out of the source; it must be relative to the chart and stay inside", d.Repository)
	}
	c, raw, err := loadAt(root, target, p.Limits)
	if err != nil {
		return nil, nil, p.unloadable(err, target)
	}
	if !matches(c.Version, d.Version) {
		return nil, nil, fmt.Errorf("the chart at path '%s' has version '%s', which is not in '%s'", target, c.Version, d.Version)
	}
	if raw == nil {
		raw, err = c.Packed()
	}
	return c, raw, err
}

// repositoryOf finds the HelmRepository of the object's namespace with the URL; if there is none, it is one that asks for
// no login.
func (p *poll) repositoryOf(ctx context.Context, url string) (*sourcev1.HelmRepository, error) {
	list := &sourcev1.HelmRepositoryList{}
	if err := p.objects.List(ctx, list, client.InNamespace(p.obj.Namespace)); err != nil {
		return nil, err
	}
	slices.SortFunc(list.Items, func(a, b sourcev1.HelmRepository) int { return strings.Compare(a.Name, b.Name) })
	for i := range list.Items {
		if repo.Normalize(list.Items[i].Spec.URL) == repo.Normalize(url) {
			found := list.Items[i].DeepCopy()
			found.Normalize()
			return found, nil
		}
	}
	anonymous := &sourcev1.HelmRepository{
		ObjectMeta: metav1.ObjectMeta{Namespace: p.obj.Namespace}, Spec: sourcev1.HelmRepositorySpec{URL: url},
	}
	if strings.HasPrefix(url, "oci://") {
		anonymous.Spec.Type = sourcev1.HelmRepositoryTypeOCI
	} else if err := repo.CheckURL(url); err != nil {
		return nil, fmt.Errorf("repository '%s': %w", url, err)
	}
	return anonymous, nil
}

func (p *poll) dependencyInRegistry(ctx context.Context, from *sourcev1.HelmRepository, d chart.Dependency) (*chart.Chart, []byte, error) {
	r, _, err := p.open(ctx, from, d.Name)
	if err != nil {
		return nil, nil, err
	}
	version, err := p.pickTag(ctx, r, d.Name, d.Version)
	if err != nil {
		return nil, nil, err
	}
	digest, err := p.digest(ctx, r, version)
	if err != nil {
		return nil, nil, err
	}
	return p.pull(ctx, r, digest)
}

func (p *poll) dependencyInRepository(ctx context.Context, from *sourcev1.HelmRepository, d chart.Dependency) (*chart.Chart, []byte, error) {
	var list []index.Version
	var err error
	if from.Status.Artifact != nil {
		list, err = p.stored(ctx, from.Status.Artifact, d.Name)
	} else {
		list, err = p.fetchIndex(ctx, from, d.Name)
	}
	if err != nil {
		return nil, nil, err
	}
	v, err := index.Pick(d.Name, d.Version, list)
	if err != nil {
		return nil, nil, err
	}
	data, err := p.download(ctx, from, v)
	if err != nil {
		return nil, nil, err
	}
	c, err := chart.LoadArchive(bytes.NewReader(data), p.Limits)
	return c, data, err
}

// fetchIndex looks a chart up in the index of a repository that no object follows, or whose object has none yet.
func (p *poll) fetchIndex(ctx context.Context, from *sourcev1.HelmRepository, name string) (list []index.Version, err error) {
	r, err := helmaccess.HTTP(ctx, p.cluster, p.req.Log, from, p.Connections)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, from.GetTimeout())
	defer cancel()
	return index.Lookup(name, p.TempDir, func(out io.Writer) error {
		_, err := r.Index(ctx, repo.Validators{}, p.MaxIndex, out)
		return err
	})
}
