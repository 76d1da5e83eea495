// Package test drives a real sandbox from outside, with its own command line,
// kubectl and git, as a person would.
//
// It needs a built flux-sandbox, in $FLUX_TEST_BIN or bin/, and kubectl; it
// skips, with a word, where one is missing.
package test

import (
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// sandbox is a sandbox of the test's own.
type sandbox struct {
	t      *testing.T
	binary string
	home   string
	name   string
	status *status
}

type status struct {
	Healthy     bool           `json:"healthy"`
	Directory   string         `json:"directory"`
	Kubeconfig  string         `json:"kubeconfig"`
	AuditLog    string         `json:"auditLog"`
	GitHTTP     string         `json:"gitHTTP"`
	GitSSH      string         `json:"gitSSH"`
	GitUsername string         `json:"gitUsername"`
	GitPassword string         `json:"gitPassword"`
	GitKnown    string         `json:"gitKnownHostsFile"`
	GitIdentity string         `json:"gitIdentityFile"`
	Registry    string         `json:"registry"`
	PIDs        map[string]int `json:"pids"`
}

// up starts a sandbox for the test and removes it at its end.
func up(t *testing.T, args ...string) *sandbox {
	t.Helper()
	s := &sandbox{t: t, binary: binary(t), home: t.TempDir(), name: "test", status: &status{}}
	if _, err := exec.LookPath("kubectl"); err != nil {
		t.Skip("kubectl is not installed")
	}
	t.Cleanup(func() {
		if t.Failed() {
			logs, _ := s.command("logs", "node").CombinedOutput()
			t.Logf("log of the node:\n%s", logs)
		}
		s.run("down")
	})
	s.up(args...)
	return s
}

// in is the sandbox in a subtest, which may fail alone.
func (s *sandbox) in(t *testing.T) *sandbox {
	sub := *s
	sub.t = t
	return &sub
}

func (s *sandbox) up(args ...string) {
	s.t.Helper()
	out := s.run("up", append(args, "-o", "json")...)
	if err := json.Unmarshal([]byte(out), s.status); err != nil {
		s.t.Fatalf("read the answer of up: %v\n%s", err, out)
	}
}

func binary(t *testing.T) string {
	t.Helper()
	dir := os.Getenv("FLUX_TEST_BIN")
	if dir == "" {
		dir = filepath.Join("..", "..", "bin")
	}
	path, err := filepath.Abs(filepath.Join(dir, "flux-sandbox"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(path); err != nil {
		t.Skip("flux-sandbox is not built: run hack/sandbox-build.sh")
	}
	return path
}

// command is a flux-sandbox command for this sandbox.
func (s *sandbox) command(verb string, args ...string) *exec.Cmd {
	words := strings.Fields(verb)
	cmd := exec.Command(s.binary, append(append(words, args...), "--name", s.name)...)
	cmd.Env = append(os.Environ(), "FLUX_SANDBOX_HOME="+s.home)
	return cmd
}

func (s *sandbox) run(verb string, args ...string) string {
	s.t.Helper()
	return output(s.t, s.command(verb, args...))
}

// kubectl runs kubectl against the sandbox.
func (s *sandbox) kubectl(args ...string) string {
	s.t.Helper()
	return output(s.t, s.kubectlCommand(args...))
}

func (s *sandbox) kubectlCommand(args ...string) *exec.Cmd {
	cmd := exec.Command("kubectl", args...)
	cmd.Env = append(os.Environ(), "KUBECONFIG="+s.status.Kubeconfig)
	return cmd
}

// apply creates the objects of a YAML text.
func (s *sandbox) apply(yaml string) {
	s.t.Helper()
	cmd := s.kubectlCommand("apply", "-f", "-")
	cmd.Stdin = strings.NewReader(yaml)
	output(s.t, cmd)
}

func output(t *testing.T, cmd *exec.Cmd) string {
	t.Helper()
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%s: %v\n%s%s", strings.Join(cmd.Args, " "), err, out, stderr.String())
	}
	return string(out)
}

// eventually asks until the answer is right, for a minute at most.
func eventually(t *testing.T, what string, ask func() bool) {
	t.Helper()
	deadline := time.Now().Add(time.Minute)
	for !ask() {
		if time.Now().After(deadline) {
			t.Fatalf("gave up waiting until %s", what)
		}
		time.Sleep(50 * time.Millisecond)
	}
}

// ours lists the processes that have the directory of this sandbox in their
// command line.
func (s *sandbox) ours() []string { return s.processes("cmdline") }

// inEnvironment lists those that have it in their environment, as every pod's
// process has, and what it has started.
func (s *sandbox) inEnvironment() []string { return s.processes("environ") }

func (s *sandbox) processes(file string) []string {
	var found []string
	entries, _ := filepath.Glob("/proc/[0-9]*")
	for _, entry := range entries {
		// kubectl, started by the test, knows the directory too.
		text, _ := os.ReadFile(filepath.Join(entry, file))
		exe, _ := os.Readlink(filepath.Join(entry, "exe"))
		if bytes.Contains(text, []byte(s.home)) && !strings.HasSuffix(exe, "kubectl") {
			found = append(found, filepath.Base(entry)+" "+exe)
		}
	}
	return found
}

// running lists the processes of an executable.
func running(executable string) []string {
	var found []string
	entries, _ := filepath.Glob("/proc/[0-9]*/exe")
	for _, entry := range entries {
		if exe, _ := os.Readlink(entry); exe == executable {
			found = append(found, entry)
		}
	}
	return found
}
