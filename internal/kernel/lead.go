package kernel

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"time"

	"golang.org/x/sync/errgroup"
	"k8s.io/apimachinery/pkg/util/uuid"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/leaderelection"
	"k8s.io/client-go/tools/leaderelection/resourcelock"
)

// errLeadership stops a process that may no longer act.
var errLeadership = errors.New("leader election lost")

// LeaseName returns the name of a controller's lease; each shard has its own.
func LeaseName(controller, watchLabelSelector string) string {
	return controller + "-leader-election" + ShardSuffix(watchLabelSelector)
}

// ShardSuffix ends the names of what each shard has for itself; it is empty where there is no selector.
func ShardSuffix(watchLabelSelector string) string {
	if watchLabelSelector == "" {
		return ""
	}
	sum := sha256.Sum256([]byte(watchLabelSelector))
	return "-" + hex.EncodeToString(sum[:])[:8]
}

// lead takes the leases of all controllers that ask for election, then works. The leases are
// released after the work has ended.
func (p *Process) lead(ctx context.Context) error {
	work, lost := context.WithCancelCause(ctx)
	defer lost(nil)
	release, err := p.acquireAll(work, lost)
	defer release()
	if err != nil || work.Err() != nil {
		return errors.Join(err, lostLeadership(work))
	}
	ended := make(chan error, 1)
	go func() { ended <- p.work(work) }()
	select {
	case err := <-ended:
		return errors.Join(err, lostLeadership(work))
	case <-work.Done():
	}
	if lostLeadership(work) == nil {
		return <-ended
	}
	// Everything was cancelled. What does not end before another may lead ends with the process.
	select {
	case err = <-ended:
	case <-time.After(p.margin()):
	}
	return errors.Join(err, errLeadership)
}

// electing returns the controllers that hold a lease.
func (p *Process) electing() []*Manager {
	return slices.DeleteFunc(slices.Clone(p.controllers), func(m *Manager) bool { return !m.settings.LeaderElection })
}

// margin is the time between giving up a lease that cannot be renewed and its end for others.
func (p *Process) margin() time.Duration {
	margin := time.Minute
	for _, m := range p.electing() {
		margin = min(margin, m.settings.LeaseDuration-m.settings.RenewDeadline)
	}
	return margin
}

// acquireAll takes the first lease and then the others: two processes with the same controllers
// meet at the first, so neither keeps what the other waits for. All are observed from the
// beginning, so that leases that a crash left behind run out together.
func (p *Process) acquireAll(ctx context.Context, lost context.CancelCauseFunc) (release func(), err error) {
	all := p.electing()
	releases := make([]func(), len(all))
	first, at := make(chan struct{}), make(chan struct{})
	close(at)
	group, ctx := errgroup.WithContext(ctx)
	for i, m := range all {
		turn := first
		if i == 0 {
			turn = at
		}
		group.Go(func() (err error) {
			releases[i], err = p.acquire(ctx, m, turn, lost)
			if i == 0 && err == nil && ctx.Err() == nil {
				close(first)
			}
			return err
		})
	}
	err = group.Wait()
	return func() {
		for _, f := range releases {
			f()
		}
	}, err
}

// inTurn is a lock that is watched at once but taken only when its turn has come.
type inTurn struct {
	resourcelock.Interface
	turn <-chan struct{}
}

func (l inTurn) wait(ctx context.Context) error {
	select {
	case <-l.turn:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Create implements resourcelock.Interface.
func (l inTurn) Create(ctx context.Context, r resourcelock.LeaderElectionRecord) error {
	if err := l.wait(ctx); err != nil {
		return err
	}
	return l.Interface.Create(ctx, r)
}

// Update implements resourcelock.Interface.
func (l inTurn) Update(ctx context.Context, r resourcelock.LeaderElectionRecord) error {
	if err := l.wait(ctx); err != nil {
		return err
	}
	return l.Interface.Update(ctx, r)
}

func lostLeadership(ctx context.Context) error {
	if errors.Is(context.Cause(ctx), errLeadership) {
		return errLeadership
	}
	return nil
}

// acquire waits for the lease of one controller, or until ctx ends; it keeps it and calls lost when
// it is lost. The returned function gives it back.
func (p *Process) acquire(ctx context.Context, m *Manager, turn <-chan struct{}, lost context.CancelCauseFunc) (release func(), err error) {
	nothing := func() {}
	name := LeaseName(m.name, m.settings.WatchLabelSelector)
	lock, err := resourcelock.NewFromKubeconfig(resourcelock.LeasesResourceLock, m.settings.RuntimeNamespace, name,
		resourcelock.ResourceLockConfig{Identity: p.hostname + "_" + string(uuid.NewUUID())},
		rest.CopyConfig(p.config), m.settings.RenewDeadline)
	if err != nil {
		return nothing, fmt.Errorf("lease %s/%s: %w", m.settings.RuntimeNamespace, name, err)
	}
	holding, stop := context.WithCancel(context.WithoutCancel(ctx))
	started, ended := make(chan struct{}), make(chan struct{})
	elector, err := leaderelection.NewLeaderElector(leaderelection.LeaderElectionConfig{
		Lock: inTurn{lock, turn}, Name: name, ReleaseOnCancel: m.settings.ReleaseOnCancel,
		LeaseDuration: m.settings.LeaseDuration, RenewDeadline: m.settings.RenewDeadline, RetryPeriod: m.settings.LeaderRetryPeriod,
		Callbacks: leaderelection.LeaderCallbacks{
			OnStartedLeading: func(context.Context) { close(started) },
			OnStoppedLeading: func() {
				if holding.Err() == nil {
					lost(errLeadership)
				}
			},
		},
	})
	if err != nil {
		stop()
		return nothing, fmt.Errorf("leader election flags: %w", err)
	}
	go func() { defer close(ended); elector.Run(holding) }()
	release = func() { stop(); <-ended }
	select {
	case <-started:
	case <-ctx.Done():
	}
	return release, nil
}
