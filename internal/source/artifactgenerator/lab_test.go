package artifactgenerator

import (
	"context"
	"errors"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/go-logr/logr"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	corev1 "k8s.io/api/core/v1"

	"github.com/gitops-toolkit/flux/api"
	extensionsv1 "github.com/gitops-toolkit/flux/api/extensions/v1beta1"
	"github.com/gitops-toolkit/flux/api/meta"
	sourcev1 "github.com/gitops-toolkit/flux/api/source/v1"
	"github.com/gitops-toolkit/flux/internal/artifact"
	"github.com/gitops-toolkit/flux/internal/artifact/archive"
	"github.com/gitops-toolkit/flux/internal/artifact/cache"
	"github.com/gitops-toolkit/flux/internal/artifact/store"
	"github.com/gitops-toolkit/flux/internal/kernel"
	"github.com/gitops-toolkit/flux/internal/testenv"
	"github.com/gitops-toolkit/flux/internal/testenv/sealed"
)

// TestPartsOfAMonorepo runs the controller on the sandbox: an ExternalArtifact that somebody else writes is split by
// directory, an untouched part stays as it is, and what is generated no more goes.
func TestPartsOfAMonorepo(t *testing.T) {
	t.Parallel()
	config, ns := testenv.Config(t), testenv.Namespace(t)
	ctx, cancel := context.WithTimeout(context.Background(), 4*time.Minute)
	defer cancel()
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	scheme := runtime.NewScheme()
	must(errors.Join(corev1.AddToScheme(scheme), api.AddToScheme(scheme)))
	c, err := client.New(config, client.Options{Scheme: scheme})
	must(err)
	artifacts, err := store.Open(store.Options{Root: t.TempDir(), Advertised: "watcher.example"})
	must(err)
	versions := []map[string]string{
		{"apps/a/x.yaml": "1", "apps/b/x.yaml": "1"}, {"apps/a/x.yaml": "1", "apps/b/x.yaml": "2"}, {"apps/a/x.yaml": "1"},
	}
	blobs := local{}
	for _, files := range versions {
		data := tarball(t, files)
		blobs[artifact.DigestOf(artifact.SHA256, data)] = data
	}
	unpacked, err := cache.Open(cache.Options{Dir: filepath.Join(sealed.TempDir(t), "cache"), Fetcher: blobs})
	must(err)
	settings := kernel.Defaults()
	settings.RuntimeNamespace, settings.RequeueDependency = ns, 200*time.Millisecond
	process, err := kernel.NewProcess(config, kernel.ProcessOptions{Scheme: scheme, MetricsAddr: "0", HealthAddr: "0", WatchNamespace: ns, Log: logr.Discard()})
	must(err)
	must(Register(process.Controller("source-watcher", settings), Options{Artifacts: artifacts, Archives: archive.NewBuilder(archive.Options{}), Unpacked: unpacked}))
	ended := make(chan struct{})
	running, stop := context.WithCancel(ctx)
	go func() { defer close(ended); _ = process.Run(running) }()
	defer func() { stop(); <-ended }()

	mono := &sourcev1.ExternalArtifact{ObjectMeta: metav1.ObjectMeta{Name: "mono", Namespace: ns}}
	must(c.Create(ctx, mono))
	offer := func(revision string, files map[string]string) {
		t.Helper()
		data := tarball(t, files)
		digest := artifact.DigestOf(artifact.SHA256, data)
		size := int64(len(data))
		old := mono.DeepCopy()
		mono.Status.Artifact = &meta.Artifact{Path: "x", URL: "http://x/" + revision, Revision: revision, Digest: string(digest), Size: &size, LastUpdateTime: meta.NewTime(time.Now())}
		must(c.Status().Patch(ctx, mono, client.MergeFrom(old)))
	}
	await := func(what string, holds func() bool) {
		t.Helper()
		for !holds() {
			select {
			case <-ctx.Done():
				g := &extensionsv1.ArtifactGenerator{}
				_ = c.Get(context.Background(), client.ObjectKey{Namespace: ns, Name: "apps"}, g)
				t.Fatalf("never: %s; the status is %+v", what, g.Status)
			case <-time.After(100 * time.Millisecond):
			}
		}
	}
	get := func(name string) *sourcev1.ExternalArtifact {
		ea := &sourcev1.ExternalArtifact{}
		if err := c.Get(ctx, client.ObjectKey{Namespace: ns, Name: name}, ea); err != nil || ea.Status.Artifact == nil {
			return nil
		}
		return ea
	}
	offer("main@sha1:1", versions[0])
	gen := &extensionsv1.ArtifactGenerator{ObjectMeta: metav1.ObjectMeta{Name: "apps", Namespace: ns}}
	gen.Spec.Sources = []extensionsv1.SourceReference{{Alias: "mono", Kind: "ExternalArtifact", Name: "mono"}}
	gen.Spec.PathPattern = "@mono/apps/{app}"
	gen.Spec.OutputArtifacts = []extensionsv1.OutputArtifact{{Name: "part-{app}", OriginRevision: "@mono", Copy: []extensionsv1.CopyOperation{{From: "@mono/apps/{app}/**", To: "@artifact/"}}}}
	must(c.Create(ctx, gen))
	defer func() {
		_ = c.Patch(context.Background(), gen, client.RawPatch(types.MergePatchType, []byte(`{"metadata":{"finalizers":null}}`)))
	}()
	await("both parts", func() bool { return get("part-a") != nil && get("part-b") != nil })
	a, b := get("part-a"), get("part-b")
	if !strings.HasPrefix(a.Status.Artifact.Revision, "latest@sha256:") || a.Labels["app"] != "a" || a.Labels[extensionsv1.GeneratorLabel] != string(gen.UID) {
		t.Errorf("part-a is %+v with the labels %v", a.Status.Artifact, a.Labels)
	}
	if a.Status.Artifact.Metadata[annotationRevision] != "main@sha1:1" {
		t.Errorf("the origin of part-a is %v", a.Status.Artifact.Metadata)
	}
	offer("main@sha1:2", versions[1])
	await("another part-b", func() bool {
		now := get("part-b")
		return now != nil && now.Status.Artifact.Revision != b.Status.Artifact.Revision
	})
	if now := get("part-a"); now.Status.Artifact.Revision != a.Status.Artifact.Revision || now.Status.Artifact.Digest != a.Status.Artifact.Digest {
		t.Errorf("the untouched part became %+v, and was %+v", now.Status.Artifact, a.Status.Artifact)
	}
	offer("main@sha1:3", versions[2])
	await("part-b gone", func() bool { return get("part-b") == nil })
	await("the generator ready", func() bool {
		g := &extensionsv1.ArtifactGenerator{}
		must(c.Get(ctx, client.ObjectKeyFromObject(gen), g))
		r := g.Status.Conditions.Get(meta.ReadyCondition)
		return r != nil && r.Status == metav1.ConditionTrue && r.Message == "reconciliation succeeded, generated 1 artifact(s)" && len(g.Status.Inventory) == 1
	})
	must(c.Delete(ctx, gen))
	await("everything gone", func() bool { return get("part-a") == nil })
}
