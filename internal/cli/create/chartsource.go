package create

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"

	apierrors "k8s.io/apimachinery/pkg/api/errors"

	sourcev1 "github.com/gitops-toolkit/flux/api/source/v1"
	"github.com/gitops-toolkit/flux/internal/charts/index"
	"github.com/gitops-toolkit/flux/internal/cli/charts"
	"github.com/gitops-toolkit/flux/internal/cli/cluster"
	"github.com/gitops-toolkit/flux/internal/cli/kinds"
)

// offer is a HelmRepository that has a chart, or one that could not be asked.
type offer struct {
	repository *sourcev1.HelmRepository
	version    string
	err        error
}

func (o *offer) name() string { return o.repository.Name + "." + o.repository.Namespace }

// findSource looks for the HelmRepository that offers a chart: a single one is taken and named.
func (m *maker) findSource(ctx context.Context, chart, version string) (reference, error) {
	c, err := m.Client()
	if err != nil {
		return reference{}, fmt.Errorf("source is required where there is no cluster to look for the chart in: %w", err)
	}
	m.Log.Actionf("looking for chart '%s' in the HelmRepositories of the cluster", chart)
	repositories, err := m.repositoriesInReach(ctx, c)
	if err != nil {
		return reference{}, err
	}
	found, missed := sift(askAll(ctx, c, repositories, chart, version))
	for _, o := range missed {
		m.Log.Warningf("HelmRepository '%s' could not be asked: %s", o.name(), o.err)
	}
	switch len(found) {
	case 0:
		return reference{}, noOffer(chart, version, len(repositories), len(missed))
	case 1:
		m.Log.Successf("chart '%s' found in HelmRepository '%s', version %s", chart, found[0].name(), found[0].version)
		r := found[0].repository
		ref := reference{kind: kinds.HelmRepository.Kind, name: r.Name}
		if r.Namespace != m.Namespace {
			ref.namespace = r.Namespace
		}
		return ref, nil
	}
	lines := make([]string, len(found))
	for i, o := range found {
		lines[i] = fmt.Sprintf("  --source=%s/%s (version %s)", kinds.HelmRepository.Kind, o.name(), o.version)
	}
	return reference{}, fmt.Errorf("chart '%s' is in several HelmRepositories, choose one:\n%s", chart, strings.Join(lines, "\n"))
}

func noOffer(chart, version string, asked, missed int) error {
	what := fmt.Sprintf("chart '%s'", chart)
	if version != "" {
		what += fmt.Sprintf(" with a version matching '%s'", version)
	}
	where := fmt.Sprintf("in none of the %d HelmRepositories in reach", asked)
	switch {
	case asked == 0:
		where = "not found: there is no HelmRepository in reach"
	case missed > 0:
		where += fmt.Sprintf(", %d of which could not be asked", missed)
	}
	return fmt.Errorf("%s is %s; add the one that has it, and run this again:\n  flux create source helm <name> --url=<URL of the repository>", what, where)
}

// repositoriesInReach are those of all namespaces, or of ours where only that may be listed.
func (m *maker) repositoriesInReach(ctx context.Context, c *cluster.Client) ([]sourcev1.HelmRepository, error) {
	all, err := cluster.All[sourcev1.HelmRepository](ctx, c, kinds.HelmRepository.Resource, cluster.ListOptions{})
	if apierrors.IsForbidden(err) {
		all, err = cluster.All[sourcev1.HelmRepository](ctx, c, kinds.HelmRepository.Resource, cluster.ListOptions{Namespace: m.Namespace})
	}
	return slices.DeleteFunc(all, func(r sourcev1.HelmRepository) bool { return r.DeletionTimestamp != nil }), err
}

// sideBySide is how many repositories are asked at a time.
const sideBySide = 8

// askAll asks repositories for a chart; the answers are in their order.
func askAll(ctx context.Context, c *cluster.Client, repositories []sourcev1.HelmRepository, chart, version string) []offer {
	finder := charts.New(kinds.Reader{Client: c})
	defer finder.Close()
	offers := make([]offer, len(repositories))
	slots := make(chan struct{}, sideBySide)
	var wg sync.WaitGroup
	for i := range repositories {
		slots <- struct{}{}
		wg.Go(func() {
			defer func() { <-slots }()
			r := &repositories[i]
			ctx, cancel := context.WithTimeout(ctx, r.GetTimeout())
			defer cancel()
			v, err := finder.Find(ctx, r, chart, version)
			offers[i] = offer{repository: r, version: v.Version, err: err}
		})
	}
	wg.Wait()
	return offers
}

// sift tells repositories that have the chart from those that could not be asked.
func sift(offers []offer) (found, missed []offer) {
	for _, o := range offers {
		var none *index.NoMatchError
		switch {
		case o.err == nil:
			found = append(found, o)
		case !errors.Is(o.err, index.ErrUnknownChart) && !errors.As(o.err, &none):
			missed = append(missed, o)
		}
	}
	return found, missed
}
