package cli

import (
	"fmt"
	"slices"

	"github.com/spf13/cobra"

	"github.com/gitops-toolkit/flux/sandbox/internal/state"
)

func newKubeconfig(o *options) *cobra.Command {
	return &cobra.Command{
		Use:   "kubeconfig",
		Short: "Print the path of the kubeconfig",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			_, current, err := o.running()
			if err != nil {
				return err
			}
			return o.print(cmd.OutOrStdout(), map[string]string{"kubeconfig": current.Kubeconfig}, current.Kubeconfig)
		},
	}
}

func newRegistry(o *options) *cobra.Command {
	return &cobra.Command{
		Use:   "registry",
		Short: "Print the address of the OCI registry (plain HTTP)",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			_, current, err := o.running()
			if err != nil {
				return err
			}
			if current.Registry == nil {
				return fmt.Errorf("sandbox %q has no registry", o.name)
			}
			return o.print(cmd.OutOrStdout(), current.Registry, current.Registry.Address)
		},
	}
}

// names lists the components that have a log.
func names(s *state.State) []string {
	all := []string{"supervisor"}
	for _, c := range s.Components {
		all = append(all, c.Name)
	}
	slices.Sort(all)
	return all
}
