package supervise

import (
	"fmt"
	"os"
	"os/exec"
	"sync"
	"syscall"
	"time"

	"github.com/gitops-toolkit/flux/sandbox/internal/plane"
	"github.com/gitops-toolkit/flux/sandbox/internal/proc"
	"github.com/gitops-toolkit/flux/sandbox/internal/state"
)

// child is one component: its process, and what is needed to start it again.
type child struct {
	name string
	args []string
	log  string
	id   string

	mu       sync.Mutex
	cmd      *exec.Cmd
	since    time.Time
	restarts int
	stopping bool
	gone     chan struct{} // closed when it will not be started again
}

// launch starts a component and keeps it running.
func (s *Supervisor) launch(name string, args []string) error {
	c := &child{name: name, args: args, log: s.dir.Log(name), id: s.state.ID, gone: make(chan struct{})}
	if err := c.start(); err != nil {
		return err
	}
	s.mu.Lock()
	s.children = append(s.children, c)
	s.save()
	s.mu.Unlock()
	go c.keep(func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.save()
	})
	return nil
}

func (c *child) start() error {
	log, err := os.OpenFile(c.log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer log.Close()
	cmd, err := proc.Component(c.id, c.name, c.args...)
	if err != nil {
		return err
	}
	cmd.Stdout, cmd.Stderr = log, log
	cmd.Env = append(cmd.Env, tuning[c.name]...)
	if gogc := os.Getenv(gogcVariable); gogc != "" {
		cmd.Env = append(cmd.Env, "GOGC="+gogc)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if err := proc.Start(cmd); err != nil {
		return err
	}
	c.cmd, c.since = cmd, time.Now().UTC()
	return nil
}

// gogcVariable sets Go's GOGC for all components, for a machine with more memory than processor time, as in CI: a quarter
// of what kube-apiserver does in a short life is collecting garbage.
const gogcVariable = "FLUX_SANDBOX_GOGC"

// tuning trades a little CPU under load for a smaller process at rest.
var tuning = map[string][]string{
	plane.ControllerManager: {"GOGC=50"},
	plane.Scheduler:         {"GOGC=50"},
	plane.Etcd:              {"GOGC=75"},
}

// keep starts the component again whenever it ends, at once the first time and
// then ever more slowly, until it is told to stop.
func (c *child) keep(changed func()) {
	defer close(c.gone)
	delay := time.Duration(0)
	for {
		c.cmd.Wait()
		if c.isStopping() {
			return
		}
		fmt.Fprintf(os.Stderr, "%s ended (%v); starting it again in %s\n", c.name, c.cmd.ProcessState, delay)
		if time.Since(c.since) > time.Minute {
			delay = 0
		}
		time.Sleep(delay)
		delay = min(2*delay+250*time.Millisecond, 10*time.Second)
		if c.isStopping() {
			return
		}
		if err := c.start(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			return
		}
		c.mu.Lock()
		c.restarts++
		c.mu.Unlock()
		changed()
	}
}

func (c *child) isStopping() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.stopping
}

func (c *child) signal(signal syscall.Signal) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.stopping = true
	if c.cmd != nil && c.cmd.Process != nil {
		c.cmd.Process.Signal(signal)
	}
}

func (c *child) describe() state.Component {
	c.mu.Lock()
	defer c.mu.Unlock()
	d := state.Component{Name: c.name, Restarts: c.restarts, Since: c.since, Log: c.log}
	if c.cmd != nil && c.cmd.Process != nil {
		d.PID = c.cmd.Process.Pid
	}
	return d
}

// stop ends all components. The node goes first and gets time to stop its pods;
// the rest keeps nothing that a kill could spoil.
func (s *Supervisor) stop() {
	s.mu.Lock()
	children := s.children
	s.mu.Unlock()
	for _, c := range children {
		if c.name != plane.Node {
			continue
		}
		c.signal(syscall.SIGTERM)
		select {
		case <-c.gone:
		case <-time.After(5 * time.Second):
		}
	}
	for _, c := range children {
		c.signal(syscall.SIGKILL)
	}
	for _, c := range children {
		<-c.gone
	}
	s.stopServices()
	s.setPhase(state.Stopped, "")
}
