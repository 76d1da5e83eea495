// Package kschema guards the OpenAPI schema that kustomize keeps once for the whole process: builds of Kustomizations and
// post-renderers of HelmReleases may run in one process and side by side. Who only reads the schema shares it; who brings
// one of its own has it alone.
package kschema

import (
	"sync"

	"sigs.k8s.io/kustomize/kyaml/openapi"
)

var (
	guard sync.RWMutex
	load  sync.Once
)

// Shared runs f beside others that share the schema. f must not bring a schema of its own.
func Shared(f func()) {
	// Loading on demand would write the maps that others read.
	load.Do(func() { openapi.Schema() })
	guard.RLock()
	defer guard.RUnlock()
	f()
}

// Alone runs f while nobody else uses the schema, with a fresh one, which is that of kustomize again afterwards.
func Alone(f func()) {
	guard.Lock()
	defer guard.Unlock()
	defer func() {
		openapi.ResetOpenAPI()
		openapi.Schema()
	}()
	openapi.ResetOpenAPI()
	f()
}
