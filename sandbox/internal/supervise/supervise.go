// Package supervise runs one sandbox: it starts the components in order, waits
// until each is well, starts again whatever dies, and ends all of them when it
// ends. One supervisor process serves one sandbox; the Git server and the
// registry live inside it.
package supervise

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"sync"
	"time"

	"github.com/gitops-toolkit/flux/sandbox/internal/plane"
	"github.com/gitops-toolkit/flux/sandbox/internal/proc"
	"github.com/gitops-toolkit/flux/sandbox/internal/state"
)

// Options choose what a sandbox runs.
type Options struct {
	// Progress receives a short line for each step; it may be nil.
	Progress func(string)
	// Ready is called once, when the sandbox is healthy; it may be nil.
	Ready func()
}

// Supervisor is one running sandbox.
type Supervisor struct {
	dir     state.Dir
	options Options
	plane   *plane.Plane

	mu       sync.Mutex
	state    *state.State
	children []*child
	services services
}

// Run starts the sandbox and keeps it until ctx ends. The error is
// state.ErrLocked when it runs already.
func Run(ctx context.Context, dir state.Dir, options Options) error {
	if err := dir.Create(); err != nil {
		return err
	}
	lock, err := dir.RunLock()
	if err != nil {
		return err
	}
	defer lock.Release()
	s := &Supervisor{dir: dir, options: options}
	if err := s.prepare(); err != nil {
		return err
	}
	defer s.stop()
	if err := s.start(ctx); err != nil {
		s.setPhase(state.Failed, err.Error())
		return err
	}
	s.setPhase(state.Ready, "")
	if options.Ready != nil {
		options.Ready()
	}
	<-ctx.Done()
	return nil
}

// prepare writes all files. What an earlier supervisor left is taken over, so
// that a sandbox whose supervisor was killed comes back with its objects.
func (s *Supervisor) prepare() error {
	old, err := s.dir.Load()
	switch {
	case errors.Is(err, fs.ErrNotExist):
		old = &state.State{ID: rand.Text()}
	case err != nil:
		return err
	default:
		proc.Sweep(old.ID)
	}
	ports, err := plane.FreePorts(old.Ports)
	if err != nil {
		return err
	}
	if s.plane, err = plane.Prepare(s.dir, ports); err != nil {
		return err
	}
	s.state = &state.State{
		Name: s.dir.Name(), ID: old.ID, Directory: string(s.dir),
		Phase: state.Starting, Kubernetes: plane.KubernetesVersion,
		APIServer: s.plane.URL(), Kubeconfig: s.plane.Kubeconfig(), AuditLog: s.plane.AuditLog(),
		Supervisor: os.Getpid(), Started: time.Now().UTC(), Ports: ports,
	}
	return s.dir.Save(s.state)
}

func (s *Supervisor) start(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Minute)
	defer cancel()
	if err := s.startServices(); err != nil {
		return err
	}
	s.progress("starting etcd and kube-apiserver")
	if err := s.launch(plane.Etcd, s.plane.EtcdArguments()); err != nil {
		return err
	}
	if err := s.launch(plane.APIServer, s.plane.APIServerArguments()); err != nil {
		return err
	}
	if err := s.waitHealthy(ctx, plane.APIServer); err != nil {
		return err
	}
	s.progress("starting kube-controller-manager, kube-scheduler and the node")
	if err := s.launch(plane.ControllerManager, s.plane.ControllerManagerArguments()); err != nil {
		return err
	}
	if err := s.launch(plane.Scheduler, s.plane.SchedulerArguments()); err != nil {
		return err
	}
	if err := s.bootstrap(ctx); err != nil {
		return err
	}
	if err := s.launch(plane.Node, s.nodeArguments()); err != nil {
		return err
	}
	for _, name := range []string{plane.ControllerManager, plane.Scheduler} {
		if err := s.waitHealthy(ctx, name); err != nil {
			return err
		}
	}
	return s.waitUsable(ctx)
}

func (s *Supervisor) progress(line string) {
	if s.options.Progress != nil {
		s.options.Progress(line)
	}
}

func (s *Supervisor) setPhase(phase state.Phase, message string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.state.Phase, s.state.Message = phase, message
	s.save()
}

// save must be called with the lock held. A state file that cannot be written
// must not stop a sandbox that works; the log says so.
func (s *Supervisor) save() {
	s.state.Components = s.state.Components[:0]
	for _, c := range s.children {
		s.state.Components = append(s.state.Components, c.describe())
	}
	if err := s.dir.Save(s.state); err != nil {
		fmt.Fprintln(os.Stderr, "write the state file:", err)
	}
}
