package gitrepository

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime/debug"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	sourcev1 "github.com/gitops-toolkit/flux/api/source/v1"
	"github.com/gitops-toolkit/flux/internal/artifact/archive"
	"github.com/gitops-toolkit/flux/internal/artifact/store"
	"github.com/gitops-toolkit/flux/internal/gitrepo"
	"github.com/gitops-toolkit/flux/internal/kernel/kerneltest"
	"github.com/gitops-toolkit/flux/test/servers/git"
)

// Budgets of the design for one changed file of 10,000, 100 MB.
const (
	budgetMoved  = 64 << 10
	budgetMemory = 64 << 20
)

// TestOneOfTenThousand polls a large repository in a process of its own: once for the first artifact, once after a
// change of one file. What moved is counted by the server, memory by the system.
func TestOneOfTenThousand(t *testing.T) {
	if dir := os.Getenv("GITREPOSITORY_BUDGET_DIR"); dir != "" {
		pollTwice(t, dir, os.Getenv("GITREPOSITORY_BUDGET_URL"))
		return
	}
	if testing.Short() {
		t.Skip("makes a repository of 100 MB")
	}
	srv, err := git.Start(git.Options{Root: t.TempDir(), HTTP: git.AnyPort})
	must(t, err)
	t.Cleanup(func() { _ = srv.Close() })
	repo, err := srv.Create("large", "main")
	must(t, err)
	fill(t, repo)
	cmd := exec.Command(os.Args[0], "-test.run=^TestOneOfTenThousand$", "-test.v")
	cmd.Env = append(os.Environ(), "GITREPOSITORY_BUDGET_DIR="+t.TempDir(), "GITREPOSITORY_BUDGET_URL="+srv.HTTPURL("large"))
	stdin, err := cmd.StdinPipe()
	must(t, err)
	var out strings.Builder
	first := make(chan struct{})
	cmd.Stdout = &watcher{out: &out, mark: "first done", seen: first}
	must(t, cmd.Start())
	<-first
	_, err = repo.Commit(map[string]string{"apps/042/04242.yaml": "changed: true\n"}, "One file")
	must(t, err)
	srv.ResetRequests()
	_, err = fmt.Fprintln(stdin, "go on")
	must(t, err)
	must(t, cmd.Wait())
	if moved := git.Sent(srv.Requests()); moved > budgetMoved {
		t.Errorf("%d bytes moved, %d allowed", moved, budgetMoved)
	}
	m := regexp.MustCompile(`second took (\S+) of CPU, grew by (\d+) bytes`).FindStringSubmatch(out.String())
	if m == nil {
		t.Fatalf("no figures in %s", out.String())
	}
	grew, err := strconv.Atoi(m[2])
	must(t, err)
	t.Logf("%s; moved %d bytes", m[0], git.Sent(srv.Requests()))
	if grew > budgetMemory {
		t.Errorf("%d bytes above idle, %d allowed", grew, budgetMemory)
	}
}

// watcher tells when a text came by.
type watcher struct {
	out  *strings.Builder
	mark string
	seen chan struct{}
	done bool
}

func (w *watcher) Write(p []byte) (int, error) {
	w.out.Write(p)
	if !w.done && strings.Contains(w.out.String(), w.mark) {
		w.done = true
		close(w.seen)
	}
	return len(p), nil
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func fill(t *testing.T, repo *git.Repo) {
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
	_, err := repo.Commit(files, "Large")
	must(t, err)
}

// noConfigs is a cluster without Secrets.
type noConfigs struct{}

func (noConfigs) GetSecret(context.Context, types.NamespacedName) (*corev1.Secret, error) {
	return nil, os.ErrNotExist
}
func (noConfigs) SecretVersion(string, string) (string, bool) { return "", true }

func pollTwice(t *testing.T, dir, url string) {
	debug.FreeOSMemory()
	idle := status(t, "VmRSS")
	artifacts, err := store.Open(store.Options{Root: dir, Advertised: "x"})
	must(t, err)
	mirrors, err := gitrepo.NewStore(filepath.Join(dir, ".git"), gitrepo.Options{})
	must(t, err)
	members, err := archive.OpenMembers(filepath.Join(dir, ".members"), 0)
	must(t, err)
	c := &controller{configs: noConfigs{}, Options: Options{
		Artifacts: artifacts, Git: mirrors, Archives: archive.NewBuilder(archive.Options{Members: members}),
	}}
	obj := &sourcev1.GitRepository{ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: "large"}}
	obj.Spec.URL, obj.Spec.Reference = url, &sourcev1.GitRepositoryRef{Branch: "main"}
	once := func() time.Duration {
		before := cpu(t)
		req, _ := kerneltest.Request(obj)
		p, _ := c.newPoll(context.Background(), req)
		v, err := p.run(context.Background())
		must(t, err)
		f := v.(*found)
		if !f.Stored {
			t.Fatal("nothing new was found")
		}
		obj.Status.Artifact = f.Artifact
		return cpu(t) - before
	}
	fmt.Printf("first took %s of CPU, first done\n", once())
	var line string
	_, err = fmt.Scanln(&line, new(string))
	must(t, err)
	fmt.Printf("second took %s of CPU, ", once())
	fmt.Printf("grew by %d bytes\n", status(t, "VmHWM")-idle)
}

func cpu(t *testing.T) time.Duration {
	var u syscall.Rusage
	must(t, syscall.Getrusage(syscall.RUSAGE_SELF, &u))
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

func status(t *testing.T, field string) int64 {
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
