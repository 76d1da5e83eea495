package kustomize_test

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/metrics"

	kustomizev1 "github.com/gitops-toolkit/flux/api/kustomize/v1"
	"github.com/gitops-toolkit/flux/api/meta"
	"github.com/gitops-toolkit/flux/internal/artifact"
	"github.com/gitops-toolkit/flux/internal/artifact/archive"
	"github.com/gitops-toolkit/flux/internal/artifact/cache"
	"github.com/gitops-toolkit/flux/internal/artifact/fetch"
	"github.com/gitops-toolkit/flux/internal/artifact/serve"
	"github.com/gitops-toolkit/flux/internal/artifact/store"
	"github.com/gitops-toolkit/flux/internal/kustomize"
	"github.com/gitops-toolkit/flux/internal/kustomize/remote"
	"github.com/gitops-toolkit/flux/internal/testenv/sealed"
	"github.com/gitops-toolkit/flux/test/servers/git"
)

// TestInterval lets intervals pass: a look that finds nothing asks nothing, writes nothing, fetches nothing and tells
// nothing.
func TestInterval(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	l.source("repo", "r1", map[string]string{"a.yaml": configMap("a", "1"), "b.yaml": configMap("b", "1")})
	l.create("app", func(s *kustomizev1.KustomizationSpec) { s.Interval, s.Wait = meta.NewDuration(time.Second), true })
	l.ready("app", "r1")
	l.event("app", func(e posted) bool { return strings.HasPrefix(e.Message, "Reconciliation finished") })
	l.passes("app", 2)
	l.proxy.take()
	l.artifacts.fetches()
	events := len(l.events.of("app"))
	l.passes("app", 3)
	if seen := l.proxy.take(); len(seen) != 0 {
		t.Errorf("three intervals without news asked: %v", seen)
	}
	if n := l.artifacts.fetches(); n != 0 {
		t.Errorf("%d fetches, want 0", n)
	}
	if n := len(l.events.of("app")); n != events {
		t.Errorf("%d events, want none", n-events)
	}
}

// passes waits until a Kustomization has come to so many more verdicts.
func (l *lab) passes(name string, n uint64) {
	l.t.Helper()
	ctx, cancel := context.WithTimeout(l.t.Context(), patience)
	defer cancel()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for begun := l.verdicts(name); l.verdicts(name) < begun+n; {
		select {
		case <-tick.C:
		case <-ctx.Done():
			l.t.Fatalf("%s came to %d verdicts of %d", name, l.verdicts(name)-begun, n)
		}
	}
}

// verdicts reads the metric that counts reconciliations.
func (l *lab) verdicts(name string) uint64 {
	l.t.Helper()
	families, err := metrics.Registry.Gather()
	if err != nil {
		l.t.Fatal(err)
	}
	for _, f := range families {
		if f.GetName() != "gotk_reconcile_duration_seconds" {
			continue
		}
		for _, m := range f.GetMetric() {
			labels := map[string]string{}
			for _, pair := range m.GetLabel() {
				labels[pair.GetName()] = pair.GetValue()
			}
			if labels["namespace"] == l.namespace && labels["name"] == name {
				return m.GetHistogram().GetSampleCount()
			}
		}
	}
	return 0
}

// TestInventoryIsWrittenBeforeObjects looks at the status at the moment of each first write: whatever a crash leaves
// behind is in the inventory.
func TestInventoryIsWrittenBeforeObjects(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	var mu sync.Mutex
	recorded := map[string]bool{}
	l.proxy.before(func(word string) {
		rest, ok := strings.CutPrefix(word, "apply api/v1/namespaces/"+l.namespace+"/configmaps/")
		if !ok {
			return
		}
		k := l.get("app")
		mu.Lock()
		defer mu.Unlock()
		if k.Status.Inventory == nil {
			return
		}
		for _, e := range k.Status.Inventory.Entries {
			recorded[rest] = recorded[rest] || e.ID == l.namespace+"_"+rest+"__ConfigMap"
		}
	})
	files := map[string]string{"a.yaml": configMap("a", "1")}
	l.source("repo", "r1", files)
	l.create("app")
	l.ready("app", "r1")
	delete(files, "a.yaml")
	files["b.yaml"] = configMap("b", "1")
	l.source("repo", "r2", files)
	k := l.ready("app", "r2")
	mu.Lock()
	defer mu.Unlock()
	for _, name := range []string{"a", "b"} {
		if !recorded[name] {
			t.Errorf("%s was written before the inventory named it", name)
		}
	}
	if len(k.Status.Inventory.Entries) != 1 || k.Status.Inventory.Entries[0].ID != l.namespace+"_b__ConfigMap" {
		t.Errorf("inventory = %+v", k.Status.Inventory)
	}
}

// TestRealArtifacts takes archives from a real artifact server through a real cache.
func TestRealArtifacts(t *testing.T) {
	t.Parallel()
	var st *store.Store
	hostile := tarGz(t, "../outside.yaml", configMap("outside", "1"))
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/hostile.tar.gz" {
			_, _ = w.Write(hostile)
			return
		}
		serve.Handler(st).ServeHTTP(w, r)
	}))
	t.Cleanup(server.Close)
	var err error
	if st, err = store.Open(store.Options{Root: t.TempDir(), Advertised: server.Listener.Addr().String()}); err != nil {
		t.Fatal(err)
	}
	c, err := cache.Open(cache.Options{Dir: sealed.TempDir(t), Fetcher: fetch.New(fetch.Options{})})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	l := newLab(t, func(s *setup) {
		s.options.Artifacts = func(ctx context.Context, ref artifact.Ref) (kustomize.Tree, error) {
			tree, err := c.Acquire(ctx, ref)
			if err != nil {
				return nil, err
			}
			return tree, nil
		}
	})
	l.publish(st, "repo", "main@sha1:1", map[string]string{"app/a.yaml": configMap("a", "1"), "kustomization.yaml": "resources: [app/a.yaml]\n"})
	l.create("app")
	l.ready("app", "main@sha1:1")
	l.publish(st, "repo", "main@sha1:2", map[string]string{"app/a.yaml": configMap("a", "2"), "kustomization.yaml": "resources: [app/a.yaml]\n"})
	l.ready("app", "main@sha1:2")
	cm := &corev1.ConfigMap{}
	if err := l.client.Get(t.Context(), types.NamespacedName{Namespace: l.namespace, Name: "a"}, cm); err != nil || cm.Data["value"] != "2" {
		t.Errorf("value = %q, %v", cm.Data["value"], err)
	}

	// An archive that leads out: said, nothing applied, nothing lost, and mended by the next one.
	l.advertise("repo", &meta.Artifact{
		URL: server.URL + "/hostile.tar.gz", Path: "hostile.tar.gz", Revision: "main@sha1:3",
		Digest: fmt.Sprintf("sha256:%x", sha256.Sum256(hostile)), LastUpdateTime: meta.NewTime(time.Now()),
	})
	k, message := l.failed("app", "ArtifactFailed")
	want := "archive entry '../outside.yaml': archive is not safe to unpack: '..' in the path; take the entry out of GitRepository/" + l.namespace + "/repo"
	if !strings.HasPrefix(message, want) || k.Status.LastAppliedRevision != "main@sha1:2" || !l.exists("a") {
		t.Errorf("message %q, want %q; status %+v", message, want, k.Status)
	}
	if e := l.event("app", func(e posted) bool { return e.Severity == "error" }); e.Message != message {
		t.Errorf("event %+v, want the message of Ready", e)
	}
	l.publish(st, "repo", "main@sha1:4", map[string]string{"b.yaml": configMap("b", "1")})
	if l.ready("app", "main@sha1:4"); l.exists("a") || !l.exists("b") {
		t.Error("what came after the hostile archive was not applied")
	}
}

// tarGz is an archive of one file, whatever its name.
func tarGz(t *testing.T, name, content string) []byte {
	t.Helper()
	var out bytes.Buffer
	compressed := gzip.NewWriter(&out)
	entries := tar.NewWriter(compressed)
	if err := entries.WriteHeader(&tar.Header{Name: name, Mode: 0o600, Size: int64(len(content))}); err != nil {
		t.Fatal(err)
	}
	_, err := io.WriteString(entries, content)
	if err := errors.Join(err, entries.Close(), compressed.Close()); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

// publish stores files as an archive and makes it the artifact of a source.
func (l *lab) publish(st *store.Store, name, revision string, files map[string]string) {
	l.t.Helper()
	dir := l.t.(*testing.T).TempDir()
	for file, content := range files {
		path := filepath.Join(dir, file)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			l.t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
			l.t.Fatal(err)
		}
	}
	source, err := archive.OpenDir(dir)
	if err != nil {
		l.t.Fatal(err)
	}
	defer source.Close()
	builder := archive.NewBuilder(archive.Options{})
	at := store.Name{Kind: "gitrepository", Namespace: l.namespace, Name: name, File: strings.NewReplacer("@", "-", ":", "-").Replace(revision) + ".tar.gz"}
	ref, err := st.Put(l.t.Context(), at, revision, nil, func(w io.Writer) error {
		_, err := builder.Write(l.t.Context(), w, source, archive.Ignore{})
		return err
	})
	if err != nil {
		l.t.Fatal(err)
	}
	l.advertise(name, &meta.Artifact{
		Path: ref.Path, URL: ref.URL, Revision: ref.Revision, Digest: ref.Digest.String(), Size: &ref.Size, LastUpdateTime: meta.NewTime(ref.LastUpdateTime),
	})
}

// TestRemoteBase builds a base from a Git server and takes up its changes at the interval.
func TestRemoteBase(t *testing.T) {
	t.Parallel()
	server, err := git.Start(git.Options{Root: t.TempDir(), HTTP: git.AnyPort, AnonymousRead: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = server.Close() })
	repo, err := server.Create("base", "main")
	if err != nil {
		t.Fatal(err)
	}
	commit := func(value string) {
		if _, err := repo.Commit(map[string]string{"kustomization.yaml": "resources: [a.yaml]\n", "a.yaml": configMap("a", value)}, value); err != nil {
			t.Fatal(err)
		}
	}
	commit("1")
	fetcher, err := remote.New(t.TempDir(), remote.AllowLocal())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = fetcher.Close() })
	l := newLab(t, func(s *setup) { s.options.Remotes = fetcher })
	url := strings.TrimSuffix(server.HTTPURL("base"), ".git") + ".git"
	l.source("repo", "r1", map[string]string{"kustomization.yaml": "resources: ['" + url + "']\n"})
	l.create("app")
	l.ready("app", "r1")
	commit("2")
	l.request("app")
	l.event("app", func(e posted) bool { return strings.HasSuffix(e.Message, "/a configured") })
}
