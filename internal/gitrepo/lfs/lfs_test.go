package lfs_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/gitops-toolkit/flux/internal/gitrepo/lfs"
	"github.com/gitops-toolkit/flux/internal/gitrepo/lfs/lfstest"
	"github.com/gitops-toolkit/flux/internal/gitrepo/transport"
)

const sum = "4d7a214614ab2935c943f9e0ff69d22eadbb8f32b1258daaa5e2ca24d17e2393"

func TestParse(t *testing.T) {
	t.Parallel()
	good := lfstest.Pointer(sum, 12345)
	for text, want := range map[string]lfs.Pointer{
		good: {OID: sum, Size: 12345},
		strings.Replace(good, "\noid", "\nunknown value\noid", 1): {OID: sum, Size: 12345},
		strings.TrimSuffix(good, "\n"):                            {OID: sum, Size: 12345},
		"":                                                        {},
		"hello\n" + good:                                          {},
		strings.Replace(good, "spec/v1", "spec/v2", 1):            {},
		strings.Replace(good, "sha256", "md5", 1):                 {},
		strings.Replace(good, sum, strings.ToUpper(sum), 1):       {},
		strings.Replace(good, sum, "../../etc/passwd", 1):         {},
		strings.Replace(good, "12345", "-1", 1):                   {},
		strings.Replace(good, "12345", "99999999999999999999", 1): {},
		good + "size 3\n":                   {},
		good + strings.Repeat("x y\n", 300): {},
	} {
		p, ok, err := lfs.Parse([]byte(text))
		if p != want || ok != (want.OID != "") || err != nil {
			t.Errorf("%.80q: %+v, %t, %v", text, p, ok, err)
		}
	}
	if _, _, err := lfs.Parse([]byte(strings.Replace(good, "oid", "ext-0-foo sha256:"+sum+"\noid", 1))); !errors.Is(err, lfs.ErrExtension) {
		t.Errorf("a pointer with an extension: %v", err)
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(lfstest.Pointer(sum, 1)))
	f.Fuzz(func(t *testing.T, text []byte) {
		p, ok, _ := lfs.Parse(text)
		if ok && (len(p.OID) != 64 || strings.Trim(p.OID, "0123456789abcdef") != "" || p.Size < 0) {
			t.Errorf("%q: %+v", text, p)
		}
	})
}

func TestAttributes(t *testing.T) {
	t.Parallel()
	var a lfs.Attributes
	for _, f := range []struct{ dir, text string }{
		{"", "# large\n*.bin filter=lfs diff=lfs merge=lfs -text\ndocs/*.bin -filter\n*.txt text\n/top.dat filter=lfs\n"},
		{"docs", "keep.bin filter=lfs diff=lfs\n*.pdf filter=other\n"},
	} {
		var dir []string
		if f.dir != "" {
			dir = strings.Split(f.dir, "/")
		}
		var err error
		if a, err = a.In(dir, []byte(f.text)); err != nil {
			t.Fatal(err)
		}
	}
	for file, want := range map[string]bool{
		"a.bin": true, "deep/er/a.bin": true, "a.txt": false, "docs/a.bin": false, "docs/keep.bin": true,
		"docs/a.pdf": false, "top.dat": true, "deep/top.dat": false, "a.bin.txt": false,
	} {
		if got := a.Large(strings.Split(file, "/")); got != want {
			t.Errorf("%s: %t", file, got)
		}
	}
}

// TestSSH asks the SSH server, and goes where it says with what it gives.
func TestSSH(t *testing.T) {
	t.Parallel()
	store := &lfstest.Server{User: "jo", Password: "temporary-pw"}
	p, _, _ := lfs.Parse([]byte(store.Put("large")))
	web := httptest.NewServer(store.Wrap(http.NotFoundHandler()))
	t.Cleanup(web.Close)
	answer, _ := json.Marshal(map[string]any{
		"href": web.URL + "/org/app.git/info/lfs", "header": map[string]string{"Authorization": "Basic am86dGVtcG9yYXJ5LXB3"}, "expires_in": 60,
	})
	ssh := lfstest.StartSSH(t, string(answer))
	remote := transport.Remote{URL: "ssh://git@" + ssh.Address + "/org/app.git", Auth: transport.Auth{Identity: ssh.Identity, KnownHosts: ssh.KnownHosts}}
	client, err := lfs.Open(t.Context(), remote, transport.Algorithms{}, "")
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	if got := <-ssh.Commands; got != "git-lfs-authenticate '/org/app.git' download" {
		t.Errorf("the command %q", got)
	}
	var b bytes.Buffer
	sources, err := client.Locate(t.Context(), []lfs.Pointer{p})
	if err == nil {
		err = client.Copy(t.Context(), sources[p.OID], &b)
	}
	if err != nil || b.String() != "large" || len(store.Problems()) != 0 {
		t.Errorf("%q, %v, %v", b.String(), err, store.Problems())
	}
	plain := lfstest.StartSSH(t, "")
	remote = transport.Remote{URL: "ssh://git@" + plain.Address + "/org/app.git", Auth: transport.Auth{Identity: plain.Identity, KnownHosts: plain.KnownHosts}}
	if _, err := lfs.Open(t.Context(), remote, transport.Algorithms{}, ""); err == nil || !strings.Contains(err.Error(), "command not found") {
		t.Errorf("a server without LFS: %v", err)
	}
}

// TestCredentialsStay shows what which host gets to see.
func TestCredentialsStay(t *testing.T) {
	t.Parallel()
	store := &lfstest.Server{User: "jo", Password: "canary-pw"}
	p, _, _ := lfs.Parse([]byte(store.Put("large")))
	web := httptest.NewServer(store.Wrap(http.NotFoundHandler()))
	t.Cleanup(web.Close)
	remote := transport.Remote{URL: web.URL + "/org/app", Auth: transport.Auth{Username: "jo", Password: "canary-pw"}}
	read := func(address string) (string, error) {
		client, err := lfs.Open(context.Background(), remote, transport.Algorithms{}, address)
		if err != nil {
			return "", err
		}
		defer client.Close()
		sources, err := client.Locate(context.Background(), []lfs.Pointer{p})
		if err != nil {
			return "", err
		}
		var b bytes.Buffer
		return b.String(), errors.Join(client.Copy(context.Background(), sources[p.OID], &b))
	}
	if _, err := read(""); err != nil {
		t.Fatal(err)
	}
	store.Elsewhere(t)
	if _, err := read(""); err != nil {
		t.Fatal(err)
	}
	store.Redirect, store.Storage = store.Storage, ""
	if _, err := read(""); err != nil {
		t.Fatal(err)
	}
	seen := map[bool]int{}
	own := strings.TrimPrefix(web.URL, "http://")
	for _, r := range store.Requests() {
		seen[r.Host == own]++
		if r.Host != own && r.Authorization != "" {
			t.Errorf("another host has seen the credentials: %+v", r)
		}
	}
	if seen[true] != 5 || seen[false] != 2 {
		t.Errorf("requests %+v", store.Requests())
	}
	for _, r := range store.Requests() {
		if store.Redirect == "http://"+r.Host && r.Token != "" && r == store.Requests()[len(store.Requests())-1] {
			t.Errorf("a redirect took a header along: %+v", r)
		}
	}
	// Another LFS server that the repository names gets nothing, and so refuses.
	if _, err := read("http://" + strings.Replace(own, "127.0.0.1", "localhost", 1) + "/lfs"); !errors.Is(err, transport.ErrURL) {
		t.Errorf("a server on this machine that the repository names: %v", err)
	}
}

func TestFailures(t *testing.T) {
	t.Parallel()
	store := &lfstest.Server{}
	good, _, _ := lfs.Parse([]byte(store.Put("large")))
	web := httptest.NewServer(store.Wrap(http.NotFoundHandler()))
	t.Cleanup(web.Close)
	copied := func(p lfs.Pointer) error {
		client, err := lfs.Open(context.Background(), transport.Remote{URL: web.URL + "/app.git"}, transport.Algorithms{}, "")
		if err != nil {
			return err
		}
		defer client.Close()
		sources, err := client.Locate(context.Background(), []lfs.Pointer{p})
		if err != nil {
			return err
		}
		return client.Copy(context.Background(), sources[p.OID], &bytes.Buffer{})
	}
	for what, tt := range map[string]struct {
		pointer lfs.Pointer
		want    error
		text    string
	}{
		"absent":    {lfs.Pointer{OID: sum, Size: 3}, lfs.ErrObject, `404 "Object does not exist"`},
		"longer":    {lfs.Pointer{OID: good.OID, Size: 3}, lfs.ErrObject, "is not what the pointer says"},
		"shorter":   {lfs.Pointer{OID: good.OID, Size: 300}, lfs.ErrObject, "is not what the pointer says"},
		"too large": {lfs.Pointer{OID: good.OID, Size: lfs.MaxObject + 1}, lfs.ErrTooLarge, "are allowed"},
	} {
		if err := copied(tt.pointer); !errors.Is(err, tt.want) || !strings.Contains(err.Error(), tt.text) {
			t.Errorf("%s: %v", what, err)
		}
	}
	store.Corrupt = true
	if err := copied(good); !errors.Is(err, lfs.ErrObject) {
		t.Errorf("other content: %v", err)
	}
	store.Corrupt, store.Broken = false, true
	if err := copied(good); err == nil || !strings.Contains(err.Error(), "500") {
		t.Errorf("a broken storage: %v", err)
	}
	store.User, store.Password = "jo", "pw"
	if err := copied(good); !errors.Is(err, transport.ErrAuthentication) {
		t.Errorf("no credentials: %v", err)
	}
}
