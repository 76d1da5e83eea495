package get

import (
	"context"
	"errors"
	"fmt"

	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"

	"github.com/gitops-toolkit/flux/api/meta"
	"github.com/gitops-toolkit/flux/internal/cli/cluster"
	"github.com/gitops-toolkit/flux/internal/cli/kinds"
	"github.com/gitops-toolkit/flux/internal/cli/session"
)

// parallelLists bounds the lists that one command has under way.
const parallelLists = 6

// several makes the command that prints a table for each of the kinds; empty ones and those
// that the cluster does not serve are left out.
func several(s *session.Session, opts *options, what string, list []*kinds.Kind) *cobra.Command {
	path := what + " all"
	if what == "all" {
		path = "all"
	}
	return &cobra.Command{
		Use:     "all",
		Short:   fmt.Sprintf("Print objects of all kinds%s", map[bool]string{true: "", false: " of " + what}[what == "all"]),
		Example: fmt.Sprintf("  # a namespace\n  flux get %s\n\n  # what is not ready anywhere\n  flux get %[1]s -A --status-selector ready=false", path),
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, args []string) error {
			if opts.watch {
				return errors.New("expected a single resource type, but found all")
			}
			q, err := newQuery(s, opts, nil)
			if err != nil {
				return err
			}
			q.prefixed = true
			return s.Run(func(ctx context.Context, c *cluster.Client, _ []string) error {
				return q.printAll(ctx, s, c, list)
			})(cmd, args)
		},
	}
}

func (q *query) printAll(ctx context.Context, s *session.Session, c *cluster.Client, list []*kinds.Kind) error {
	found := make([][]meta.Object, len(list))
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(parallelLists)
	for i, k := range list {
		group.Go(func() error {
			objs, err := q.list(ctx, c, k)
			if err != nil && !cluster.IsNoKind(err) {
				return err
			}
			found[i] = q.filter(k, objs)
			return nil
		})
	}
	if err := group.Wait(); err != nil {
		return err
	}
	for i, k := range list {
		if len(found[i]) == 0 {
			continue
		}
		if err := q.table(k, found[i]).Write(s.Out); err != nil {
			return err
		}
		fmt.Fprintln(s.Out)
	}
	return nil
}
