package controllers

import (
	"fmt"
	"path/filepath"

	"github.com/gitops-toolkit/flux/internal/artifact/archive"
	"github.com/gitops-toolkit/flux/internal/artifact/fetch"
	"github.com/gitops-toolkit/flux/internal/kernel"
	"github.com/gitops-toolkit/flux/internal/source/artifactgenerator"
)

// registerWatcher gives ArtifactGenerators the artifacts that they read, and a store of their own, which it serves.
func registerWatcher(m *kernel.Manager, v Values) error {
	artifacts, err := openStore(m, v, "externalartifact")
	if err != nil {
		return err
	}
	members, err := archive.OpenMembers(filepath.Join(v.String("storage-path"), ".members-"+m.Name()), 0)
	if err != nil {
		return fmt.Errorf("open the cache of archive members below --storage-path: %w", err)
	}
	retries := v.Int("http-retry")
	if retries == 0 {
		retries = -1 // to the client zero means its default
	}
	dir, unpacked, err := openArtifacts(m, m.Name(), fetch.New(fetch.Options{Retries: retries}))
	if err != nil {
		return fmt.Errorf("open the cache of source artifacts: %w", err)
	}
	return artifactgenerator.Register(m, artifactgenerator.Options{
		Artifacts: artifacts, Archives: archive.NewBuilder(archive.Options{Members: members}), Unpacked: unpacked,
		Timeout: v.Duration("reconciliation-timeout"), TempDir: dir,
	})
}
