package build

import (
	"errors"
	"fmt"
	"sync"

	"sigs.k8s.io/kustomize/api/krusty"
	"sigs.k8s.io/kustomize/api/resource"
	"sigs.k8s.io/kustomize/api/types"
	"sigs.k8s.io/kustomize/kyaml/openapi"
)

// schema guards kustomize's global OpenAPI schema: builds that only read it share the lock; one that brings its own
// schema holds it alone.
var schema struct {
	sync.RWMutex
	load sync.Once
}

// errNeedsExclusive stops a build that turns out to bring its own schema, to begin again alone.
var errNeedsExclusive = errors.New("the kustomization names an OpenAPI schema")

// build runs the steps beside other builds, and once more alone if a kustomization turns out to bring a schema.
func (b *builder) build() (*Result, error) {
	result, err := b.buildShared()
	if b.custom {
		return b.buildAlone()
	}
	return result, err
}

func (b *builder) buildShared() (*Result, error) {
	// Loading on demand would write the maps that other builds read.
	schema.load.Do(func() { openapi.Schema() })
	schema.RLock()
	defer schema.RUnlock()
	b.shared = true
	return guarded(b.steps)
}

func (b *builder) buildAlone() (*Result, error) {
	schema.Lock()
	defer schema.Unlock()
	defer func() {
		openapi.ResetOpenAPI()
		openapi.Schema()
	}()
	openapi.ResetOpenAPI()
	b.shared = false
	b.reset(b.fsys.ctx)
	return guarded(b.steps)
}

// run builds the prepared directory.
func (b *builder) run() ([]*resource.Resource, error) {
	resources, err := b.runWhole()
	if b.fsys.refused != nil {
		err = b.fsys.refused // kustomize may have hidden it behind "no kustomization file"
	}
	var undecrypted *decryptionError
	if errors.As(err, &undecrypted) {
		return nil, undecrypted
	}
	if err != nil {
		return nil, fmt.Errorf("kustomize build failed: %w", readable(err))
	}
	return resources, nil
}

func (b *builder) runWhole() ([]*resource.Resource, error) {
	if groups, ok := b.groups(); ok {
		return b.runGroups(groups)
	}
	return b.krusty(b.dir)
}

// krusty runs kustomize on one directory of the file system.
func (b *builder) krusty(dir string) ([]*resource.Resource, error) {
	return guarded(func() ([]*resource.Resource, error) {
		options := krusty.MakeDefaultOptions()
		options.Reorder = krusty.ReorderOptionNone
		options.LoadRestrictions = types.LoadRestrictionsNone // the file system restricts
		options.PluginConfig = types.DisabledPluginConfig()
		built, err := krusty.MakeKustomizer(options).Run(b.fsys, dir)
		if err != nil {
			return nil, err
		}
		return built.Resources(), nil
	})
}
