package info

import (
	"context"
	"encoding/json"
	"fmt"
	"strconv"

	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/gitops-toolkit/flux/api/meta"
	"github.com/gitops-toolkit/flux/internal/cli/cluster"
	"github.com/gitops-toolkit/flux/internal/cli/kinds"
	"github.com/gitops-toolkit/flux/internal/cli/session"
	"github.com/gitops-toolkit/flux/internal/cli/ui"
)

// StatsCommand returns `flux stats`.
func StatsCommand(s *session.Session) *cobra.Command {
	var allNamespaces bool
	cmd := &cobra.Command{
		Use:     "stats",
		Short:   "Print how many objects there are, fail or are suspended, and the storage of artifacts",
		Example: "  # of a namespace\n  flux stats\n\n  # of the cluster\n  flux stats -A",
		Args:    cobra.NoArgs,
	}
	cmd.PersistentFlags().BoolVarP(&allNamespaces, "all-namespaces", "A", false, "count the objects of all namespaces")
	cmd.RunE = s.Run(func(ctx context.Context, c *cluster.Client, _ []string) error {
		opts := cluster.ListOptions{Namespace: s.Namespace}
		if allNamespaces {
			opts.Namespace = ""
		}
		return printStats(ctx, s, c, opts)
	})
	return cmd
}

func printStats(ctx context.Context, s *session.Session, c *cluster.Client, opts cluster.ListOptions) error {
	list := kinds.Counted()
	counts := make([]count, len(list))
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(6)
	for i, k := range list {
		group.Go(func() (err error) {
			counts[i], err = countOf(ctx, c, k, opts)
			return err
		})
	}
	if err := group.Wait(); err != nil {
		return err
	}
	table := &ui.Table{Header: []string{"Reconcilers", "Running", "Failing", "Suspended", "Storage"}}
	for i, k := range list {
		n := counts[i]
		table.Append(k.Kind, strconv.Itoa(n.total-n.suspended), strconv.Itoa(n.failing), strconv.Itoa(n.suspended), byteSize(n.bytes))
	}
	return table.Write(s.Out)
}

type count struct {
	total, failing, suspended int
	bytes                     int64
}

func countOf(ctx context.Context, c *cluster.Client, k *kinds.Kind, opts cluster.ListOptions) (count, error) {
	var n count
	_, err := c.List(ctx, k.Resource, opts, func(raw json.RawMessage) error {
		obj, err := k.Decode(raw)
		if err != nil {
			return err
		}
		n.total++
		if obj.IsSuspended() {
			n.suspended++
		}
		if ready := kinds.Condition(obj, meta.ReadyCondition); ready != nil && ready.Status == metav1.ConditionFalse {
			n.failing++
		}
		if source, ok := obj.(meta.Source); ok {
			if artifact := source.GetArtifact(); artifact != nil && artifact.Size != nil {
				n.bytes += *artifact.Size
			}
		}
		return nil
	})
	if cluster.IsNoKind(err) {
		return count{}, nil
	}
	return n, err
}

// byteSize writes a size in binary units, and a dash for none.
func byteSize(n int64) string {
	const unit = 1024
	switch {
	case n == 0:
		return "-"
	case n < unit:
		return fmt.Sprintf("%d B", n)
	}
	value, prefix := float64(n)/unit, 0
	for value >= unit && prefix < len("KMGTPE")-1 {
		value /= unit
		prefix++
	}
	return fmt.Sprintf("%.1f %ciB", value, "KMGTPE"[prefix])
}
