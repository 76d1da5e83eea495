// Package get prints the objects of a kind, or of several, as tables. The tables of one command
// are read from the API server side by side and printed in a fixed order.
package get

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"

	"github.com/spf13/cobra"
	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"github.com/gitops-toolkit/flux/api/meta"
	"github.com/gitops-toolkit/flux/internal/cli/cluster"
	"github.com/gitops-toolkit/flux/internal/cli/kinds"
	"github.com/gitops-toolkit/flux/internal/cli/session"
)

// options are the flags of get and its sub-commands.
type options struct {
	allNamespaces  bool
	noHeader       bool
	watch          bool
	showSource     bool
	labels         string
	statusSelector string
}

// Command returns `flux get`.
func Command(s *session.Session) *cobra.Command {
	opts := &options{}
	root := &cobra.Command{
		Use:   "get",
		Short: "Print objects and their state as tables",
		Long:  "The get commands print a table of the objects of a kind, or of all kinds, with their revision and state.",
	}
	flags := root.PersistentFlags()
	flags.BoolVarP(&opts.allNamespaces, "all-namespaces", "A", false, "list the objects of all namespaces")
	flags.BoolVar(&opts.noHeader, "no-header", false, "leave the header out")
	flags.BoolVarP(&opts.watch, "watch", "w", false, "after listing the objects, print every change")
	flags.StringVar(&opts.statusSelector, "status-selector", "", "list only objects with this condition, as type=status or type!=status")
	flags.StringVarP(&opts.labels, "label-selector", "l", "", "list only objects with these labels (=, ==, !=, in, notin)")

	groups := &session.Group{
		Words:  map[string][]string{"sources": {"source"}, "images": {"image"}, "artifacts": {"artifact"}},
		Titles: map[string]string{"sources": "Print sources", "images": "Print image automation objects", "artifacts": "Print artifact generators"},
	}
	for _, k := range kinds.All() {
		if k.Has(kinds.Get) {
			groups.Place(root, k.Lists, one(s, opts, k))
		}
	}
	groups.Place(root, "sources all", several(s, opts, "sources", kinds.Sources()))
	groups.Place(root, "images all", several(s, opts, "images", kinds.Images()))
	root.AddCommand(several(s, opts, "all", kinds.Everything()))
	return root
}

func one(s *session.Session, opts *options, k *kinds.Kind) *cobra.Command {
	words := strings.Fields(k.Lists)
	cmd := &cobra.Command{
		Use:               words[len(words)-1],
		Aliases:           k.ListAliases,
		Short:             "Print " + k.Kind + " objects",
		Example:           fmt.Sprintf("  # all of a namespace\n  flux get %s\n\n  # those that are not ready, in all namespaces\n  flux get %[1]s -A --status-selector ready=false", k.Lists),
		ValidArgsFunction: session.CompleteNames(s, k.Resource),
	}
	if k.ShowSource != nil {
		cmd.Flags().BoolVar(&opts.showSource, "show-source", false, "add a column with the source")
	}
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		q, err := newQuery(s, opts, args)
		if err != nil {
			return err
		}
		if opts.watch {
			return q.watch(cmd.Context(), s, k)
		}
		return s.Run(func(ctx context.Context, c *cluster.Client, _ []string) error {
			objs, err := q.list(ctx, c, k)
			if err != nil {
				return err
			}
			if len(objs) == 0 {
				return q.nothing(k)
			}
			return q.table(k, q.filter(k, objs)).Write(s.Out)
		})(cmd, args)
	}
	return cmd
}

// query is a resolved request for objects.
type query struct {
	*options
	namespace string // empty for all
	name      string
	prefixed  bool // names carry their kind
	condition *conditionSelector
}

func newQuery(s *session.Session, opts *options, args []string) (*query, error) {
	condition, err := parseSelector(opts.statusSelector)
	if err != nil {
		return nil, err
	}
	q := &query{options: opts, namespace: s.Namespace, condition: condition}
	if opts.allNamespaces {
		q.namespace = ""
	}
	if len(args) > 0 {
		q.name = args[0]
	}
	return q, nil
}

func (q *query) listOptions() cluster.ListOptions {
	opts := cluster.ListOptions{Namespace: q.namespace, Labels: q.labels}
	if q.name != "" {
		opts.Fields = "metadata.name=" + q.name
	}
	return opts
}

func (q *query) list(ctx context.Context, c *cluster.Client, k *kinds.Kind) ([]meta.Object, error) {
	if q.name != "" && q.namespace != "" && q.labels == "" {
		obj := k.New()
		err := c.Get(ctx, k.Resource, q.namespace, q.name, obj)
		switch {
		case apierrors.IsNotFound(err) && !cluster.IsNoKind(err):
			return nil, nil
		case err != nil:
			return nil, err
		}
		return []meta.Object{obj}, nil
	}
	var objs []meta.Object
	_, err := c.List(ctx, k.Resource, q.listOptions(), func(raw json.RawMessage) error {
		obj, err := k.Decode(raw)
		objs = append(objs, obj)
		return err
	})
	return objs, err
}

// nothing is the error of a list without objects.
func (q *query) nothing(k *kinds.Kind) error {
	namespace := q.namespace
	if namespace == "" {
		namespace = "any"
	}
	if q.name != "" {
		return fmt.Errorf("%s object '%s' not found in %q namespace", k.Kind, q.name, namespace)
	}
	return fmt.Errorf("no %s objects found in %q namespace", k.Kind, namespace)
}
