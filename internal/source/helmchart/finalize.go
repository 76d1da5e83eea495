package helmchart

import (
	"context"
	"fmt"

	sourcev1 "github.com/gitops-toolkit/flux/api/source/v1"
	"github.com/gitops-toolkit/flux/internal/kernel"
)

// Finalize removes the artifacts of an object that goes away.
func (c *controller) Finalize(ctx context.Context, req *request) kernel.Outcome {
	n, err := c.Artifacts.Delete(ctx, storeKind, req.Object.Namespace, req.Object.Name)
	if err != nil {
		return kernel.Failed(sourcev1.GarbageCollectionFailedReason, fmt.Errorf("garbage collection for deleted resource failed: %w", err)).Backoff()
	}
	if n > 0 {
		req.Event(kernel.Trace("GarbageCollectionSucceeded", "garbage collected artifacts for deleted resource", nil))
	}
	return kernel.Done("", "")
}
