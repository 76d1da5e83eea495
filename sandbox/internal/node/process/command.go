package process

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/gitops-toolkit/flux/sandbox/internal/proc"
)

// inherited are the variables of our own that make sense to any process.
var inherited = []string{"PATH", "LANG", "LC_ALL", "TZ", "SSL_CERT_FILE", "SSL_CERT_DIR"}

// command builds the process of a container.
func (c *container) command(found match) (*exec.Cmd, error) {
	w := c.worker
	root, temp, err := c.directories()
	if err != nil {
		return nil, err
	}
	env, err := w.volumes.environment(w.stopping, w.object(), c.spec, map[string]string{}, w.runtime.Capacity)
	if err != nil {
		return nil, err
	}
	mounted, err := w.volumes.mountsOf(c.spec, env)
	if err != nil {
		return nil, err
	}
	base, err := c.base(mounted, root, temp)
	if err != nil {
		return nil, err
	}
	arguments := c.arguments(found, env, mounted)
	for name, value := range env {
		base[name] = mounted.rewrite(value)
	}
	dir := root
	if c.spec.WorkingDir != "" {
		if rewritten := mounted.rewrite(c.spec.WorkingDir); rewritten != c.spec.WorkingDir {
			dir = rewritten
		}
	}
	return &exec.Cmd{
		Path: found.executable, Args: arguments, Env: list(base), Dir: dir,
		// A grandchild that keeps the pipe open must not keep the pod.
		WaitDelay: 2 * time.Second,
	}, nil
}

// arguments are the program's name and what follows it. The name is the image's
// last element, so that one executable can be many programs.
func (c *container) arguments(found match, env map[string]string, m mounts) []string {
	name, rest := found.name, []string(nil)
	if len(c.spec.Command) > 0 {
		name, rest = filepath.Base(expand(c.spec.Command[0], env)), c.spec.Command[1:]
	}
	all := []string{name}
	for _, argument := range append(append([]string(nil), rest...), c.spec.Args...) {
		all = append(all, m.argument(expand(argument, env)))
	}
	return all
}

// base are the variables that every process gets; the pod's own come over them.
func (c *container) base(m mounts, root, temp string) (map[string]string, error) {
	w, pod := c.worker, c.worker.object()
	if dir, ok := m["/tmp"]; ok {
		temp = dir
	}
	hostname := pod.Spec.Hostname
	if hostname == "" {
		hostname = pod.Name
	}
	env := map[string]string{
		"HOSTNAME": hostname, "HOME": root, "TMPDIR": temp,
		"RUNTIME_NAMESPACE": pod.Namespace,
		"FLUX_BIND_HOST":    w.host,
		"FLUX_MOUNTS":       m.String(),
		proc.IDVariable:     w.runtime.SandboxID,
	}
	for _, name := range inherited {
		if value, ok := os.LookupEnv(name); ok {
			env[name] = value
		}
	}
	if w.runtime.Proxy != "" {
		for _, name := range []string{"HTTP_PROXY", "HTTPS_PROXY"} {
			env[name], env[strings.ToLower(name)] = w.runtime.Proxy, w.runtime.Proxy
		}
		env["NO_PROXY"], env["no_proxy"] = "localhost,127.0.0.0/8", "localhost,127.0.0.0/8"
	}
	if dir, ok := m[serviceAccountPath]; ok {
		path := filepath.Join(c.dir(), "kubeconfig")
		if err := writeKubeconfig(path, w.runtime.Server, pod.Namespace, dir); err != nil {
			return nil, err
		}
		env["KUBECONFIG"] = path
	}
	return env, nil
}

// running is a started process and, with it, everything in its process group.
type running struct {
	cmd  *exec.Cmd
	done chan struct{}

	mu     sync.Mutex
	exited bool
}

func start(cmd *exec.Cmd) (*running, error) {
	if err := proc.Start(cmd); err != nil {
		return nil, err
	}
	p := &running{cmd: cmd, done: make(chan struct{})}
	go func() {
		cmd.Wait()
		p.mu.Lock()
		p.exited = true
		// What it has started and left behind goes with it. Its group keeps
		// the id from being used again as long as one of them lives.
		syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
		p.mu.Unlock()
		close(p.done)
	}()
	return p, nil
}

// signal reaches the process, not the group: what it has started is its own to
// stop.
func (p *running) signal(s syscall.Signal) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.exited {
		p.cmd.Process.Signal(s)
	}
}

// exit returns the exit code, as a shell counts it, and the signal that ended
// the process, if one did.
func (p *running) exit() (code int, signal syscall.Signal) {
	if p.cmd.ProcessState == nil {
		return 128, 0
	}
	status, ok := p.cmd.ProcessState.Sys().(syscall.WaitStatus)
	if ok && status.Signaled() {
		return 128 + int(status.Signal()), status.Signal()
	}
	return p.cmd.ProcessState.ExitCode(), 0
}
