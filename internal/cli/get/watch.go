package get

import (
	"context"
	"encoding/json"

	"k8s.io/apimachinery/pkg/watch"

	"github.com/gitops-toolkit/flux/api/meta"
	"github.com/gitops-toolkit/flux/internal/cli/cluster"
	"github.com/gitops-toolkit/flux/internal/cli/kinds"
	"github.com/gitops-toolkit/flux/internal/cli/session"
)

// watch prints what is there and then every object that changes, until interrupted. The
// command's time limit is not for it.
func (q *query) watch(ctx context.Context, s *session.Session, k *kinds.Kind) error {
	c, err := s.Client()
	if err != nil {
		return err
	}
	table := q.table(k, nil)
	for {
		var objs []meta.Object
		version, err := c.List(ctx, k.Resource, q.listOptions(), func(raw json.RawMessage) error {
			obj, err := k.Decode(raw)
			objs = append(objs, obj)
			return err
		})
		if err != nil {
			return err
		}
		for _, obj := range q.filter(k, objs) {
			table.Append(q.row(k, obj)...)
		}
		if err := table.WriteNew(s.Out); err != nil {
			return err
		}
		err = q.follow(ctx, s, c, k, version, func(obj meta.Object) error {
			table.Append(q.row(k, obj)...)
			return table.WriteNew(s.Out)
		})
		if err != nil {
			return err
		}
	}
}

// follow returns nil when the list must be read anew.
func (q *query) follow(ctx context.Context, s *session.Session, c *cluster.Client, k *kinds.Kind, version string, show func(meta.Object) error) error {
	for {
		err := c.Watch(ctx, k.Resource, q.listOptions(), version, func(event cluster.Event) error {
			obj, err := k.Decode(event.Object)
			if err != nil {
				return err
			}
			version = obj.GetResourceVersion()
			if event.Type == watch.Deleted || len(q.filter(k, []meta.Object{obj})) == 0 {
				return nil
			}
			return show(obj)
		})
		if cluster.IsTooOld(err) {
			return nil
		}
		if err != nil {
			return err
		}
	}
}
