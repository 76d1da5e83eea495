// Package harness runs our controllers as plain processes beside a sandbox, each under its own
// ServiceAccount, so that scenario tests and benchmarks see the requests, memory and CPU of each.
package harness

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Process is one controller at work.
type Process struct {
	// Name is the component, e.g. source-controller.
	Name string
	// User is the name under which the API server's audit log knows it.
	User string
	// MetricsURL, HealthURL, StorageURL, EventsURL and HooksURL are what it serves; empty where it does not.
	MetricsURL, HealthURL, StorageURL, EventsURL, HooksURL string
	// LogPath is the file that holds its standard output and error.
	LogPath string

	path string
	args []string
	env  []string
	cmd  *exec.Cmd
	done chan struct{}
	log  *os.File
}

// Start runs the process and waits until it answers its readiness probe.
func (p *Process) Start(ctx context.Context) error {
	log, err := os.OpenFile(p.LogPath, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	p.log = log
	p.cmd = exec.Command(p.path, p.args...)
	p.cmd.Args[0] = p.Name
	p.cmd.Env = append(os.Environ(), p.env...)
	p.cmd.Stdout, p.cmd.Stderr = log, log
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := p.cmd.Start(); err != nil {
		return fmt.Errorf("start %s: %w", p.Name, err)
	}
	p.done = make(chan struct{})
	go func() { _ = p.cmd.Wait(); close(p.done) }()
	return p.waitReady(ctx)
}

func (p *Process) waitReady(ctx context.Context) error {
	for {
		req, _ := http.NewRequestWithContext(ctx, http.MethodGet, p.HealthURL+"/readyz", nil)
		if resp, err := http.DefaultClient.Do(req); err == nil {
			resp.Body.Close()
			if resp.StatusCode == http.StatusOK {
				return nil
			}
		}
		select {
		case <-p.done:
			return fmt.Errorf("%s stopped at start:\n%s", p.Name, p.Tail(20))
		case <-ctx.Done():
			return fmt.Errorf("%s is not ready: %w\n%s", p.Name, ctx.Err(), p.Tail(20))
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// Stop sends SIGTERM and waits; a process that stays is killed after ten seconds.
func (p *Process) Stop() {
	if p.cmd == nil || p.cmd.Process == nil {
		return
	}
	_ = p.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-p.done:
	case <-time.After(10 * time.Second):
		p.Kill()
	}
	p.log.Close()
}

// Kill ends the process at once, as an out-of-memory kill would.
func (p *Process) Kill() {
	_ = p.cmd.Process.Kill()
	<-p.done
}

// Tail returns the last lines of the process's log.
func (p *Process) Tail(lines int) string {
	data, err := os.ReadFile(p.LogPath)
	if err != nil {
		return err.Error()
	}
	all := strings.Split(strings.TrimSpace(string(data)), "\n")
	return strings.Join(all[max(0, len(all)-lines):], "\n")
}

// AnonBytes returns the process's RssAnon: memory that is its own, not mapped files.
func (p *Process) AnonBytes() (int64, error) {
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.cmd.Process.Pid))
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(data)) {
		if rest, ok := strings.CutPrefix(line, "RssAnon:"); ok {
			kib, err := strconv.ParseInt(strings.Fields(rest)[0], 10, 64)
			return kib << 10, err
		}
	}
	return 0, errors.New("no RssAnon in /proc")
}

// CPU returns the user and system time that the process has used, as its CPU clock counts it: /proc/PID/stat knows
// no less than 10 ms, a third of what a pass takes.
func (p *Process) CPU() (time.Duration, error) {
	const scheduled = 2 // CPUCLOCK_SCHED of clock_getcpuclockid(3)
	var used unix.Timespec
	if err := unix.ClockGettime(int32(^p.cmd.Process.Pid<<3|scheduled), &used); err != nil {
		return 0, fmt.Errorf("CPU clock of %s: %w", p.Name, err)
	}
	return time.Duration(used.Nano()), nil
}

// FreeAddr returns a loopback address that nobody listens on.
func FreeAddr() (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	defer l.Close()
	return l.Addr().String(), nil
}

// Binary returns the path of a program that `make build` left, from FLUX_TEST_BIN or bin/ at the
// top of the checkout.
func Binary(name string) (string, error) {
	dir := os.Getenv("FLUX_TEST_BIN")
	if dir == "" {
		out, err := exec.Command("git", "rev-parse", "--show-toplevel").Output()
		if err != nil {
			return "", err
		}
		dir = filepath.Join(strings.TrimSpace(string(out)), "bin")
	}
	path := filepath.Join(dir, name)
	if _, err := os.Stat(path); err != nil {
		return "", fmt.Errorf("%s is not built, run `make build`: %w", name, err)
	}
	return path, nil
}
