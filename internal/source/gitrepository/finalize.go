package gitrepository

import (
	"context"

	"github.com/gitops-toolkit/flux/internal/kernel"
)

// Finalize removes the artifacts of an object that goes away. The mirror may serve others; it goes when it is idle.
func (c *controller) Finalize(ctx context.Context, req *request) kernel.Outcome {
	return c.shelf(req.Object).Clear(ctx, req)
}
