package store

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/gitops-toolkit/flux/internal/artifact"
)

// story is a sequence of operations that passes every step of the write path.
func story(ctx context.Context, s *Store) error {
	put := func(object, file, text string) (artifact.Ref, error) {
		return s.Put(ctx, repo(object, file), "r", nil, content("whole "+text))
	}
	var refs []artifact.Ref
	for _, p := range [][3]string{
		{"a", "1.tar.gz", "one"}, {"b", "1.tar.gz", "one"}, {"a", "1.tar.gz", "two"}, {"a", "1.tar.gz", "two"}, {"a", "2.tar.gz", "three"}, {"a", "3.tar.gz", "one"},
	} {
		ref, err := put(p[0], p[1], p[2])
		if err != nil {
			return err
		}
		refs = append(refs, ref)
		if _, err := s.Link(ref, "latest.tar.gz"); err != nil {
			return err
		}
	}
	if _, err := s.Collect(ctx, refs[len(refs)-1]); err != nil {
		return err
	}
	_, err := s.Delete(ctx, "gitrepository", "apps", "b")
	return err
}

func wholeOnly(text string) bool {
	return text == "whole one" || text == "whole two" || text == "whole three"
}

type powerCut struct{}

// die ends a store as the kernel ends a process: nothing is tidied up, locks are gone.
func (s *Store) die(t *testing.T) {
	t.Helper()
	must(t, errors.Join(s.temp.lock.Close(), s.lock.Close(), s.root.Close()))
}

// TestPowerCutAtEveryStep ends the world between any two steps, starts again and audits.
func TestPowerCutAtEveryStep(t *testing.T) {
	t.Parallel()
	steps := map[string]bool{}
	for n := 1; ; n++ {
		opts := Options{Root: t.TempDir(), Advertised: "store.test", RetentionRecords: 1}
		s, err := Open(opts)
		must(t, err)
		left := n
		s.fail = func(step string) error {
			steps[step] = true
			if left--; left == 0 {
				panic(powerCut{})
			}
			return nil
		}
		cut := survive(t, s)
		s.die(t)
		again := open(t, opts)
		audit(t, again, wholeOnly)
		if err := story(t.Context(), again); err != nil {
			t.Errorf("cut %d: the store does not work afterwards: %v", n, err)
		}
		audit(t, again, wholeOnly)
		if !cut {
			break
		}
	}
	for _, step := range []string{
		"temp created", "content written", "content synced", "blob stored", "link created", "link renamed", "named",
		"symlink created", "symlink renamed", "name removed", "blob removed",
	} {
		if !steps[step] {
			t.Errorf("the story never came to %q", step)
		}
	}
}

// survive runs the story and reports whether the power was cut.
func survive(t *testing.T, s *Store) (cut bool) {
	t.Helper()
	defer func() {
		if r := recover(); r != nil {
			if _, cut = r.(powerCut); !cut {
				panic(r)
			}
		}
	}()
	must(t, story(t.Context(), s))
	return false
}

// TestErrorAtEveryStep fails at each step with a full disk and audits without starting again.
func TestErrorAtEveryStep(t *testing.T) {
	t.Parallel()
	for n := 1; ; n++ {
		s := open(t, Options{RetentionRecords: 1})
		left, last := n, ""
		s.fail = func(step string) error {
			if left--; left == 0 {
				last = step
				return syscall.ENOSPC
			}
			return nil
		}
		err := story(t.Context(), s)
		if left > 0 {
			must(t, err)
			return
		}
		if !errors.Is(err, syscall.ENOSPC) {
			t.Errorf("%s: got %v", last, err)
		}
		audit(t, s, wholeOnly)
		s.fail = nil
		if err := story(t.Context(), s); err != nil {
			t.Errorf("after an error at %q: %v", last, err)
		}
		audit(t, open(t, Options{Root: s.opts.Root}), wholeOnly)
	}
}

const childEnv = "FLUX_STORE_TEST_CHILD"

// TestMain lets the test binary be the process that TestKill kills.
func TestMain(m *testing.M) {
	if root := os.Getenv(childEnv); root != "" {
		child(root)
	}
	os.Exit(m.Run())
}

// child stores and collects for ever and says so after each round.
func child(root string) {
	s, err := Open(Options{Root: root, RetentionRecords: 1})
	if err != nil {
		fmt.Println("error:", err)
		os.Exit(1)
	}
	for {
		if err := story(context.Background(), s); err != nil {
			fmt.Println("error:", err)
			os.Exit(1)
		}
		fmt.Println("round")
	}
}

// TestKill kills a writing process at random moments.
func TestKill(t *testing.T) {
	// Not parallel: between fork and exec the child holds the locks of every store of this process.

	root := t.TempDir()
	for range 8 {
		cmd := exec.Command(os.Args[0])
		cmd.Env = append(os.Environ(), childEnv+"="+root)
		out, err := cmd.StdoutPipe()
		must(t, err)
		must(t, cmd.Start())
		lines := bufio.NewScanner(out)
		for range 1 + rand.IntN(3) {
			if !lines.Scan() || strings.HasPrefix(lines.Text(), "error") {
				t.Errorf("child: %q", lines.Text())
				break
			}
		}
		time.Sleep(time.Duration(rand.IntN(3000)) * time.Microsecond) // the random moment itself
		must(t, cmd.Process.Kill())
		_ = cmd.Wait() // killed, as it should be
		s, err := Open(Options{Root: root, Advertised: "store.test"})
		must(t, err)
		audit(t, s, wholeOnly)
		must(t, s.Close())
	}
	left, err := filepath.Glob(filepath.Join(root, privateDir, "tmp", "*"))
	must(t, err)
	if len(left) > 0 {
		t.Errorf("directories of dead processes are left: %q", left)
	}
}
