package main

import (
	"bytes"
	"compress/gzip"
	"errors"
	"io/fs"
	"path"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/static"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"github.com/gitops-toolkit/flux/internal/install"
	"github.com/gitops-toolkit/flux/internal/registry"
	bundled "github.com/gitops-toolkit/flux/manifests"
	"github.com/gitops-toolkit/flux/manifests/monitoring"
)

const kustomization = "apiVersion: kustomize.config.k8s.io/v1beta1\nkind: Kustomization\nresources:\n- install.yaml\n"

// manifestsArtifact is flux-manifests: the installation as a base for kustomize, in the topology
// of upstream at the root and in the other below single/, with what monitors it below monitoring/.
// An OCIRepository reads it.
func manifestsArtifact(version string) (v1.Image, error) {
	var entries []entry
	for dir, topology := range map[string]install.Topology{"": install.Multi, "single": install.Single} {
		options := install.Defaults(version)
		options.Topology = topology
		objects, err := install.Build(bundled.Files(), options)
		if err != nil {
			return nil, err
		}
		var text bytes.Buffer
		if err := install.Write(&text, objects, options); err != nil {
			return nil, err
		}
		entries = append(entries,
			entry{name: path.Join(dir, "install.yaml"), mode: 0o644, data: text.Bytes()},
			entry{name: path.Join(dir, "kustomization.yaml"), mode: 0o644, data: []byte(kustomization)})
	}
	err := fs.WalkDir(monitoring.Files(), ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		data, err := fs.ReadFile(monitoring.Files(), name)
		entries = append(entries, entry{name: path.Join("monitoring", name), mode: 0o644, data: data})
		return err
	})
	if err != nil {
		return nil, err
	}
	return artifact(version, entries)
}

// artifact is one layer of files, in the form that OCIRepositories and `flux pull artifact` read.
func artifact(version string, entries []entry) (v1.Image, error) {
	archive, err := packed(entries)
	if err != nil {
		return nil, err
	}
	var zipped bytes.Buffer
	w, err := gzip.NewWriterLevel(&zipped, gzip.BestCompression)
	if err != nil {
		return nil, err
	}
	if _, err := w.Write(archive); err != nil {
		return nil, err
	}
	if err := w.Close(); err != nil {
		return nil, err
	}
	image := mutate.ConfigMediaType(mutate.MediaType(empty.Image, types.OCIManifestSchema1), registry.ConfigMediaType)
	image, err = mutate.AppendLayers(image, static.NewLayer(zipped.Bytes(), registry.ContentMediaType))
	if err != nil {
		return nil, err
	}
	annotated, ok := mutate.Annotations(image, map[string]string{
		"org.opencontainers.image.created":  "1970-01-01T00:00:00Z",
		"org.opencontainers.image.source":   source,
		"org.opencontainers.image.revision": version,
		"org.opencontainers.image.licenses": "Apache-2.0",
	}).(v1.Image)
	if !ok {
		return nil, errors.New("annotate the artifact: it became something else")
	}
	return annotated, nil
}
