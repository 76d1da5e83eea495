package cache

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"weak"

	"github.com/gitops-toolkit/flux/internal/artifact"
	"github.com/gitops-toolkit/flux/internal/testenv/sealed"
)

func weakNone() weak.Pointer[index] { return weak.Pointer[index]{} }

const (
	childEnv = "FLUX_CACHE_TEST_CHILD"
	stepEnv  = "FLUX_CACHE_TEST_STEP"
)

// TestMain lets the test binary be the process that TestKillAtEveryStep kills.
func TestMain(m *testing.M) {
	if dir := os.Getenv(childEnv); dir != "" {
		if err := child(dir, os.Getenv(stepEnv)); err != nil {
			fmt.Println(err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// fileServer fetches the only archive there is.
type fileServer struct{ name string }

func (s fileServer) Fetch(_ context.Context, _ artifact.Ref, f *os.File) error {
	data, err := os.ReadFile(s.name)
	if err == nil {
		_, err = f.Write(data)
	}
	return err
}

// child acquires an artifact twice its room, and kills itself at a step.
func child(dir, step string) error {
	n, err := strconv.Atoi(step)
	if err != nil {
		return err
	}
	name := filepath.Join(dir, "archive")
	data, err := os.ReadFile(name)
	if err != nil {
		return err
	}
	c, err := Open(Options{Dir: filepath.Join(dir, "cache"), Fetcher: fileServer{name}})
	if err != nil {
		return err
	}
	c.fail = func(string) error {
		if n--; n == 0 {
			return syscall.Kill(os.Getpid(), syscall.SIGKILL)
		}
		return nil
	}
	tree, err := c.Acquire(context.Background(), artifact.Ref{Digest: artifact.DigestOf(artifact.SHA256, data)})
	if err != nil {
		return err
	}
	tree.Release()
	return c.Close()
}

// TestKillAtEveryStep ends a process between any two steps: what is half done is never seen.
func TestKillAtEveryStep(t *testing.T) {
	// Not parallel: between fork and exec the child holds the locks of every cache of this process.
	data := pack(t, map[string]string{"a/b": "content", "c*": "x"})
	for step := 1; ; step++ {
		dir := sealed.TempDir(t)
		must(t, os.WriteFile(filepath.Join(dir, "archive"), data, 0o600))
		cmd := exec.Command(os.Args[0])
		cmd.Env = append(os.Environ(), childEnv+"="+dir, stepEnv+"="+strconv.Itoa(step))
		out, err := cmd.CombinedOutput()
		if err != nil && !strings.Contains(err.Error(), "killed") {
			t.Fatalf("child: %v: %s", err, out)
		}
		s := newServer()
		ref := s.add(data)
		c := openIn(t, dir, s, 0)
		audit(t, c)
		acquire(t, c, ref).Release()
		audit(t, c)
		if err == nil {
			if step < 5 || s.count() != 0 {
				t.Errorf("%d steps, %d downloads after a good run", step-1, s.count())
			}
			return
		}
	}
}
