package postrender

import "sync"

// kustomizing guards kustomize's global OpenAPI schema, which it loads on demand.
var kustomizing sync.Mutex
