package test

import (
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

func TestLife(t *testing.T) {
	t.Parallel()
	s := up(t)
	s.kubectl("create", "configmap", "kept", "--from-literal=key=value")

	t.Run("up again changes nothing", func(t *testing.T) {
		s := s.in(t)
		before := s.status.PIDs["kube-apiserver"]
		s.up()
		if after := s.status.PIDs["kube-apiserver"]; before != after {
			t.Errorf("the API server was started again: %d, then %d", before, after)
		}
	})
	t.Run("status is healthy", func(t *testing.T) {
		s := s.in(t)
		if out := s.run("status", "-o", "json"); !strings.Contains(out, `"healthy": true`) {
			t.Error(out)
		}
	})
	t.Run("requests are in the audit log", func(t *testing.T) {
		s := s.in(t)
		log, err := os.ReadFile(s.status.AuditLog)
		if err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(string(log), `"username":"kubernetes-admin"`) {
			t.Error("no request of the administrator is in the audit log")
		}
	})
	t.Run("the registry answers", func(t *testing.T) {
		s := s.in(t)
		response, err := http.Get("http://" + s.status.Registry + "/v2/")
		if err != nil {
			t.Fatal(err)
		}
		response.Body.Close()
		if response.StatusCode != http.StatusOK {
			t.Error(response.Status)
		}
	})
	t.Run("a dead component comes back", func(t *testing.T) {
		s := s.in(t)
		kill(t, s.status.PIDs["kube-apiserver"])
		s.up() // returns when it is back
		s.kubectl("get", "configmap", "kept")
	})
	t.Run("nothing outlives a killed supervisor", func(t *testing.T) {
		s := s.in(t)
		kill(t, s.status.PIDs["supervisor"])
		eventually(t, "all processes have gone", func() bool { return len(s.ours()) == 0 })
	})
	t.Run("up brings the objects back at the same address", func(t *testing.T) {
		s := s.in(t)
		kubeconfig, err := os.ReadFile(s.status.Kubeconfig)
		if err != nil {
			t.Fatal(err)
		}
		s.up()
		s.kubectl("get", "configmap", "kept")
		if again, _ := os.ReadFile(s.status.Kubeconfig); string(again) != string(kubeconfig) {
			t.Error("the kubeconfig has changed, so running clients are cut off")
		}
	})
	t.Run("down leaves nothing", func(t *testing.T) {
		s := s.in(t)
		s.run("down")
		if left := s.ours(); len(left) > 0 {
			t.Errorf("processes left: %v", left)
		}
		if left, _ := filepath.Glob(filepath.Join(s.home, "*")); len(left) > 0 {
			t.Errorf("files left: %v", left)
		}
		if out := s.run("down"); !strings.Contains(out, "there is no sandbox") {
			t.Errorf("down again says %q", out)
		}
	})
}

func kill(t *testing.T, pid int) {
	t.Helper()
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
}

func TestGit(t *testing.T) {
	t.Parallel()
	if _, err := exec.LookPath("git"); err != nil {
		t.Skip("git is not installed")
	}
	s := up(t)
	url := strings.TrimSpace(s.run("git create", "fleet"))
	work := t.TempDir()
	git := func(env string, args ...string) (string, error) {
		cmd := exec.Command("git", args...)
		cmd.Dir = work
		cmd.Env = append(os.Environ(), "GIT_TERMINAL_PROMPT=0", "GIT_CONFIG_GLOBAL=/dev/null",
			"GIT_AUTHOR_NAME=a", "GIT_AUTHOR_EMAIL=a@example.com", "GIT_COMMITTER_NAME=a", "GIT_COMMITTER_EMAIL=a@example.com", env)
		out, err := cmd.CombinedOutput()
		return string(out), err
	}
	must := func(env string, args ...string) {
		t.Helper()
		if out, err := git(env, args...); err != nil {
			t.Fatalf("git %s: %v\n%s", strings.Join(args, " "), err, out)
		}
	}
	must("", "init", "-q", "-b", "main")
	must("", "commit", "-q", "--allow-empty", "-m", "first")
	if _, err := git("", "push", url, "main"); err == nil {
		t.Error("a push without a credential was accepted")
	}
	must("", "push", "-q", strings.Replace(url, "//", "//"+s.status.GitUsername+":"+s.status.GitPassword+"@", 1), "main")
	must("", "ls-remote", "--exit-code", url, "main")
	ssh := "GIT_SSH_COMMAND=ssh -F /dev/null -i " + s.status.GitIdentity + " -o IdentitiesOnly=yes -o UserKnownHostsFile=" + s.status.GitKnown
	if _, err := exec.LookPath("ssh"); err == nil {
		must(ssh, "ls-remote", "--exit-code", s.status.GitSSH+"/fleet.git", "main")
	}
}
