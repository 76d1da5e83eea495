package repository

import (
	"context"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"

	imagev1 "github.com/gitops-toolkit/flux/api/image/v1"
	"github.com/gitops-toolkit/flux/internal/kernel"
)

// collector forgets tags of objects that went away while no controller ran.
type collector struct {
	*kernel.Manager
	Options
}

func (c collector) run(ctx context.Context) error {
	ticker := time.NewTicker(c.CollectEvery)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
			n, err := c.Tags.Collect(func(key types.NamespacedName) (bool, error) {
				err := c.Client().Get(ctx, key, &imagev1.ImageRepository{})
				if apierrors.IsNotFound(err) {
					return false, nil
				}
				return true, err
			})
			if err != nil && ctx.Err() == nil {
				c.Log().Error(err, "the database of tags was not cleaned up; it is tried again", "after", c.CollectEvery)
			} else if n > 0 {
				c.Log().Info("removed tags of objects that are gone", "objects", n)
			}
		}
	}
}
