package kernel

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"reflect"
	"time"

	"github.com/go-logr/logr"
	"golang.org/x/sync/errgroup"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/runtime"
	corev1client "k8s.io/client-go/kubernetes/typed/core/v1"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/healthz"
	"sigs.k8s.io/controller-runtime/pkg/manager"
	metricsserver "sigs.k8s.io/controller-runtime/pkg/metrics/server"
)

// ProcessOptions configure what all controllers of one process share.
type ProcessOptions struct {
	// Scheme knows every kind that is reconciled or referred to, and core/v1.
	Scheme *runtime.Scheme
	// MetricsAddr and HealthAddr are listen addresses; "0" switches one off.
	MetricsAddr string
	HealthAddr  string
	// GracefulShutdownTimeout is how long the slowest controller may take to stop.
	GracefulShutdownTimeout time.Duration
	// WatchNamespace limits all caches to one namespace; empty: all namespaces.
	WatchNamespace string
	// Log is the root logger.
	Log logr.Logger
}

// Process is one operating-system process with one or more controllers on one cache.
type Process struct {
	manager     manager.Manager
	config      *rest.Config
	watching    *rest.Config // config for informers, see horizon
	options     ProcessOptions
	controllers []*Manager
	configs     *configs
	events      corev1client.EventsGetter
	hostname    string
	// strips holds what is removed from cached objects; full the types kept whole.
	strips map[reflect.Type]func(client.Object)
	full   map[reflect.Type]bool
}

// NewProcess connects to the API server that config names; nothing runs before Run.
func NewProcess(config *rest.Config, options ProcessOptions) (*Process, error) {
	config = rest.CopyConfig(config)
	config.WarningHandler = rest.NoWarnings{}
	hostname, _ := os.Hostname()
	p := &Process{
		config: config, watching: rest.CopyConfig(config), options: options, hostname: hostname,
		strips: map[reflect.Type]func(client.Object){}, full: map[reflect.Type]bool{},
	}
	watchHorizon(p.watching)
	p.configs = newConfigs(p.watching, options.WatchNamespace)
	var err error
	if p.events, err = eventsClient(config); err != nil {
		return nil, err
	}
	// Jobs get the time that was asked for; then events are delivered and leases released.
	grace := options.GracefulShutdownTimeout + 2*drainTimeout
	p.manager, err = manager.New(p.watching, manager.Options{
		Scheme:                  options.Scheme,
		Logger:                  options.Log,
		Cache:                   p.cacheOptions(),
		Client:                  client.Options{Cache: &client.CacheOptions{DisableFor: uncached()}},
		Metrics:                 metricsserver.Options{BindAddress: ListenAddress(options.MetricsAddr), ExtraHandlers: profileHandlers()},
		HealthProbeBindAddress:  ListenAddress(options.HealthAddr),
		GracefulShutdownTimeout: &grace,
	})
	if err != nil {
		return nil, fmt.Errorf("set up the controllers: %w", p.nameListener(err))
	}
	return p, errors.Join(p.manager.AddHealthzCheck("ping", healthz.Ping), p.manager.AddReadyzCheck("ping", healthz.Ping))
}

func (p *Process) cacheOptions() cache.Options {
	c := cache.Options{DefaultTransform: p.transform}
	if ns := p.options.WatchNamespace; ns != "" {
		c.DefaultNamespaces = map[string]cache.Config{ns: {}}
	}
	return c
}

// uncached are the types that the shared client never caches: their data stays out of memory.
func uncached() []client.Object { return []client.Object{&corev1.Secret{}, &corev1.ConfigMap{}} }

// strip says what of a type the shared cache keeps: all of it when the objects themselves are
// reconciled from that cache, else what f leaves.
func (p *Process) strip(obj client.Object, projected bool, f func(client.Object)) {
	t := reflect.TypeOf(obj)
	switch {
	case !projected:
		p.full[t] = true
	case f != nil:
		p.strips[t] = f
	}
}

// transform is applied to every object on its way into the shared cache.
func (p *Process) transform(in any) (any, error) {
	obj, ok := in.(client.Object)
	if !ok {
		return in, nil
	}
	obj.SetManagedFields(nil)
	t := reflect.TypeOf(obj)
	if f := p.strips[t]; f != nil && !p.full[t] {
		f(obj)
	}
	return obj, nil
}

// stripper frees a function of its type parameter.
func stripper[T client.Object](f func(T)) func(client.Object) {
	if f == nil {
		return nil
	}
	return func(o client.Object) {
		if obj, ok := o.(T); ok {
			f(obj)
		}
	}
}

// Run holds the leases, runs the controllers, and returns when ctx has ended and all work has,
// or with the error that stopped the process.
func (p *Process) Run(ctx context.Context) error {
	for _, m := range p.controllers {
		if err := m.build(); err != nil {
			return err
		}
	}
	if err := p.manager.Add(always(p.lead)); err != nil {
		return err
	}
	err := p.nameListener(p.manager.Start(ctx))
	for _, m := range p.controllers {
		for _, f := range m.cleanups {
			err = errors.Join(err, f())
		}
	}
	return err
}

// nameListener adds to an address that cannot be listened at the flag that chooses another.
func (p *Process) nameListener(err error) error {
	var failed *net.OpError
	if !errors.As(err, &failed) || failed.Op != "listen" || failed.Addr == nil {
		return err
	}
	for flag, addr := range map[string]string{"metrics-addr": p.options.MetricsAddr, "health-addr": p.options.HealthAddr} {
		if ListenAddress(addr) == failed.Addr.String() {
			return fmt.Errorf("%w; choose another address with --%s", err, flag)
		}
	}
	return err
}

// work runs all controllers until ctx ends.
func (p *Process) work(ctx context.Context) error {
	p.configs.start(ctx)
	group, ctx := errgroup.WithContext(ctx)
	for _, m := range p.controllers {
		group.Go(func() error { return m.run(ctx) })
	}
	return group.Wait()
}

// always is a runnable that does not wait for controller-runtime's own election.
type always func(context.Context) error

func (f always) Start(ctx context.Context) error { return f(ctx) }
func (f always) NeedLeaderElection() bool        { return false }

// ListenAddress puts the host of FLUX_BIND_HOST before an address without one, so that several
// controllers with the same port can run on one machine.
func ListenAddress(addr string) string {
	bind := os.Getenv("FLUX_BIND_HOST")
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		return addr
	}
	return net.JoinHostPort(cmp.Or(host, bind), port)
}
