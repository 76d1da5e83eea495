// Package build is `flux build kustomization`: what a Kustomization would apply from files that
// are here, without their being pushed anywhere. Nothing is written to the disk.
package build

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/yaml"

	kustomizev1 "github.com/gitops-toolkit/flux/api/kustomize/v1"
	"github.com/gitops-toolkit/flux/internal/artifact/ignore"
	"github.com/gitops-toolkit/flux/internal/cli/cluster"
	"github.com/gitops-toolkit/flux/internal/cli/kinds"
	"github.com/gitops-toolkit/flux/internal/cli/session"
)

// Flags choose the files and how they are built.
type Flags struct {
	Path         string
	File         string
	Ignore       []string
	Strict       bool
	Recursive    bool
	LocalSources map[string]string
}

// Define adds the flags to a command.
func (f *Flags) Define(flags *pflag.FlagSet) {
	flags.StringVar(&f.Path, "path", "", "directory to build, as it stands for the Kustomization's path")
	flags.StringVar(&f.File, "kustomization-file", "", "file with the Kustomization, instead of the one in the cluster")
	flags.StringSliceVar(&f.Ignore, "ignore-paths", nil, "paths to leave out, in gitignore syntax")
	flags.BoolVar(&f.Strict, "strict-substitute", false, "fail for a variable that is not set and has no default")
	flags.BoolVarP(&f.Recursive, "recursive", "r", false, "build the Kustomizations that are found, too")
	flags.StringToStringVar(&f.LocalSources, "local-sources", nil, "directory of each source of the Kustomizations that are found, as Kind/namespace/name=path")
	flags.Bool("in-memory-build", false, "build in memory; it is always so here, nothing is ever written to the directory")
}

// Command returns `flux build`.
func Command(s *session.Session) *cobra.Command {
	root := &cobra.Command{
		Use:   "build",
		Short: "Build from local files",
		Long:  "The build commands show what files on this machine would become.",
	}
	f := &Flags{}
	var dryRun bool
	cmd := &cobra.Command{
		Use:     "kustomization [name]",
		Aliases: []string{"ks"},
		Short:   "Print what a Kustomization would apply from local files",
		Long:    "The command builds a local directory with everything that the Kustomization's spec adds, and prints the objects. Values of Secrets that are encrypted with SOPS are masked.",
		Example: "  # with the Kustomization that is in the cluster\n  flux build kustomization my-app --path ./apps/my-app\n\n" +
			"  # without a cluster; variables from ConfigMaps and Secrets are not known then\n  flux build kustomization my-app --path ./apps/my-app --kustomization-file ./clusters/prod/my-app.yaml --dry-run",
		ValidArgsFunction: session.CompleteNames(s, kinds.Kustomization.Resource),
	}
	f.Define(cmd.Flags())
	cmd.Flags().BoolVar(&dryRun, "dry-run", false, "do not ask a cluster")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if len(args) == 0 {
			return errors.New("kustomization name is required")
		}
		if err := f.Check(dryRun); err != nil {
			return err
		}
		ctx, cancel := context.WithTimeout(cmd.Context(), s.Timeout)
		defer cancel()
		b := &Builder{Flags: *f, Namespace: s.Namespace}
		if !dryRun {
			c, err := s.Client()
			if err != nil {
				return err
			}
			b.Client = c
		}
		return print(ctx, s, b, args[0])
	}
	root.AddCommand(cmd)
	return root
}

// Check looks at what can be known before anything is read.
func (f *Flags) Check(dryRun bool) error {
	info, err := os.Stat(f.Path)
	if f.Path == "" || err != nil || !info.IsDir() {
		return fmt.Errorf("invalid resource path %q", f.Path)
	}
	if dryRun && f.File == "" {
		return errors.New("dry-run mode requires a kustomization file")
	}
	if len(f.Ignore) > 0 {
		if _, err := ignore.Parse(strings.Join(f.Ignore, "\n"), "."); err != nil {
			return fmt.Errorf("--ignore-paths: %w", err)
		}
	}
	return nil
}

func print(ctx context.Context, s *session.Session, b *Builder, name string) error {
	obj, err := b.Kustomization(ctx, name)
	if err != nil {
		return err
	}
	objects, err := b.All(ctx, obj, b.Path)
	if err != nil {
		if ctx.Err() != nil {
			return errors.New("build cancelled")
		}
		return err
	}
	for _, object := range objects {
		text, err := yaml.Marshal(object.Object)
		if err != nil {
			return err
		}
		if _, err := fmt.Fprintf(s.Out, "%s---\n", text); err != nil {
			return err
		}
	}
	return nil
}

// Builder builds Kustomizations from local files.
type Builder struct {
	Flags
	Namespace string
	// Root is the directory that bases may not lead out of; empty: it is found from the path.
	Root string
	// Client is nil when no cluster is to be asked.
	Client *cluster.Client
}

// Kustomization returns the one of this name from the file or the cluster.
func (b *Builder) Kustomization(ctx context.Context, name string) (*kustomizev1.Kustomization, error) {
	if b.File != "" {
		return b.fromFile(name)
	}
	obj := &kustomizev1.Kustomization{}
	if err := b.Client.Get(ctx, kinds.Kustomization.Resource, b.Namespace, name, obj); err != nil {
		return nil, fmt.Errorf("failed to get kustomization object: %w", err)
	}
	return obj, nil
}

// fromFile finds the Kustomization among the documents of the file.
func (b *Builder) fromFile(name string) (*kustomizev1.Kustomization, error) {
	text, err := os.ReadFile(b.File)
	if err != nil {
		return nil, fmt.Errorf("failed to read kustomization file: %w", err)
	}
	for doc := range strings.SplitSeq("\n"+string(text), "\n---") {
		obj := &kustomizev1.Kustomization{}
		if err := yaml.Unmarshal([]byte(doc), obj); err != nil {
			return nil, fmt.Errorf("failed to parse kustomization file %s: %w", b.File, err)
		}
		group, _, _ := strings.Cut(obj.APIVersion, "/")
		matches := obj.Kind == kinds.Kustomization.Kind && group == kinds.Kustomization.Group && obj.Name == name
		if obj.Namespace == "" {
			obj.Namespace = b.Namespace
		}
		if matches && obj.Namespace == b.Namespace {
			return obj, nil
		}
	}
	return nil, fmt.Errorf("failed to find kustomization with name '%s' in namespace '%s' in file %s", name, b.Namespace, b.File)
}

// All returns the objects of a Kustomization built from dir, followed with --recursive by those
// of the Kustomizations among them.
func (b *Builder) All(ctx context.Context, obj *kustomizev1.Kustomization, dir string) ([]*unstructured.Unstructured, error) {
	return b.all(ctx, obj, dir, map[string]bool{obj.Namespace + "/" + obj.Name: true})
}

func (b *Builder) all(ctx context.Context, obj *kustomizev1.Kustomization, dir string, seen map[string]bool) ([]*unstructured.Unstructured, error) {
	objects, err := b.Build(ctx, obj, dir)
	if err != nil || !b.Recursive {
		return objects, err
	}
	for _, object := range objects {
		nested, err := asKustomization(object)
		if err != nil {
			return nil, err
		}
		if nested == nil || seen[nested.Namespace+"/"+nested.Name] {
			continue
		}
		seen[nested.Namespace+"/"+nested.Name] = true
		dir, err := b.Local(nested)
		if err != nil {
			return nil, err
		}
		more, err := b.all(ctx, nested, dir, seen)
		if err != nil {
			return nil, err
		}
		objects = append(objects, more...)
	}
	return objects, nil
}
