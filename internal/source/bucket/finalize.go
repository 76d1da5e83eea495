package bucket

import (
	"context"
	"os"

	"github.com/gitops-toolkit/flux/internal/kernel"
)

// Finalize removes the artifacts of an object that goes away, and what was fetched for it.
func (c *controller) Finalize(ctx context.Context, req *request) kernel.Outcome {
	return c.shelf(req.Object).Clear(ctx, req, func() error { return os.RemoveAll(c.mirrorDir(req.Object)) })
}
