package gitrepo

import (
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"regexp"
	"runtime/debug"
	"strconv"
	"strings"
	"testing"

	"github.com/gitops-toolkit/flux/test/servers/git"
)

// memoryBudget is what a clone, and reading every file of it, may take above an idle process. The design
// says 64 MiB for 10,000 files of together 100 MB.
const memoryBudget = 64 << 20

// TestMemory clones and reads a large repository in a process of its own, and asks the system for the
// most memory that it had.
func TestMemory(t *testing.T) {
	if dir := os.Getenv("GITREPO_MEMORY_DIR"); dir != "" {
		cloneAndRead(t, dir, os.Getenv("GITREPO_MEMORY_URL"))
		return
	}
	if testing.Short() {
		t.Skip("makes a repository of 100 MB")
	}
	t.Parallel()
	srv, repo, _ := setup(t, git.Options{HTTP: git.AnyPort})
	large(t, repo)
	cmd := exec.Command(os.Args[0], "-test.run=^TestMemory$", "-test.v")
	cmd.Env = append(os.Environ(), "GITREPO_MEMORY_DIR="+t.TempDir(), "GITREPO_MEMORY_URL="+srv.HTTPURL("fleet"))
	out, err := cmd.CombinedOutput()
	must(t, err)
	m := regexp.MustCompile(`grew by (\d+) bytes`).FindSubmatch(out)
	if m == nil {
		t.Fatalf("no figure in %s", out)
	}
	grew, err := strconv.Atoi(string(m[1]))
	must(t, err)
	t.Logf("%d MiB above idle, %d allowed", grew>>20, memoryBudget>>20)
	if grew > memoryBudget {
		t.Errorf("%d bytes above idle, %d allowed", grew, memoryBudget)
	}
}

// large makes 10,000 files of together 100 MB.
func large(t *testing.T, repo *git.Repo) {
	t.Helper()
	rnd := rand.New(rand.NewPCG(7, 8))
	files := map[string]string{}
	for i := range 10_000 {
		var b strings.Builder
		for b.Len() < 10_000 {
			fmt.Fprintf(&b, "  key-%d: value-%d-%x\n", rnd.IntN(100), i, rnd.Uint64())
		}
		files[fmt.Sprintf("apps/%03d/%05d.yaml", i%100, i)] = b.String()
	}
	commit(t, repo, git.Change{Message: "Large", Files: files})
}

func cloneAndRead(t *testing.T, dir, url string) {
	debug.FreeOSMemory()
	idle := rss(t, "VmRSS")
	store := newStore(t, dir)
	rev, err := store.Resolve(patient(t), Remote{URL: url}, Reference{Branch: "main"})
	must(t, err)
	snap, err := store.Fetch(patient(t), Remote{URL: url}, rev)
	must(t, err)
	defer snap.Close()
	n := 0
	must(t, snap.Walk(func(_ string, e Entry) (bool, error) {
		if e.Mode == ModeDir {
			return true, nil
		}
		n++
		r, _, err := snap.Blob(e.Hash)
		if err != nil {
			return false, err
		}
		defer r.Close()
		_, err = io.Copy(io.Discard, r)
		return false, err
	}))
	if n < 10_000 {
		t.Fatalf("%d files", n)
	}
	fmt.Printf("grew by %d bytes\n", rss(t, "VmHWM")-idle)
}

func rss(t *testing.T, field string) int64 {
	t.Helper()
	data, err := os.ReadFile("/proc/self/status")
	if err != nil {
		t.Skip("the system does not tell how much memory a process has")
	}
	m := regexp.MustCompile(field + `:\s+(\d+) kB`).FindSubmatch(data)
	if m == nil {
		t.Fatalf("no %s", field)
	}
	n, err := strconv.ParseInt(string(m[1]), 10, 64)
	must(t, err)
	return n << 10
}
