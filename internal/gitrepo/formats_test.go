package gitrepo

import (
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/gitops-toolkit/flux/internal/retryafter"
	"github.com/gitops-toolkit/flux/test/servers/git"
)

// TestThousandsOfTags picks a version of five thousand: one listing, and one fetch of one commit.
func TestThousandsOfTags(t *testing.T) {
	t.Parallel()
	srv, repo, store := setup(t, git.Options{HTTP: git.AnyPort})
	tip, err := repo.Resolve("main")
	must(t, err)
	var refs strings.Builder
	for i := range 5000 {
		fmt.Fprintf(&refs, "create refs/tags/v%d.%d.%d %s\n", i/1000, i/100%10, i%100, tip)
		fmt.Fprintf(&refs, "create refs/tags/build-%d %s\n", i, tip)
	}
	_, err = repo.Git(strings.NewReader(refs.String()), "update-ref", "--stdin")
	must(t, err)
	_, err = repo.Git(nil, "pack-refs", "--all")
	must(t, err)
	remote := Remote{URL: srv.HTTPURL("fleet")}
	for semver, want := range map[string]string{"*": "v4.9.99", "2.x": "v2.9.99", "~1.3.0": "v1.3.99", ">=3.0.0 <3.0.50": "v3.0.49", "1.2.3": "v1.2.3"} {
		srv.ResetRequests()
		rev, err := store.Resolve(patient(t), remote, Reference{SemVer: semver})
		if err != nil || rev.String() != want+"@sha1:"+tip {
			t.Errorf("%s: %s, %v, want %s", semver, rev, err, want)
		}
		if n := len(srv.Requests()); n > 2 {
			t.Errorf("%s: %d requests", semver, n)
		}
	}
	if _, files := get(t, store, remote, Reference{SemVer: "4.x"}); files["README"] != "hello\n" {
		t.Errorf("files %v", files)
	}
}

// TestObjectFormat names the cause where a repository cannot be read.
func TestObjectFormat(t *testing.T) {
	t.Parallel()
	srv, repo, store := setup(t, git.Options{HTTP: git.AnyPort})
	must(t, os.Mkdir(filepath.Join(filepath.Dir(repo.Dir), "new.git"), 0o755))
	other := &git.Repo{Name: "new", Dir: filepath.Join(filepath.Dir(repo.Dir), "new.git")}
	if _, err := other.Git(nil, "init", "--quiet", "--bare", "--object-format=sha256", "--initial-branch=main", "."); err != nil {
		t.Skipf("this git makes no repositories with SHA-256: %v", err)
	}
	_, err := other.Commit(map[string]string{"a": "b"}, "Begin")
	must(t, err)
	_, err = store.Resolve(patient(t), Remote{URL: srv.HTTPURL("new")}, Reference{Branch: "main"})
	if !errors.Is(err, ErrObjectFormat) || !strings.Contains(err.Error(), "sha256") {
		t.Errorf("%v", err)
	}
}

// TestThrottled tells what a busy server asks for.
func TestThrottled(t *testing.T) {
	t.Parallel()
	srv, _, store := setup(t, git.Options{HTTP: git.AnyPort, Wrap: func(http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Retry-After", "90")
			w.WriteHeader(http.StatusTooManyRequests)
		})
	}})
	_, err := store.Resolve(patient(t), Remote{URL: srv.HTTPURL("fleet")}, Reference{Branch: "main"})
	if retryafter.Asked(err) != 90*time.Second || !strings.Contains(err.Error(), "429 Too Many Requests, and asks to wait 1m30s") {
		t.Errorf("%v", err)
	}
}
