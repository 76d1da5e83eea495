package debug

import (
	"context"
	"encoding/json"
	"errors"

	"github.com/spf13/cobra"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/yaml"

	helmv2 "github.com/gitops-toolkit/flux/api/helm/v2"
	"github.com/gitops-toolkit/flux/internal/cli/cluster"
	"github.com/gitops-toolkit/flux/internal/cli/kinds"
	"github.com/gitops-toolkit/flux/internal/cli/session"
	"github.com/gitops-toolkit/flux/internal/helm/values"
)

func helmRelease(s *session.Session) *cobra.Command {
	var status, show, history bool
	cmd := &cobra.Command{
		Use:               "helmrelease [name]",
		Aliases:           []string{"hr"},
		Short:             "Print the status, the values or the history of a HelmRelease",
		Example:           "  # the values that the chart gets; this prints values of Secrets\n  flux debug helmrelease podinfo --show-values",
		Args:              cobra.ExactArgs(1),
		ValidArgsFunction: session.CompleteNames(s, kinds.HelmRelease.Resource),
	}
	cmd.Flags().BoolVar(&status, "show-status", false, "print the status")
	cmd.Flags().BoolVar(&show, "show-values", false, "print the values, composed of spec.valuesFrom and spec.values")
	cmd.Flags().BoolVar(&history, "show-history", false, "print what was released before")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if !exactlyOne(status, show, history) {
			return errors.New("exactly one of --show-status, --show-values, or --show-history must be set")
		}
		return s.Run(func(ctx context.Context, c *cluster.Client, args []string) error {
			obj := &helmv2.HelmRelease{}
			if err := c.Get(ctx, kinds.HelmRelease.Resource, s.Namespace, args[0], obj); err != nil {
				return err
			}
			switch {
			case status:
				return printReleases(s, "Status", "helm/helmreleases/#helmrelease-status", obj.Status)
			case history:
				return printReleases(s, "History", "helm/helmreleases/#history", obj.Status.History)
			}
			return printValues(ctx, s, c, obj)
		})(cmd, args)
	}
	return cmd
}

// printReleases is printYAML with the empty time of deletion that people's scripts know.
func printReleases(s *session.Session, what, page string, value any) error {
	data, err := json.Marshal(value)
	if err != nil {
		return err
	}
	var plain any
	if err := json.Unmarshal(data, &plain); err != nil {
		return err
	}
	list, _ := plain.([]any)
	if m, ok := plain.(map[string]any); ok {
		list, _ = m["history"].([]any)
	}
	for _, one := range list {
		if m, ok := one.(map[string]any); ok && m["deleted"] == nil {
			m["deleted"] = nil
		}
	}
	return printYAML(s, what, page, plain)
}

func printValues(ctx context.Context, s *session.Session, c *cluster.Client, obj *helmv2.HelmRelease) error {
	merged, _, err := values.Of(obj, func(kind, namespace, name string) (values.Object, error) {
		return readValues(ctx, c, kind, namespace, name)
	})
	if err != nil {
		return err
	}
	text, err := yaml.Marshal(merged)
	if err != nil {
		return err
	}
	_, err = s.Out.Write(text)
	return err
}

func readValues(ctx context.Context, c *cluster.Client, kind, namespace, name string) (values.Object, error) {
	reader, key := kinds.Reader{Client: c}, types.NamespacedName{Namespace: namespace, Name: name}
	if kind == kinds.Secrets.Kind {
		return values.FromSecret(reader.GetSecret(ctx, key))
	}
	return values.FromConfigMap(reader.GetConfigMap(ctx, key))
}
