package registry_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gitops-toolkit/flux/internal/auth"
	"github.com/gitops-toolkit/flux/internal/registry"
	"github.com/gitops-toolkit/flux/internal/registry/registrytest"
)

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// quick is a pool that does not wait long.
func quick(t *testing.T, limits registry.Limits) *registry.Pool {
	t.Helper()
	p := registry.NewPool(registry.Options{Limits: limits, Retries: []time.Duration{time.Millisecond, time.Millisecond}, Patience: 2 * time.Second})
	t.Cleanup(p.Close)
	return p
}

func open(t *testing.T, p *registry.Pool, r registry.Remote) *registry.Repository {
	t.Helper()
	repo, err := p.Open(r)
	must(t, err)
	return repo
}

// TestContract runs the whole way, there and back, against every registry that there is.
func TestContract(t *testing.T) {
	t.Parallel()
	for name, start := range map[string]func(*testing.T) *registrytest.Server{
		"memory":       func(t *testing.T) *registrytest.Server { return registrytest.Start(t, registrytest.Options{}) },
		"distribution": func(t *testing.T) *registrytest.Server { return registrytest.Sandbox(t) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			contract(t, start(t))
		})
	}
}

func contract(t *testing.T, server *registrytest.Server) {
	ctx := context.Background()
	unique := strings.ToLower(strings.ReplaceAll(t.Name(), "/", "-")) + time.Now().Format("-150405.000000")
	repo := open(t, quick(t, registry.Limits{}), registry.Remote{URL: server.URL("contract/" + unique), Insecure: true})
	if _, err := repo.Digest(ctx, "v1.0.0"); !errors.Is(err, registry.ErrNotFound) {
		t.Errorf("the digest of a tag that is not there: %v", err)
	}
	file := filepath.Join(t.TempDir(), "layer.tgz")
	layer := registrytest.Archive(t, map[string]string{"a.yaml": "a: 1\n"})
	must(t, os.WriteFile(file, layer.Data, 0o600))
	annotations := map[string]string{registry.AnnotationSource: "https://example.com/a.git", registry.AnnotationRevision: "main@sha1:1"}
	digest, err := repo.Push(ctx, "v1.0.0", registry.Artifact{File: file, Annotations: annotations})
	must(t, err)
	for _, tag := range []string{"1.1.0", "v1.2.0-rc.1", "latest", "unversioned"} {
		must(t, repo.Tag(ctx, "v1.0.0", tag))
	}
	must(t, repo.Tag(ctx, digest, "by-digest"))
	if got, err := repo.Digest(ctx, "by-digest"); err != nil || got != digest {
		t.Errorf("digest %s, %v; want %s", got, err, digest)
	}
	if got, found, err := repo.Describe(ctx, "latest"); err != nil || got != digest || !maps.Equal(found, annotations) {
		t.Errorf("described as %s %v, %v", got, found, err)
	}
	var tags []string
	must(t, repo.Tags(ctx, func(tag string) { tags = append(tags, tag) }))
	slices.Sort(tags)
	if want := []string{"1.1.0", "by-digest", "latest", "unversioned", "v1.0.0", "v1.2.0-rc.1"}; !slices.Equal(tags, want) {
		t.Errorf("tags %v, want %v", tags, want)
	}
	if tag, err := repo.SelectTag(ctx, registry.Reference{SemVer: ">=1.0.0"}); err != nil || tag != "1.1.0" {
		t.Errorf("the highest version is %s, %v", tag, err)
	}
	manifest, err := repo.Manifest(ctx, digest)
	must(t, err)
	if manifest.Config != registry.ConfigMediaType || !maps.Equal(manifest.Annotations, annotations) {
		t.Errorf("manifest %+v", manifest)
	}
	chosen, err := manifest.Select(registry.ContentMediaType)
	must(t, err)
	body, err := repo.Blob(ctx, chosen)
	must(t, err)
	got, err := io.ReadAll(body)
	must(t, errors.Join(err, body.Close()))
	if !bytes.Equal(got, layer.Data) {
		t.Error("the layer came back changed")
	}
}

func TestSelectTag(t *testing.T) {
	t.Parallel()
	server := registrytest.Start(t, registrytest.Options{})
	for _, tag := range []string{"1.0.0", "v1.0.0", "v1.1", "1.2.0-rc.1", "2.0.0_build.7", "latest", "1.0.1-20240101", "dev-3.0.0"} {
		server.Push(t, "versions", tag, nil, registrytest.Archive(t, map[string]string{"tag": tag}))
	}
	repo := open(t, quick(t, registry.Limits{}), registry.Remote{URL: server.URL("versions")})
	for _, tt := range []struct {
		reason, want string
		ref          registry.Reference
	}{
		{"nothing means latest", "latest", registry.Reference{}},
		{"a tag is taken as it is", "any", registry.Reference{Tag: "any"}},
		{"a digest has no tag", "", registry.Reference{Digest: "sha256:x", SemVer: "1.x", Tag: "any"}},
		{"a range beats a tag, an incomplete version is read leniently", "v1.1", registry.Reference{SemVer: "1.x", Tag: "any"}},
		{"pre-releases are in a range that names one", "1.2.0-rc.1", registry.Reference{SemVer: ">=1.0.0-0 <2.0.0"}},
		{"of equal versions always the same", "v1.0.0", registry.Reference{SemVer: "1.0.0"}},
		{"the filter comes first, is not anchored", "1.0.0", registry.Reference{SemVer: "1.x", SemverFilter: "^[0-9]"}},
		{"an underscore is no part of a version", "v1.1", registry.Reference{SemVer: "*"}},
		{"but of that of a chart, a plus", "2.0.0_build.7", registry.Reference{SemVer: "*", PlusTags: true}},
	} {
		if got, err := repo.SelectTag(context.Background(), tt.ref); err != nil || got != tt.want {
			t.Errorf("%s: %q, %v; want %q", tt.reason, got, err, tt.want)
		}
	}
	_, err := repo.SelectTag(context.Background(), registry.Reference{SemVer: ">9"})
	if !errors.Is(err, registry.ErrNoMatch) || err.Error() != "no match found for semver: >9" {
		t.Errorf("no match: %v", err)
	}
	for _, bad := range []registry.Reference{{SemVer: "x.y.z"}, {SemVer: "*", SemverFilter: "("}, {Digest: "sha256:1"}, {Tag: "a b"}} {
		if bad.Check() == nil {
			t.Errorf("%+v passes", bad)
		}
	}
}

func TestURLs(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ url, want string }{
		{"oci://ghcr.io/org/app", ""},
		{"oci://localhost:5000/app", ""},
		{"oci://[::1]:5000/app", ""},
		{"oci://app", ""},
		{"https://ghcr.io/org/app", "it must be in format 'oci://<domain>/<org>/<repo>'"},
		{"oci://ghcr.io/org/app:v1", "URL must not contain a tag; remove ':v1'"},
		{"oci://127.0.0.1:5000/app:latest", "URL must not contain a tag; remove ':latest'"},
		{"oci://ghcr.io/org/app@sha256:" + strings.Repeat("0", 64), "repository can only contain"},
		{"oci://", "a repository name must be specified"},
		{"oci://ghcr.io/../../etc", "invalid URL"},
		{"oci://ghcr.io/UPPER", "repository can only contain"},
	} {
		err := registry.CheckURL(tt.url)
		if (err == nil) != (tt.want == "") || err != nil && !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %v, want %q", tt.url, err, tt.want)
		}
	}
}

func TestIndexGivesTheImageForLinux(t *testing.T) {
	t.Parallel()
	server := registrytest.Start(t, registrytest.Options{})
	arm := registrytest.Archive(t, map[string]string{"platform": "arm64"})
	amd := registrytest.Archive(t, map[string]string{"platform": "amd64"})
	both := server.PushIndex(t, "multi", "both", map[string]registrytest.Layer{"linux/arm64": arm, "linux/amd64": amd})
	other := server.PushIndex(t, "multi", "other", map[string]registrytest.Layer{"linux/arm64": arm})
	plain := server.PushIndex(t, "multi", "plain", map[string]registrytest.Layer{"": amd})
	repo := open(t, quick(t, registry.Limits{}), registry.Remote{URL: server.URL("multi")})
	if got, err := repo.Digest(context.Background(), "both"); err != nil || got != both {
		t.Errorf("the digest of a tag is that of the index: %s, %v", got, err)
	}
	manifest, err := repo.Manifest(context.Background(), both)
	must(t, err)
	if manifest.Annotations["platform"] != "linux/amd64" {
		t.Errorf("manifest %+v", manifest)
	}
	if manifest, err := repo.Manifest(context.Background(), plain); err != nil || len(manifest.Layers) != 1 {
		t.Errorf("a child without a platform: %+v, %v", manifest, err)
	}
	if _, err := repo.Manifest(context.Background(), other); err == nil || !strings.Contains(err.Error(), "no child with platform linux/amd64") {
		t.Errorf("an index without our platform: %v", err)
	}
}

func TestSelectLayer(t *testing.T) {
	t.Parallel()
	m := &registry.Manifest{Layers: []registry.Layer{{MediaType: "a", Digest: "1"}, {MediaType: "b", Digest: "2"}, {MediaType: "b", Digest: "3"}}}
	for mediaType, want := range map[string]string{"": "1", "a": "1", "b": "2"} {
		if l, err := m.Select(mediaType); err != nil || l.Digest != want {
			t.Errorf("%q: %+v, %v", mediaType, l, err)
		}
	}
	_, err := m.Select("c")
	if !errors.Is(err, registry.ErrNoLayer) || err.Error() != "failed to find layer with media type 'c' in artifact" {
		t.Error(err)
	}
	if _, err := (&registry.Manifest{}).Select(""); !errors.Is(err, registry.ErrNoLayer) || err.Error() != "no layers found in artifact" {
		t.Error(err)
	}
}

// TestSameBytesAsRecorded pushes the recorded layer with the recorded annotations: the manifest must be the recorded
// one, byte for byte.
func TestSameBytesAsRecorded(t *testing.T) {
	t.Parallel()
	dir := os.Getenv("FLUX_RECORDED")
	if dir == "" {
		dir = "/work/shared/recorded"
	}
	layer := filepath.Join(dir, "artifacts/oci/manifests-v1.0.0.layer0.tgz")
	if _, err := os.Stat(layer); err != nil {
		t.Skipf("no recording: %v", err)
	}
	server := registrytest.Start(t, registrytest.Options{})
	repo := open(t, quick(t, registry.Limits{}), registry.Remote{URL: server.URL("manifests"), Login: auth.Login{}})
	digest, err := repo.Push(context.Background(), "v1.0.0", registry.Artifact{File: layer, Annotations: map[string]string{
		"org.example/key":           "value",
		registry.AnnotationCreated:  "1970-01-01T00:00:00Z",
		registry.AnnotationRevision: "main@sha1:5ed6448997b0625359abec8dd8cefd3a2503e86f",
		registry.AnnotationSource:   "http://127.0.0.1:5001/fleet.git",
	}})
	if want := "sha256:e02e5ddc97253fc9e18ed1574bd5acbb42bf472641b0c926d5f2912ede0cb86b"; err != nil || digest != want {
		t.Errorf("digest %s, %v; want %s", digest, err, want)
	}
}
