package artifact

import (
	"context"
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/gitops-toolkit/flux/internal/cli/session"
	"github.com/gitops-toolkit/flux/internal/registry"
)

func tagCommand(s *session.Session) *cobra.Command {
	f := &remoteFlags{}
	var tags []string
	cmd := &cobra.Command{
		Use:     "artifact",
		Short:   "Give an artifact more tags",
		Long:    "The command gives an artifact that is in a registry more tags, without moving its content.",
		Example: "  # promote\n  flux tag artifact oci://ghcr.io/org/config/app:v1.0.0 --tag latest --tag prod",
	}
	f.define(cmd.Flags(), false)
	cmd.Flags().StringSliceVar(&tags, "tag", nil, "tag to give; may be repeated")
	cmd.RunE = run(s, func(ctx context.Context, url string) error {
		if len(tags) < 1 {
			return errors.New("--tag is required")
		}
		l, err := registry.ParseLocation(url)
		if err != nil {
			return err
		}
		repo, err := f.open(ctx, l)
		if err != nil {
			return err
		}
		s.Log.Actionf("tagging artifact")
		for _, tag := range tags {
			if err := repo.Tag(ctx, l.Identifier(), tag); err != nil {
				return fmt.Errorf("tagging artifact failed: %w", err)
			}
			s.Log.Successf("artifact tagged as %s:%s", repo.Name(), tag)
		}
		return nil
	})
	return cmd
}
