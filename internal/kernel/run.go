package kernel

import (
	"context"
	"fmt"
	"sync"

	"github.com/go-logr/logr"
	"golang.org/x/sync/errgroup"
	"k8s.io/apimachinery/pkg/labels"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/controller"
)

// build gives every kind its cache and watches, before anything runs.
func (m *Manager) build() error {
	configs, err := labels.Parse(m.settings.WatchConfigsLabelSelector)
	if err != nil {
		return fmt.Errorf("--watch-configs-label-selector: %w", err)
	}
	objects, err := m.shard()
	if err != nil {
		return err
	}
	for _, e := range m.engines {
		e.objects = objects
		if !m.Gate(GateDisableConfigWatchers) {
			e.followConfigs(configs)
		}
	}
	return nil
}

// shard returns the cache that holds the objects of this controller's shard: the shared one, or
// one of its own with the selector.
func (m *Manager) shard() (cache.Cache, error) {
	if m.settings.WatchLabelSelector == "" {
		return m.process.manager.GetCache(), nil
	}
	selector, err := labels.Parse(m.settings.WatchLabelSelector)
	if err != nil {
		return nil, fmt.Errorf("--watch-label-selector: %w", err)
	}
	o := m.process.cacheOptions()
	o.Scheme, o.Mapper, o.HTTPClient = m.process.manager.GetScheme(), m.Mapper(), m.process.manager.GetHTTPClient()
	o.DefaultTransform = cache.TransformStripManagedFields()
	o.DefaultLabelSelector = selector
	objects, err := cache.New(m.process.watching, o)
	if err != nil {
		return nil, fmt.Errorf("set up the cache for --watch-label-selector: %w", err)
	}
	m.Add(objects.Start)
	return objects, nil
}

// run works until ctx ends, then lets jobs end and events go out.
func (m *Manager) run(ctx context.Context) error {
	controllers := make([]controller.Controller, len(m.engines))
	for i, e := range m.engines {
		var err error
		if controllers[i], err = e.controller(); err != nil {
			return fmt.Errorf("set up the controller for %s: %w", e.gvk.Kind, err)
		}
	}
	telling, stopTelling := context.WithCancel(context.WithoutCancel(ctx))
	var told sync.WaitGroup
	told.Go(func() { m.recorder.lines.run(telling) })
	if m.poster != nil {
		told.Go(func() { m.poster.lines.run(telling) })
	}
	group, ctx := errgroup.WithContext(ctx)
	for _, c := range controllers {
		group.Go(func() error { return c.Start(ctx) })
	}
	for _, f := range m.runnables {
		group.Go(func() error { return f(logr.NewContext(ctx, m.Log())) })
	}
	group.Go(func() error {
		<-ctx.Done()
		if !m.pool.close(m.settings.GracefulShutdownTimeout) {
			m.process.options.Log.Info("background jobs did not end in time", "controller", m.name)
		}
		return nil
	})
	err := group.Wait()
	stopTelling()
	told.Wait()
	return err
}
