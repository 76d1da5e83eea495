package archive

import (
	"context"
	"errors"
	"io"
	"syscall"

	"golang.org/x/sync/errgroup"
)

// splicer writes planned members: those that the cache has, and those that it makes.
type splicer struct {
	planner *planner
	members *Members
	workers int
	reused  int
}

// fill compresses the members that the cache lacks. A cache that cannot take one, for lack of space,
// is no error: write then compresses it on the way.
func (s *splicer) fill(ctx context.Context, plan []member) error {
	if s.members == nil {
		return nil
	}
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(s.workers)
	kept := make([]bool, len(plan))
	for i, m := range plan {
		if m.units == nil {
			s.reused++
			continue
		}
		group.Go(func() error {
			err := s.members.put(m.key, func(w io.Writer) error { return writeMember(ctx, w, s.planner, m.units) })
			var full *cacheError
			if errors.As(err, &full) {
				if errors.Is(err, syscall.ENOSPC) {
					s.members.shrink()
				}
				return nil
			}
			kept[i] = err == nil
			return err
		})
	}
	err := group.Wait()
	for i, m := range plan {
		if kept[i] {
			s.planner.pinned = append(s.planner.pinned, m.key)
			plan[i].units = nil
		}
	}
	return err
}

// write writes the archive.
func (s *splicer) write(ctx context.Context, w io.Writer, plan []member) error {
	for _, m := range plan {
		if err := ctx.Err(); err != nil {
			return err
		}
		var err error
		if m.units != nil {
			err = writeMember(ctx, w, s.planner, m.units)
		} else {
			err = s.members.copy(w, m.key)
		}
		if err != nil {
			return err
		}
	}
	return writeEnd(w)
}
