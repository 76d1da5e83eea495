package harness

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"k8s.io/client-go/rest"
)

// plane is what the status of a sandbox says about its processes.
type plane struct {
	Directory string         `json:"directory"`
	PIDs      map[string]int `json:"pids"`
}

func (s *Sandbox) plane(ctx context.Context) (plane, error) {
	var p plane
	out, err := s.run(ctx, "status", "-o", "json")
	if err != nil {
		return p, err
	}
	if err := json.Unmarshal(out, &p); err != nil {
		return p, fmt.Errorf("read the sandbox's status: %w", err)
	}
	for _, name := range []string{"supervisor", "etcd", "kube-apiserver"} {
		if p.PIDs[name] == 0 {
			return p, fmt.Errorf("the sandbox does not say which process is %s", name)
		}
	}
	return p, nil
}

// Backup copies what etcd holds to a new directory, while it stands still.
func (s *Sandbox) Backup(ctx context.Context, dir string) error {
	p, err := s.plane(ctx)
	if err != nil {
		return err
	}
	if err := syscall.Kill(p.PIDs["etcd"], syscall.SIGSTOP); err != nil {
		return err
	}
	defer func() { _ = syscall.Kill(p.PIDs["etcd"], syscall.SIGCONT) }()
	return os.CopyFS(dir, os.DirFS(filepath.Join(p.Directory, "etcd")))
}

// Restore brings a backup back as an operator would: etcd and API server are down meanwhile. It
// returns when the API server is ready again.
func (s *Sandbox) Restore(ctx context.Context, dir string) error {
	p, err := s.plane(ctx)
	if err != nil {
		return err
	}
	if err := syscall.Kill(p.PIDs["supervisor"], syscall.SIGSTOP); err != nil {
		return err
	}
	err = s.swap(ctx, p, dir)
	_ = syscall.Kill(p.PIDs["supervisor"], syscall.SIGCONT)
	if err != nil {
		return err
	}
	return s.awaitReady(ctx)
}

func (s *Sandbox) swap(ctx context.Context, p plane, dir string) error {
	for _, name := range []string{"kube-apiserver", "etcd"} {
		if err := end(ctx, p.PIDs[name]); err != nil {
			return fmt.Errorf("stop %s: %w", name, err)
		}
	}
	data := filepath.Join(p.Directory, "etcd")
	if err := os.RemoveAll(filepath.Join(data, "member")); err != nil {
		return err
	}
	return os.CopyFS(data, os.DirFS(dir))
}

// end kills a process whose parent stands still: it is over when nothing but its number is left.
func end(ctx context.Context, pid int) error {
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
		return err
	}
	for {
		stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
		if err != nil {
			return nil
		}
		if _, rest, _ := strings.Cut(string(stat), ") "); strings.HasPrefix(rest, "Z") {
			return nil
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(10 * time.Millisecond):
		}
	}
}

func (s *Sandbox) awaitReady(ctx context.Context) error {
	client, err := rest.HTTPClientFor(s.Config)
	if err != nil {
		return err
	}
	for {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, s.Config.Host+"/readyz", nil)
		if err != nil {
			return err
		}
		if resp, err := client.Do(req); err == nil {
			resp.Body.Close()
			if resp.StatusCode == http.StatusOK {
				return nil
			}
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("the API server is not ready again: %w", ctx.Err())
		case <-time.After(100 * time.Millisecond):
		}
	}
}
