package main

import (
	"archive/tar"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/validate"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/gitops-toolkit/flux/hack/signkey"
	"github.com/gitops-toolkit/flux/internal/artifact/unpack"
	"github.com/gitops-toolkit/flux/internal/controllers"
	kbuild "github.com/gitops-toolkit/flux/internal/kustomize/build"
	"github.com/gitops-toolkit/flux/internal/registry"
	"github.com/gitops-toolkit/flux/internal/registry/registrytest"
	"github.com/gitops-toolkit/flux/internal/verify"
	released "github.com/gitops-toolkit/flux/internal/version"
)

// made writes a layout from stand-ins for the programs, which take minutes to compile.
func made(t *testing.T, key *signkey.Key) (dir string, lines []string) {
	t.Helper()
	var sets []set
	for _, arch := range []string{"amd64", "arm64"} {
		s, err := layers(v1.Platform{OS: "linux", Architecture: arch}, []byte("controller "+arch), []byte("cli "+arch))
		if err != nil {
			t.Fatal(err)
		}
		sets = append(sets, s)
	}
	dir = filepath.Join(t.TempDir(), "images")
	lines, err := write(dir, "registry.example.com/flux", "v1.2.3", sets, key)
	if err != nil {
		t.Fatal(err)
	}
	return dir, lines
}

func TestLayoutIsReproducible(t *testing.T) {
	t.Parallel()
	_, private, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	key := &signkey.Key{Signer: private}
	first, lines := made(t, key)
	second, again := made(t, key)
	if !slices.Equal(lines, again) {
		t.Errorf("two builds differ:\n%s\n%s", strings.Join(lines, "\n"), strings.Join(again, "\n"))
	}
	if a, b := tree(t, first), tree(t, second); !slices.Equal(a, b) {
		t.Errorf("the layouts hold different blobs:\n%v\n%v", a, b)
	}
	// Each component, flux-cli and flux-manifests have upstream's tag too; flux-controller is ours alone.
	if len(lines) != 2*(len(controllers.All)+2)+1 {
		t.Errorf("%d references:\n%s", len(lines), strings.Join(lines, "\n"))
	}
	for _, c := range controllers.All {
		if released.Upstream[c.Name] == "" {
			t.Errorf("no tag of upstream for %s", c.Name)
		}
	}
}

// TestSignatures copies signed images to a registry, with all that stands beside them, and verifies them as a
// controller does.
func TestSignatures(t *testing.T) {
	t.Parallel()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	key := signkey.Key{Signer: private}
	public, err := key.PublicPEM()
	if err != nil {
		t.Fatal(err)
	}
	dir, _ := made(t, &key)
	server := registrytest.Start(t, registrytest.Options{})
	copied := pushed(t, dir, server.Host)
	trust, err := verify.Keys("keys", map[string][]byte{"flux.pub": public})
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"source-controller", "flux-cli", "flux-manifests"} {
		repo, err := registry.NewPool(registry.Options{}).Open(registry.Remote{URL: server.URL("flux/" + name), Insecure: true})
		if err != nil {
			t.Fatal(err)
		}
		digest := copied["registry.example.com/flux/"+name+":v1.2.3"]
		if result, err := trust.Verify(t.Context(), repo, digest); err != nil || result != verify.Verified {
			t.Errorf("%s@%s: %v, %v", name, digest, result, err)
		}
	}
}

// pushed copies everything in a layout to a registry under the names that it has there.
func pushed(t *testing.T, dir, host string) (digests map[string]string) {
	t.Helper()
	root, err := layout.ImageIndexFromPath(dir)
	if err != nil {
		t.Fatal(err)
	}
	manifest, err := root.IndexManifest()
	if err != nil {
		t.Fatal(err)
	}
	digests = map[string]string{}
	for _, m := range manifest.Manifests {
		reference := m.Annotations["org.opencontainers.image.ref.name"]
		digests[reference] = m.Digest.String()
		target, err := name.ParseReference(strings.Replace(reference, "registry.example.com", host, 1), name.Insecure)
		if err != nil {
			t.Fatal(err)
		}
		if m.MediaType.IsIndex() {
			var index v1.ImageIndex
			if index, err = root.ImageIndex(m.Digest); err == nil {
				err = remote.WriteIndex(target, index)
			}
		} else {
			var image v1.Image
			if image, err = root.Image(m.Digest); err == nil {
				err = remote.Write(target, image)
			}
		}
		if err != nil {
			t.Fatalf("copy %s: %v", reference, err)
		}
	}
	return digests
}

func TestOtherDirectoriesAreLeftAlone(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "precious"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := write(dir, "registry.example.com", "v1", nil, nil); err == nil {
		t.Error("a directory with other files was replaced")
	}
}

func tree(t *testing.T, dir string) []string {
	t.Helper()
	var files []string
	err := filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			files = append(files, strings.TrimPrefix(path, dir))
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}

func TestImages(t *testing.T) {
	t.Parallel()
	dir, _ := made(t, nil)
	root, err := layout.ImageIndexFromPath(dir)
	if err != nil {
		t.Fatal(err)
	}
	if err := validate.Index(root); err != nil {
		t.Fatal(err)
	}
	manifest, err := root.IndexManifest()
	if err != nil {
		t.Fatal(err)
	}
	layersOf := map[string]string{}
	for _, m := range manifest.Manifests {
		reference := m.Annotations["org.opencontainers.image.ref.name"]
		if !strings.HasSuffix(reference, ":v1.2.3") || strings.Contains(reference, "/flux-manifests:") {
			continue
		}
		name := strings.TrimSuffix(strings.TrimPrefix(reference, "registry.example.com/flux/"), ":v1.2.3")
		index, err := root.ImageIndex(m.Digest)
		if err != nil {
			t.Fatal(err)
		}
		for _, image := range images(t, index) {
			config, err := image.ConfigFile()
			if err != nil {
				t.Fatal(err)
			}
			entrypoint := name
			if name == "flux-cli" {
				entrypoint = "flux"
			}
			if config.Config.User != "65534:65534" || !slices.Equal(config.Config.Entrypoint, []string{entrypoint}) || config.Created.Unix() != 0 {
				t.Errorf("%s: user %q, entrypoint %v, created %s", name, config.Config.User, config.Config.Entrypoint, config.Created)
			}
			files := contents(t, image)
			if _, ok := files["usr/local/bin/"+entrypoint]; !ok {
				t.Errorf("%s: the entrypoint is not in the image: %v", name, files)
			}
			if name != "flux-cli" {
				layersOf[config.Architecture+" "+digests(t, image)] = name
			}
		}
	}
	if len(layersOf) != 2 {
		t.Errorf("components do not share their layers: %v", layersOf)
	}
}

// TestManifestsArtifact unpacks flux-manifests as an OCIRepository does, and builds every base in it.
func TestManifestsArtifact(t *testing.T) {
	t.Parallel()
	image, err := manifestsArtifact("v1.2.3")
	if err != nil {
		t.Fatal(err)
	}
	if err := validate.Image(image); err != nil {
		t.Fatal(err)
	}
	layers, err := image.Layers()
	if err != nil || len(layers) != 1 {
		t.Fatalf("%d layers, %v", len(layers), err)
	}
	stream, err := layers[0].Compressed()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	if _, err := unpack.TarGz(t.Context(), stream, dir, unpack.Limits{}); err != nil {
		t.Fatal(err)
	}
	for base, want := range map[string][]string{
		".": {"Deployment/source-controller", "CustomResourceDefinition/helmreleases.helm.toolkit.fluxcd.io"}, "single": {"Deployment/flux-controller"},
		"monitoring": {"PodMonitor/flux-system", "PrometheusRule/flux", "ConfigMap/flux-grafana-dashboards"},
	} {
		result, err := kbuild.Build(t.Context(), kbuild.Options{Root: dir, Path: base})
		if err != nil {
			t.Fatalf("%s: %v", base, err)
		}
		for _, name := range want {
			if !slices.ContainsFunc(result.Objects, func(u *unstructured.Unstructured) bool { return u.GetKind()+"/"+u.GetName() == name }) {
				t.Errorf("%s has no %s", base, name)
			}
		}
	}
}

func images(t *testing.T, index v1.ImageIndex) []v1.Image {
	t.Helper()
	manifest, err := index.IndexManifest()
	if err != nil {
		t.Fatal(err)
	}
	var out []v1.Image
	for _, m := range manifest.Manifests {
		image, err := index.Image(m.Digest)
		if err != nil {
			t.Fatal(err)
		}
		if config, err := image.ConfigFile(); err != nil || config.Architecture != m.Platform.Architecture {
			t.Fatalf("the index says %v, the image %v %v", m.Platform, config, err)
		}
		out = append(out, image)
	}
	return out
}

func digests(t *testing.T, image v1.Image) string {
	t.Helper()
	layers, err := image.Layers()
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for _, l := range layers {
		digest, err := l.Digest()
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, digest.String())
	}
	return strings.Join(out, " ")
}

// contents maps the names in all layers to their modes, and checks that nothing tells of the
// machine that made them.
func contents(t *testing.T, image v1.Image) map[string]int64 {
	t.Helper()
	layers, err := image.Layers()
	if err != nil {
		t.Fatal(err)
	}
	files := map[string]int64{}
	for _, l := range layers {
		stream, err := l.Uncompressed()
		if err != nil {
			t.Fatal(err)
		}
		r := tar.NewReader(stream)
		for {
			h, err := r.Next()
			if errors.Is(err, io.EOF) {
				break
			}
			if err != nil {
				t.Fatal(err)
			}
			if h.ModTime.Unix() != 0 || h.Uid != 0 || h.Gid != 0 || h.Uname != "" {
				t.Errorf("%s has time %s and owner %d:%d %q", h.Name, h.ModTime, h.Uid, h.Gid, h.Uname)
			}
			files[h.Name] = h.Mode
		}
		stream.Close()
	}
	if files["etc/ssl/certs/ca-certificates.crt"] == 0 || files["tmp/"] != 0o1777 {
		t.Errorf("no certificates or no /tmp: %v", files)
	}
	return files
}
