package events_test

import (
	"bufio"
	"context"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/gitops-toolkit/flux/internal/cli"
	"github.com/gitops-toolkit/flux/internal/cli/clitest"
)

func event(name string) *clitest.Object {
	now := time.Now().UTC().Format(time.RFC3339)
	obj := &clitest.Object{Object: map[string]any{
		"apiVersion": "v1", "kind": "Event", "type": "Normal", "reason": "Tested", "message": name, "firstTimestamp": now, "lastTimestamp": now,
		"involvedObject": map[string]any{"apiVersion": "kustomize.toolkit.fluxcd.io/v1", "kind": "Kustomization", "name": "app", "namespace": "flux-system"},
	}}
	obj.SetName(name)
	obj.SetNamespace("flux-system")
	return obj
}

// TestWatchOutlivesItsVersion: a watch that the API server cannot go on with loses nothing, repeats nothing and does not end, and
// an interrupt ends it without a word.
func TestWatchOutlivesItsVersion(t *testing.T) {
	t.Parallel()
	server := clitest.New(t)
	server.Serve(clitest.Served{Version: "v1", Plural: "events", Kind: "Event"})
	server.Add(t, event("first"))
	out, in := io.Pipe()
	var said strings.Builder
	ctx, interrupt := context.WithCancel(t.Context())
	ended := make(chan int, 1)
	go func() {
		ended <- cli.Main(ctx, []string{"events", "--watch", "--kubeconfig", server.Kubeconfig(t)}, strings.NewReader(""), in, &said)
		_ = in.Close()
	}()
	lines := bufio.NewScanner(out)
	next := func(want string) {
		t.Helper()
		if !lines.Scan() || !strings.Contains(lines.Text(), want) {
			t.Fatalf("%q, want %q", lines.Text(), want)
		}
	}
	next("LAST SEEN")
	next("first")
	server.Add(t, event("second"))
	next("second")
	server.Expire(t, event("missed"))
	next("missed")
	server.Add(t, event("third"))
	next("third")
	interrupt()
	if code := <-ended; code != 130 || said.String() != "" {
		t.Errorf("exit %d, %q", code, said.String())
	}
}
