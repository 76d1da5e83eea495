package controllers

import (
	"github.com/gitops-toolkit/flux/internal/artifact/archive"
	"github.com/gitops-toolkit/flux/internal/artifact/store"
	"github.com/gitops-toolkit/flux/internal/auth/cloud"
	"github.com/gitops-toolkit/flux/internal/kernel"
	"github.com/gitops-toolkit/flux/internal/registry"
	"github.com/gitops-toolkit/flux/internal/source/ocirepository"
)

// registerOCI adds the sources that come from registries.
func registerOCI(m *kernel.Manager, artifacts *store.Store, archives *archive.Builder, clouds *cloud.Clouds) error {
	registries := registry.NewPool(registry.Options{})
	m.AddCleanup(func() error {
		registries.Close()
		return nil
	})
	return ocirepository.Register(m, ocirepository.Options{Artifacts: artifacts, Archives: archives, Registries: registries, Clouds: clouds})
}
