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

// CompleteReferences offers objects of some kinds as Kind/name: first the kinds, then the names.
func CompleteReferences(s *Session, resources ...cluster.Resource) cobra.CompletionFunc {
	return func(cmd *cobra.Command, _ []string, prefix string) ([]string, cobra.ShellCompDirective) {
		word, name, named := strings.Cut(prefix, "/")
		var found []string
		for _, r := range resources {
			switch {
			case !named && len(r.Kind) >= len(word) && strings.EqualFold(r.Kind[:len(word)], word):
				found = append(found, r.Kind+"/")
			case named && strings.EqualFold(r.Kind, word):
				names, err := s.names(cmd.Context(), r, name)
				if err != nil {
					return nil, cobra.ShellCompDirectiveError
				}
				for _, n := range names {
					found = append(found, word+"/"+n)
				}
			}
		}
		if named {
			return found, cobra.ShellCompDirectiveNoFileComp
		}
		return found, cobra.ShellCompDirectiveNoFileComp | cobra.ShellCompDirectiveNoSpace
	}
}

// CompleteList makes values of a flag that takes several, divided by commas, out of a completion of one.
func CompleteList(one cobra.CompletionFunc) cobra.CompletionFunc {
	return func(cmd *cobra.Command, args []string, prefix string) ([]string, cobra.ShellCompDirective) {
		i := strings.LastIndex(prefix, ",") + 1
		found, directive := one(cmd, args, prefix[i:])
		for n := range found {
			found[n] = prefix[:i] + found[n]
		}
		return found, directive
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
