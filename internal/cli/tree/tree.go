// Package tree prints what an object has made, and what that has made in turn.
package tree

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/yaml"

	"github.com/gitops-toolkit/flux/internal/cli/cluster"
	"github.com/gitops-toolkit/flux/internal/cli/kinds"
	"github.com/gitops-toolkit/flux/internal/cli/session"
)

// Identity is an object in a tree.
type Identity struct {
	Namespace string
	Name      string
	GroupKind schema.GroupKind
}

// String returns kind, namespace and name with slashes; cluster-scoped objects have no namespace.
func (id Identity) String() string {
	if id.Namespace == "" {
		return id.GroupKind.Kind + "/" + id.Name
	}
	return id.GroupKind.Kind + "/" + id.Namespace + "/" + id.Name
}

// Node is an object with what it has made.
type Node struct {
	Resource  Identity `json:"resource"`
	Resources []*Node  `json:"resources,omitempty"`
}

func (n *Node) add(id Identity) *Node {
	child := &Node{Resource: id}
	n.Resources = append(n.Resources, child)
	return child
}

// Command returns `flux tree`.
func Command(s *session.Session) *cobra.Command {
	root := &cobra.Command{
		Use:   "tree",
		Short: "Print what objects have made as a tree",
		Long:  "The tree commands print the objects that a Kustomization, a HelmRelease or an ArtifactGenerator has made, and what these have made in turn. Their output may change.",
	}
	groups := &session.Group{Titles: map[string]string{"artifact": "Print what artifact generators have made"}}
	groups.Place(root, "kustomization", kustomization(s))
	groups.Place(root, "helmrelease", helmRelease(s))
	groups.Place(root, "artifact generator", generator(s))
	return root
}

func kustomization(s *session.Session) *cobra.Command {
	var compact bool
	var output string
	cmd := &cobra.Command{
		Use:               "kustomization [name]",
		Aliases:           []string{"ks", "kustomization"},
		Short:             "Print what a Kustomization has applied",
		Example:           "  # everything\n  flux tree kustomization my-app\n\n  # only objects of this toolkit\n  flux tree kustomization flux-system --compact",
		ValidArgsFunction: session.CompleteNames(s, kinds.Kustomization.Resource),
	}
	cmd.Flags().BoolVar(&compact, "compact", false, "print only objects of this toolkit")
	cmd.Flags().StringVarP(&output, "output", "o", "", "format: a drawing when empty, json or yaml")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if len(args) == 0 {
			return errors.New("kustomization name is required")
		}
		return s.Run(func(ctx context.Context, c *cluster.Client, args []string) error {
			b := &builder{client: c, compact: compact, expanded: map[Identity]bool{}, kinds: s.Discovery(c)}
			node, err := b.kustomization(ctx, s.Namespace, args[0])
			if err != nil {
				return err
			}
			return write(s.Out, output, node)
		})(cmd, args)
	}
	return cmd
}

func helmRelease(s *session.Session) *cobra.Command {
	return whole(s, &cobra.Command{
		Use:               "helmrelease [name]",
		Aliases:           []string{"hr"},
		Short:             "Print what a HelmRelease has released",
		Example:           "  flux tree helmrelease podinfo",
		ValidArgsFunction: session.CompleteNames(s, kinds.HelmRelease.Resource),
	}, func(ctx context.Context, b *builder, name string) (*Node, error) {
		node := &Node{Resource: identify(kinds.HelmRelease, s.Namespace, name)}
		return node, b.release(ctx, node)
	})
}

func generator(s *session.Session) *cobra.Command {
	return whole(s, &cobra.Command{
		Use:               "generator [name]",
		Short:             "Print the artifacts of an ArtifactGenerator",
		Example:           "  flux tree artifact generator my-generator",
		ValidArgsFunction: session.CompleteNames(s, kinds.ArtifactGenerator.Resource),
	}, func(ctx context.Context, b *builder, name string) (*Node, error) {
		return b.generator(ctx, s.Namespace, name)
	})
}

// whole lets a command print the tree of the one object that it names.
func whole(s *session.Session, cmd *cobra.Command, find func(ctx context.Context, b *builder, name string) (*Node, error)) *cobra.Command {
	var output string
	cmd.Args = cobra.ExactArgs(1)
	cmd.Flags().StringVarP(&output, "output", "o", "", "format: a drawing when empty, json or yaml")
	cmd.RunE = s.Run(func(ctx context.Context, c *cluster.Client, args []string) error {
		node, err := find(ctx, &builder{client: c, expanded: map[Identity]bool{}, kinds: s.Discovery(c)}, args[0])
		if err != nil {
			return err
		}
		return write(s.Out, output, node)
	})
	return cmd
}

func write(w io.Writer, output string, node *Node) error {
	switch output {
	case "":
		var b strings.Builder
		b.WriteString(node.Resource.String() + "\n")
		draw(&b, node, "")
		_, err := fmt.Fprintln(w, b.String())
		return err
	case "json":
		text, err := json.MarshalIndent(node, "", "  ")
		if err != nil {
			return err
		}
		_, err = fmt.Fprintf(w, "%s\n", text)
		return err
	case "yaml":
		text, err := yaml.Marshal(node)
		if err != nil {
			return err
		}
		_, err = fmt.Fprintf(w, "%s\n", text)
		return err
	}
	return fmt.Errorf("--output must be json or yaml, not %s", output)
}

func draw(b *strings.Builder, node *Node, indent string) {
	for i, child := range node.Resources {
		branch, below := "├── ", "│   "
		if i == len(node.Resources)-1 {
			branch, below = "└── ", "    "
		}
		b.WriteString(indent + branch + child.Resource.String() + "\n")
		draw(b, child, indent+below)
	}
}
