package session

import (
	"context"
	"encoding/json"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/gitops-toolkit/flux/internal/cli/cluster"
)

// completionTimeout bounds what a person waits for after pressing Tab.
const completionTimeout = 3 * time.Second

// CompleteNames offers the names of objects in the chosen namespace.
func CompleteNames(s *Session, r cluster.Resource) cobra.CompletionFunc {
	return func(cmd *cobra.Command, _ []string, prefix string) ([]string, cobra.ShellCompDirective) {
		names, err := s.names(cmd.Context(), r, prefix)
		if err != nil {
			return nil, cobra.ShellCompDirectiveError
		}
		return names, cobra.ShellCompDirectiveNoFileComp
	}
}

// CompleteNamespaces offers the namespaces of the cluster.
func CompleteNamespaces(s *Session) cobra.CompletionFunc {
	return CompleteNames(s, cluster.Resource{Version: "v1", Kind: "Namespace", Plural: "namespaces", Clusters: true})
}

// CompleteContexts offers the contexts of the kubeconfig.
func CompleteContexts(s *Session) cobra.CompletionFunc {
	return func(_ *cobra.Command, _ []string, prefix string) ([]string, cobra.ShellCompDirective) {
		names, err := s.Kube.Contexts()
		if err != nil {
			return nil, cobra.ShellCompDirectiveError
		}
		names = slices.DeleteFunc(names, func(name string) bool { return !strings.HasPrefix(name, prefix) })
		return names, cobra.ShellCompDirectiveNoFileComp
	}
}

func (s *Session) names(ctx context.Context, r cluster.Resource, prefix string) ([]string, error) {
	client, err := s.Client()
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, completionTimeout)
	defer cancel()
	opts := cluster.ListOptions{Namespace: s.Namespace}
	if r.Clusters {
		opts.Namespace = ""
	}
	var names []string
	_, err = client.List(ctx, r, opts, func(raw json.RawMessage) error {
		var obj metav1.PartialObjectMetadata
		if err := json.Unmarshal(raw, &obj); err != nil {
			return err
		}
		if strings.HasPrefix(obj.Name, prefix) {
			names = append(names, obj.Name)
		}
		return nil
	})
	return names, err
}
