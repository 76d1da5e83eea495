package ocirepository

import (
	"context"

	"github.com/gitops-toolkit/flux/internal/kernel"
)

// Finalize removes the artifacts of an object that goes away.
func (c *controller) Finalize(ctx context.Context, req *request) kernel.Outcome {
	return c.shelf(req.Object).Clear(ctx, req)
}
