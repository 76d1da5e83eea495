package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"github.com/gitops-toolkit/flux/hack/signkey"
	"github.com/gitops-toolkit/flux/internal/controllers"
	released "github.com/gitops-toolkit/flux/internal/version"
)

// source is where everything comes from.
const source = "https://github.com/gitops-toolkit/flux"

// user is nobody, whom the security contexts of the Deployments expect.
const user = "65534:65534"

// kind is one image: what it starts, and from which layer.
type kind struct {
	name       string
	entrypoint string
	env        []string
	program    func(set) v1.Layer
}

// tags are those of an image: its own version first, and the one under which upstream's is known.
func tags(name, version string) []string {
	if tag := released.Upstream[name]; tag != "" {
		return []string{version, tag}
	}
	return []string{version}
}

// kinds are all images: a component is the controller under another name.
func kinds() []kind {
	controller := func(s set) v1.Layer { return s.controller }
	out := []kind{{name: "flux-controller", entrypoint: "flux-controller", program: controller, env: []string{"GNUPGHOME=/tmp"}}}
	for _, c := range controllers.All {
		k := kind{name: c.Name, entrypoint: c.Name, program: controller}
		if c.Name == "kustomize-controller" {
			k.env = []string{"GNUPGHOME=/tmp"}
		}
		out = append(out, k)
	}
	return append(out, kind{name: "flux-cli", entrypoint: "flux", program: func(s set) v1.Layer { return s.cli }})
}

// shelf is a layout that is being filled, and who signs what is in it.
type shelf struct {
	layout.Path
	registry, version string
	key               *signkey.Key
}

// write makes the layout and returns a line for each image: its name and digest. Without a key nothing is signed.
func write(out, registry, version string, sets []set, key *signkey.Key) ([]string, error) {
	if err := clearLayout(out); err != nil {
		return nil, err
	}
	if err := os.MkdirAll(filepath.Dir(out), 0o755); err != nil {
		return nil, err
	}
	target, err := layout.Write(out, empty.Index)
	if err != nil {
		return nil, err
	}
	s := &shelf{target, registry, version, key}
	var lines []string
	for _, k := range kinds() {
		index, err := k.index(version, sets)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", k.name, err)
		}
		written, err := s.add(k.name, index.Digest, func(o layout.Option) error { return target.AppendIndex(index, o) })
		if err != nil {
			return nil, fmt.Errorf("%s: %w", k.name, err)
		}
		lines = append(lines, written...)
	}
	const name = "flux-manifests"
	image, err := manifestsArtifact(version)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	written, err := s.add(name, image.Digest, func(o layout.Option) error { return target.AppendImage(image, o) })
	return append(lines, written...), err
}

// add puts something into the layout under each of its tags, and its signature beside it.
func (s *shelf) add(name string, digest func() (v1.Hash, error), add func(layout.Option) error) (lines []string, err error) {
	sum, err := digest()
	if err != nil {
		return nil, err
	}
	name = s.registry + "/" + name
	for _, tag := range tags(path.Base(name), s.version) {
		if err := add(called(name + ":" + tag)); err != nil {
			return nil, err
		}
		lines = append(lines, name+":"+tag+"@"+sum.String())
	}
	if s.key == nil {
		return lines, nil
	}
	signature, err := signatureOf(*s.key, name, sum)
	if err != nil {
		return nil, fmt.Errorf("sign: %w", err)
	}
	return lines, s.AppendImage(signature, called(name+":"+signatureTag(sum)))
}

// called gives an entry of the layout the name under which tools copy it.
func called(reference string) layout.Option {
	return layout.WithAnnotations(map[string]string{"org.opencontainers.image.ref.name": reference})
}

// clearLayout removes an earlier layout, and nothing that is not one.
func clearLayout(out string) error {
	entries, err := os.ReadDir(out)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	if _, err := os.Stat(filepath.Join(out, "oci-layout")); len(entries) > 0 && err != nil {
		return fmt.Errorf("%s holds something else than images: choose another directory", out)
	}
	return os.RemoveAll(out)
}

// index is the image for all platforms.
func (k kind) index(version string, sets []set) (v1.ImageIndex, error) {
	index := mutate.IndexMediaType(empty.Index, types.OCIImageIndex)
	for _, s := range sets {
		image, err := k.image(version, s)
		if err != nil {
			return nil, err
		}
		index = mutate.AppendManifests(index, mutate.IndexAddendum{
			Add:        image,
			Descriptor: v1.Descriptor{Platform: &s.platform},
		})
	}
	annotated, ok := mutate.Annotations(index, k.labels(version)).(v1.ImageIndex)
	if !ok {
		return nil, fmt.Errorf("annotate the index: it became something else")
	}
	return annotated, nil
}

func (k kind) image(version string, s set) (v1.Image, error) {
	image := mutate.ConfigMediaType(mutate.MediaType(empty.Image, types.OCIManifestSchema1), types.OCIConfigJSON)
	image, err := mutate.AppendLayers(image, s.base, k.program(s))
	if err != nil {
		return nil, err
	}
	config, err := image.ConfigFile()
	if err != nil {
		return nil, err
	}
	config = config.DeepCopy()
	config.OS, config.Architecture = s.platform.OS, s.platform.Architecture
	config.Created = v1.Time{Time: time.Unix(0, 0).UTC()}
	config.History = nil
	config.Config = v1.Config{
		User:       user,
		Entrypoint: []string{k.entrypoint},
		Env:        append([]string{"PATH=/" + binaries}, k.env...),
		WorkingDir: "/",
		Labels:     k.labels(version),
	}
	return mutate.ConfigFile(image, config)
}

func (k kind) labels(version string) map[string]string {
	return map[string]string{
		"org.opencontainers.image.title":    k.name,
		"org.opencontainers.image.version":  version,
		"org.opencontainers.image.source":   source,
		"org.opencontainers.image.licenses": "Apache-2.0",
	}
}
