// Package remove is `flux delete`.
package remove

import (
	"context"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/gitops-toolkit/flux/internal/cli/cluster"
	"github.com/gitops-toolkit/flux/internal/cli/kinds"
	"github.com/gitops-toolkit/flux/internal/cli/session"
	"github.com/gitops-toolkit/flux/internal/cli/ui"
)

// Command returns `flux delete`.
func Command(s *session.Session) *cobra.Command {
	var silent bool
	root := &cobra.Command{
		Use:   "delete",
		Short: "Delete objects",
		Long:  "The delete commands delete an object after asking; what the object applied is removed or kept as its spec says.",
	}
	root.PersistentFlags().BoolVarP(&silent, "silent", "s", false, "delete without asking")
	groups := &session.Group{Titles: map[string]string{"source": "Delete sources", "image": "Delete image automation objects", "artifact": "Delete artifact generators"}}
	for _, k := range kinds.All() {
		if k.Has(kinds.Delete) {
			groups.Place(root, k.Path, command(s, &silent, k))
		}
	}
	return root
}

func command(s *session.Session, silent *bool, k *kinds.Kind) *cobra.Command {
	words := strings.Fields(k.Path)
	return &cobra.Command{
		Use:               words[len(words)-1] + " [name]",
		Aliases:           k.Aliases,
		Short:             "Delete a " + k.Kind,
		Example:           fmt.Sprintf("  # delete without asking\n  flux delete %s my-app --silent", k.Path),
		ValidArgsFunction: session.CompleteNames(s, k.Resource),
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) == 0 {
				return fmt.Errorf("%s name is required", k.Human)
			}
			return s.Run(func(ctx context.Context, c *cluster.Client, args []string) error {
				return remove(ctx, s, c, *silent, k, args[0])
			})(cmd, args)
		},
	}
}

func remove(ctx context.Context, s *session.Session, c *cluster.Client, silent bool, k *kinds.Kind, name string) error {
	if err := c.Get(ctx, k.Resource, s.Namespace, name, k.New()); err != nil {
		return err
	}
	if !silent {
		if err := ui.Confirm(s.In, s.Err, "Are you sure you want to delete this "+k.Human); err != nil {
			return err
		}
	}
	s.Log.Actionf("deleting %s %s in %s namespace", k.Human, name, s.Namespace)
	if err := c.Delete(ctx, k.Resource, s.Namespace, name, cluster.DeleteOptions{}); err != nil {
		return err
	}
	s.Log.Successf("%s deleted", k.Human)
	return nil
}
