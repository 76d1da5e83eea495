package helmrepository

import (
	"context"
	"errors"
	"io/fs"
	"os"

	"github.com/gitops-toolkit/flux/internal/kernel"
)

// Finalize removes the artifacts of an object that goes away, or becomes a registry.
func (c *controller) Finalize(ctx context.Context, req *request) kernel.Outcome {
	return c.shelf(req.Object).Clear(ctx, req, func() error {
		if c.MemoDir == "" {
			return nil
		}
		err := os.Remove(c.memoFile(req.Object.Namespace, req.Object.Name))
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		return err
	})
}
