// Package export prints objects as the YAML that one would commit: apiVersion, kind, the
// portable part of metadata, and spec.
package export

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"reflect"
	"strings"

	"github.com/spf13/cobra"
	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/yaml"

	"github.com/gitops-toolkit/flux/api/meta"
	"github.com/gitops-toolkit/flux/internal/cli/cluster"
	"github.com/gitops-toolkit/flux/internal/cli/kinds"
	"github.com/gitops-toolkit/flux/internal/cli/session"
)

type options struct {
	all             bool
	withCredentials bool
	portable        bool
}

// Command returns `flux export`.
func Command(s *session.Session) *cobra.Command {
	opts := &options{}
	root := &cobra.Command{
		Use:   "export",
		Short: "Print objects as YAML",
		Long:  "The export commands print the objects of a kind as YAML that can be committed and applied elsewhere.",
	}
	root.PersistentFlags().BoolVar(&opts.all, "all", false, "export every object of the kind in the namespace")
	root.PersistentFlags().BoolVar(&opts.portable, "portable", false, "leave out the fields and annotations that upstream's controllers do not know")
	groups := &session.Group{Titles: map[string]string{
		"source": "Export sources", "image": "Export image automation objects", "artifact": "Export artifact generators",
	}}
	for _, k := range kinds.All() {
		if k.Has(kinds.Export) {
			groups.Place(root, k.Path, command(s, opts, k))
		}
	}
	groups.Parent("source").PersistentFlags().BoolVar(&opts.withCredentials, "with-credentials", false, "export the Secret that each source reads, too")
	return root
}

func command(s *session.Session, opts *options, k *kinds.Kind) *cobra.Command {
	words := strings.Fields(k.Path)
	return &cobra.Command{
		Use:               words[len(words)-1] + " [name]",
		Aliases:           k.Aliases,
		Short:             "Export " + k.Kind + " objects as YAML",
		Example:           fmt.Sprintf("  # one object\n  flux export %s my-app > my-app.yaml\n\n  # all of the namespace\n  flux export %[1]s --all > all.yaml", k.Path),
		ValidArgsFunction: session.CompleteNames(s, k.Resource),
		RunE: func(cmd *cobra.Command, args []string) error {
			if !opts.all && len(args) == 0 {
				return errors.New("name is required")
			}
			return s.Run(func(ctx context.Context, c *cluster.Client, args []string) error {
				objs, err := read(ctx, s, c, k, opts, args)
				if err != nil {
					return err
				}
				return print(ctx, s, c, k, opts, objs)
			})(cmd, args)
		},
	}
}

func read(ctx context.Context, s *session.Session, c *cluster.Client, k *kinds.Kind, opts *options, args []string) ([]meta.Object, error) {
	if !opts.all {
		obj := k.New()
		return []meta.Object{obj}, c.Get(ctx, k.Resource, s.Namespace, args[0], obj)
	}
	var objs []meta.Object
	_, err := c.List(ctx, k.Resource, cluster.ListOptions{Namespace: s.Namespace}, func(raw json.RawMessage) error {
		obj, err := k.Decode(raw)
		objs = append(objs, obj)
		return err
	})
	if err == nil && len(objs) == 0 {
		err = fmt.Errorf("no objects found in %s namespace", s.Namespace)
	}
	return objs, err
}

func print(ctx context.Context, s *session.Session, c *cluster.Client, k *kinds.Kind, opts *options, objs []meta.Object) error {
	for _, obj := range objs {
		if opts.portable {
			forget(obj)
		}
		if err := write(s.Out, k, obj, opts.portable); err != nil {
			return err
		}
		if !opts.withCredentials || k.Secret == nil || k.Secret(obj) == "" {
			continue
		}
		if err := printSecret(ctx, s.Out, c, obj.GetNamespace(), k.Secret(obj)); err != nil {
			return err
		}
	}
	return nil
}

// Object prints one object, preceded by the document separator.
func Object(w io.Writer, k *kinds.Kind, obj meta.Object) error { return write(w, k, obj, false) }

func write(w io.Writer, k *kinds.Kind, obj meta.Object, plain bool) error {
	canonical(reflect.ValueOf(obj))
	data, err := json.Marshal(obj)
	if err != nil {
		return err
	}
	var whole struct {
		Spec json.RawMessage `json:"spec"`
	}
	if err := json.Unmarshal(data, &whole); err != nil {
		return err
	}
	if plain {
		if whole.Spec, err = withoutOurs(k.Kind, whole.Spec); err != nil {
			return err
		}
	}
	return document(w, map[string]any{
		"apiVersion": k.GVK().GroupVersion().String(),
		"kind":       k.Kind,
		"metadata":   portable(obj),
		"spec":       whole.Spec,
	})
}

func document(w io.Writer, doc any) error {
	text, err := yaml.Marshal(doc)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(w, "---\n%s", text)
	return err
}

// portable keeps what of the metadata makes sense elsewhere.
func portable(obj interface {
	GetName() string
	GetNamespace() string
	GetLabels() map[string]string
	GetAnnotations() map[string]string
}) map[string]any {
	kept := map[string]any{"name": obj.GetName()}
	if namespace := obj.GetNamespace(); namespace != "" {
		kept["namespace"] = namespace
	}
	if labels := obj.GetLabels(); len(labels) > 0 {
		kept["labels"] = labels
	}
	if annotations := obj.GetAnnotations(); len(annotations) > 0 {
		kept["annotations"] = annotations
	}
	return kept
}

func printSecret(ctx context.Context, w io.Writer, c *cluster.Client, namespace, name string) error {
	var secret corev1.Secret
	if err := c.Get(ctx, kinds.Secrets, namespace, name, &secret); err != nil {
		return fmt.Errorf("failed to retrieve secret %s, error: %w", name, err)
	}
	return document(w, map[string]any{
		"apiVersion": "v1",
		"kind":       "Secret",
		"metadata":   portable(&secret),
		"data":       secret.Data,
		"type":       secret.Type,
	})
}

// canonical forgets how durations were spelled, so that they print the same way whoever wrote
// them; text that makes no sense stays as it is.
func canonical(v reflect.Value) {
	switch v.Kind() {
	case reflect.Pointer, reflect.Interface:
		if !v.IsNil() {
			canonical(v.Elem())
		}
	case reflect.Slice:
		for i := range v.Len() {
			canonical(v.Index(i))
		}
	case reflect.Struct:
		if d, ok := v.Addr().Interface().(*meta.Duration); ok {
			if d.Err() == nil {
				d.Raw = ""
			}
			return
		}
		for i := range v.NumField() {
			if v.Type().Field(i).IsExported() {
				canonical(v.Field(i))
			}
		}
	}
}
