package controllers

import (
	"context"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/go-logr/logr"
	"k8s.io/client-go/rest"

	"github.com/gitops-toolkit/flux/internal/kernel"
)

// nowhere is a connection to an API server that does not exist; registering needs none.
var nowhere = &rest.Config{Host: "http://127.0.0.1:1"}

// registered parses a command line and registers its controllers, without running them.
func registered(t *testing.T, args ...string) *command {
	t.Helper()
	t.Setenv("TMPDIR", t.TempDir())
	c := mustParse(t, args...)
	all, err := c.settings(logr.Discard())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.assemble(nowhere, all, logr.Discard()); err != nil {
		t.Fatal(err)
	}
	return c
}

func free(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

func TestOneAddressForAllByPath(t *testing.T) {
	addr, data := free(t), t.TempDir()
	// The order of the names must not matter for what each serves.
	c := registered(t, "flux-controller", "--controllers=source-watcher,source", "--metrics-addr=0", "--health-addr=0",
		"--storage-addr="+addr, "--source.storage-path="+data+"/source", "--source-watcher.storage-path="+data+"/watcher")
	shared := c.chosen[0].values.listeners
	if len(shared) != 1 {
		t.Fatalf("%d listeners, want one", len(shared))
	}
	put(t, data+"/source/gitrepository/apps/a/x.tar.gz", "from Git")
	put(t, data+"/watcher/externalartifact/apps/a/x.tar.gz", "generated")
	process, err := kernel.NewProcess(nowhere, kernel.ProcessOptions{MetricsAddr: "0", HealthAddr: "0", Log: logr.Discard()})
	if err != nil {
		t.Fatal(err)
	}
	intake := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusAccepted) })
	shared.handle(process.Controller("notification-controller", kernel.Defaults()), "events-addr", addr, "POST /", intake)

	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- shared[addr].run(ctx, "storage-addr", addr) }()
	tests := []struct {
		reason, method, path string
		code                 int
		body                 string
	}{
		{"an artifact of a source", http.MethodGet, "/gitrepository/apps/a/x.tar.gz", 200, "from Git"},
		{"its head", http.MethodHead, "/gitrepository/apps/a/x.tar.gz", 200, ""},
		{"a generated artifact", http.MethodGet, "/externalartifact/apps/a/x.tar.gz", 200, "generated"},
		{"the readiness probe", http.MethodGet, "/", 200, ""},
		{"an event", http.MethodPost, "/", 202, ""},
		{"nothing of one store below the other's", http.MethodGet, "/externalartifact/apps/b/x.tar.gz", 404, ""},
		{"artifacts are not written from outside", http.MethodPut, "/gitrepository/apps/a/x.tar.gz", 405, ""},
	}
	await(t, addr)
	for _, tt := range tests {
		code, body := ask(t, tt.method, addr, tt.path)
		if code != tt.code || tt.body != "" && body != tt.body {
			t.Errorf("%s: %s %s gives %d %q, want %d %q", tt.reason, tt.method, tt.path, code, body, tt.code, tt.body)
		}
	}
	cancel()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

func put(t *testing.T, path, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func ask(t *testing.T, method, addr, path string) (code int, body string) {
	t.Helper()
	resp, err := http.DefaultClient.Do(&http.Request{Method: method, URL: &url.URL{Scheme: "http", Host: addr, Path: path}})
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	data, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(data)
}

// await waits until somebody listens at the address.
func await(t *testing.T, addr string) {
	t.Helper()
	for deadline := time.Now().Add(30 * time.Second); ; {
		conn, err := net.Dial("tcp", addr)
		if err == nil {
			conn.Close()
			return
		}
		if time.Now().After(deadline) {
			t.Fatal(err)
		}
	}
}

func TestAddressInUseNamesTheFlag(t *testing.T) {
	t.Parallel()
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	err = (&listener{}).run(t.Context(), "storage-addr", taken.Addr().String())
	if err == nil || !strings.Contains(err.Error(), "--storage-addr") {
		t.Errorf("error %v", err)
	}
}

func TestRemoteBasesAreForbiddenByTheFlag(t *testing.T) {
	for _, tt := range []struct {
		flag string
		want bool
	}{{"--no-remote-bases=false", true}, {"--no-remote-bases", false}} {
		c := registered(t, "kustomize-controller", "--metrics-addr=0", "--health-addr=0", tt.flag)
		_, err := os.Stat(filepath.Join(os.Getenv("TMPDIR"), "flux-kustomize-controller", "remote"))
		if (err == nil) != tt.want {
			t.Errorf("%s: remote bases are kept: %v, want %v", c.chosen[0].values.flag("no-remote-bases").Value, err == nil, tt.want)
		}
	}
}
