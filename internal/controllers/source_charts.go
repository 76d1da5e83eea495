package controllers

import (
	"context"
	"path/filepath"
	"time"

	"github.com/gitops-toolkit/flux/internal/artifact"
	"github.com/gitops-toolkit/flux/internal/artifact/cache"
	"github.com/gitops-toolkit/flux/internal/artifact/fetch"
	"github.com/gitops-toolkit/flux/internal/artifact/store"
	"github.com/gitops-toolkit/flux/internal/auth"
	"github.com/gitops-toolkit/flux/internal/auth/cloud"
	"github.com/gitops-toolkit/flux/internal/charts/chart"
	"github.com/gitops-toolkit/flux/internal/charts/index"
	"github.com/gitops-toolkit/flux/internal/charts/repo"
	"github.com/gitops-toolkit/flux/internal/kernel"
	"github.com/gitops-toolkit/flux/internal/registry"
	"github.com/gitops-toolkit/flux/internal/source/gitrepository"
	"github.com/gitops-toolkit/flux/internal/source/helmchart"
	"github.com/gitops-toolkit/flux/internal/source/helmrepository"
)

// registerCharts adds Helm repositories, and the charts of these and of other sources.
func registerCharts(m *kernel.Manager, v Values, artifacts *store.Store, unpacked *cache.Cache, clouds *cloud.Clouds) error {
	algorithm, err := artifact.ParseAlgorithm(v.String("artifact-digest-algo"))
	if err != nil {
		return err
	}
	connections, registries, indexes := &repo.Pool{}, registry.NewPool(registry.Options{}), &index.Known{}
	m.AddCleanup(func() error {
		connections.Close()
		registries.Close()
		return nil
	})
	err = helmrepository.Register(m, helmrepository.Options{
		Artifacts: artifacts, Connections: connections, Indexes: indexes, Algorithm: algorithm,
		MaxIndex: v.Int64("helm-index-max-size"), MemoDir: filepath.Join(v.String("storage-path"), ".indexes"),
	})
	if err != nil {
		return err
	}
	return helmchart.Register(m, helmchart.Options{
		Artifacts: artifacts, Fetcher: gitrepository.LocalFirst(artifacts, fetch.New(fetch.Options{})), Unpacked: unpacked,
		Connections: connections, Registries: registries, Indexes: indexes, MaxIndex: v.Int64("helm-index-max-size"),
		Limits: chart.Limits{Packed: v.Int64("helm-chart-max-size"), File: v.Int64("helm-chart-file-max-size")},
		Cloud: func(ctx context.Context, provider, host string) (auth.Login, time.Time, error) {
			return clouds.Registry(ctx, provider, cloud.Identity{}, host)
		},
	})
}
