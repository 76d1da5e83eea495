package gitrepo

import (
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/gitops-toolkit/flux/internal/gitrepo/lfs/lfstest"
	"github.com/gitops-toolkit/flux/test/servers/git"
)

// TestLargeFilesAreKeptApart fetches a file once for those with the same credentials, and shows it to nobody else.
func TestLargeFilesAreKeptApart(t *testing.T) {
	t.Parallel()
	large := &lfstest.Server{}
	srv, repo, store := setup(t, git.Options{HTTP: git.AnyPort, Wrap: large.Wrap})
	pointer := large.Put("large content")
	commit(t, repo, git.Change{Message: "Large", Files: map[string]string{".gitattributes": "*.bin filter=lfs\n", "dir/a.bin": pointer, "dir/b.bin": pointer}})
	open := func(r Remote) []LargeFile {
		t.Helper()
		rev, err := store.Resolve(patient(t), r, Reference{Branch: "main"})
		must(t, err)
		snap, err := store.Fetch(patient(t), r, rev)
		must(t, err)
		defer snap.Close()
		files, err := store.LargeFiles(r, snap)
		must(t, err)
		defer func() { must(t, files.Close()) }()
		for _, f := range files.List {
			body, err := files.Open(patient(t), f)
			must(t, err)
			data, err := io.ReadAll(body)
			if string(data) != "large content" || err != nil || body.Close() != nil {
				t.Errorf("%s: %q, %v", f.Path, data, err)
			}
		}
		return files.List
	}
	mine := open(Remote{URL: srv.HTTPURL("fleet")})
	if len(mine) != 2 || mine[0].Path != "dir/a.bin" || mine[0].ID != mine[1].ID || len(large.Requests()) != 2 {
		t.Fatalf("%+v, %v", mine, large.Requests())
	}
	open(Remote{URL: srv.HTTPURL("fleet")})
	if n := len(large.Requests()); n != 2 {
		t.Errorf("%d requests for what is here", n)
	}
	theirs := open(Remote{URL: srv.HTTPURL("fleet"), Auth: Auth{Username: "other", Password: "pw"}})
	if n := len(large.Requests()); n != 4 || theirs[0].ID == mine[0].ID {
		t.Errorf("%d requests; ids %s and %s", n, mine[0].ID, theirs[0].ID)
	}
}

// TestLargeFileAddress takes the server that the repository names, and none of this machine.
func TestLargeFileAddress(t *testing.T) {
	t.Parallel()
	large := &lfstest.Server{}
	srv, repo, store := setup(t, git.Options{HTTP: git.AnyPort, Wrap: large.Wrap})
	remote := Remote{URL: srv.HTTPURL("fleet")}
	for address, want := range map[string]string{
		strings.TrimSuffix(srv.HTTPURL("fleet"), ".git") + "-large": "",
		"http://localhost:1/lfs":                                    "is an address of this machine",
		"file:///etc":                                               "must begin with https:// or http://",
	} {
		commit(t, repo, git.Change{Message: "Large", Files: map[string]string{
			".gitattributes": "*.bin filter=lfs\n", "a.bin": large.Put("at " + address), ".lfsconfig": "[lfs]\n\turl = " + address + "\n",
		}})
		rev, err := store.Resolve(patient(t), remote, Reference{Branch: "main"})
		must(t, err)
		snap, err := store.Fetch(patient(t), remote, rev)
		must(t, err)
		files, err := store.LargeFiles(remote, snap)
		if err == nil {
			var body io.ReadCloser
			if body, err = files.Open(patient(t), files.List[0]); err == nil {
				must(t, body.Close())
			}
			must(t, files.Close())
		}
		snap.Close()
		if (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", address, err)
		}
	}
	if !strings.Contains(large.Requests()[0].Path, "-large/objects/batch") {
		t.Errorf("requests %v", large.Requests())
	}
}

func TestLargeFilesAreTrimmed(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for i, name := range []string{"old", "used", "new", "fetch-1"} {
		path := filepath.Join(dir, name)
		must(t, os.WriteFile(path, make([]byte, 100), 0o600))
		at := time.Now().Add(time.Duration(i-10) * time.Minute)
		must(t, os.Chtimes(path, at, at))
	}
	used := LargeFile{Path: "x"}
	used.OID = "used"
	must(t, trimLarge(dir, []LargeFile{used}, 150))
	left, err := filepath.Glob(filepath.Join(dir, "*"))
	must(t, err)
	for i := range left {
		left[i] = filepath.Base(left[i])
	}
	if strings.Join(left, " ") != "fetch-1 new used" {
		t.Errorf("left %v", left)
	}
}
