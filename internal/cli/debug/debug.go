// Package debug prints what an object works with and what has become of it. Values of Secrets
// are printed in clear.
package debug

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	"github.com/spf13/cobra"
	"sigs.k8s.io/yaml"

	kustomizev1 "github.com/gitops-toolkit/flux/api/kustomize/v1"
	"github.com/gitops-toolkit/flux/internal/cli/cluster"
	"github.com/gitops-toolkit/flux/internal/cli/kinds"
	"github.com/gitops-toolkit/flux/internal/cli/session"
	"github.com/gitops-toolkit/flux/internal/kustomize/spec"
)

const documentation = "https://fluxcd.io/flux/components/"

// Command returns `flux debug`.
func Command(s *session.Session) *cobra.Command {
	root := &cobra.Command{
		Use:   "debug",
		Short: "Print what an object works with",
		Long:  "The debug commands print what an object works with and what has become of it. Their output holds the values of Secrets in clear, and may change.",
	}
	root.AddCommand(kustomization(s), helmRelease(s))
	return root
}

func kustomization(s *session.Session) *cobra.Command {
	var status, vars, history bool
	cmd := &cobra.Command{
		Use:               "kustomization [name]",
		Aliases:           []string{"ks"},
		Short:             "Print the status, the variables or the history of a Kustomization",
		Example:           "  # what ${variables} become; this prints values of Secrets\n  flux debug kustomization my-app --show-vars",
		Args:              cobra.ExactArgs(1),
		ValidArgsFunction: session.CompleteNames(s, kinds.Kustomization.Resource),
	}
	cmd.Flags().BoolVar(&status, "show-status", false, "print the status")
	cmd.Flags().BoolVar(&vars, "show-vars", false, "print the variables of postBuild")
	cmd.Flags().BoolVar(&history, "show-history", false, "print what was applied before")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if !exactlyOne(status, vars, history) {
			return errors.New("exactly one of --show-status, --show-vars, or --show-history must be set")
		}
		return s.Run(func(ctx context.Context, c *cluster.Client, args []string) error {
			obj := &kustomizev1.Kustomization{}
			if err := c.Get(ctx, kinds.Kustomization.Resource, s.Namespace, args[0], obj); err != nil {
				return err
			}
			switch {
			case status:
				return printYAML(s, "Status", "kustomize/kustomizations/#kustomization-status", obj.Status)
			case history:
				return printYAML(s, "History", "kustomize/kustomizations/#history", obj.Status.History)
			}
			return printVariables(ctx, s, c, obj)
		})(cmd, args)
	}
	return cmd
}

func exactlyOne(flags ...bool) bool {
	count := 0
	for _, on := range flags {
		if on {
			count++
		}
	}
	return count == 1
}

// printYAML prints a part of an object below a line that says where it is documented.
func printYAML(s *session.Session, what, page string, value any) error {
	data, err := json.Marshal(value)
	if err != nil {
		return err
	}
	text, err := yaml.JSONToYAML(data)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(s.Out, "# %s documentation: %s%s\n%s", what, documentation, page, text)
	return err
}

func printVariables(ctx context.Context, s *session.Session, c *cluster.Client, obj *kustomizev1.Kustomization) error {
	if obj.Spec.PostBuild == nil {
		return errors.New("no post build substitutions found")
	}
	variables := spec.ReadVariables(ctx, kinds.Reader{Client: c}, obj, false)
	if variables.Err != nil {
		return variables.Err
	}
	var lines []string
	for name, value := range variables.Values {
		lines = append(lines, name+"="+value)
	}
	slices.Sort(lines)
	for _, line := range lines {
		if _, err := fmt.Fprintln(s.Out, line); err != nil {
			return err
		}
	}
	return nil
}
