// Package migrate is `flux migrate`: it brings objects in a cluster to the version in which their
// definition stores them, and manifests in files to the version that a release serves.
package migrate

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/gitops-toolkit/flux/internal/cli/cluster"
	"github.com/gitops-toolkit/flux/internal/cli/kinds"
	"github.com/gitops-toolkit/flux/internal/cli/session"
)

// maxConflicts bounds how often one object is read again because somebody else wrote it.
const maxConflicts = 5

type options struct {
	files
	*session.Session
}

// Command returns `flux migrate`.
func Command(s *session.Session) *cobra.Command {
	o := &options{Session: s}
	cmd := &cobra.Command{
		Use:   "migrate",
		Short: "Bring objects or manifests to their latest API version",
		Long: "Without --path the command has the API server store every object of ours in the version that its definition stores, so that older " +
			"versions may be dropped. With --path it rewrites manifests in files.",
		Example: `  # the objects of the cluster, after an upgrade
  flux migrate

  # the manifests of a repository; shows what changes, and asks
  flux migrate --path=.

  # only show
  flux migrate --path=. --dry-run`,
		Args: cobra.NoArgs,
	}
	flags := cmd.Flags()
	flags.StringVarP(&o.path, "path", "f", "", "file or directory of manifests to rewrite, instead of the objects of the cluster")
	flags.StringSliceVarP(&o.extensions, "extensions", "e", []string{".yaml", ".yml"}, "extensions of the files to rewrite")
	flags.StringVarP(&o.version, "version", "v", "", "release whose versions are written, such as 2.7; that of this program when empty")
	flags.BoolVar(&o.dryRun, "dry-run", false, "show what would be rewritten")
	flags.BoolVarP(&o.yes, "yes", "y", false, "rewrite without asking")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if cmd.Flags().Changed("path") {
			return o.migrateFiles()
		}
		if o.dryRun || o.yes || o.version != "" {
			return errors.New("--dry-run, --yes and --version are for files: give --path")
		}
		return s.Run(func(ctx context.Context, c *cluster.Client, _ []string) error { return o.migrateCluster(ctx, c) })(cmd, args)
	}
	return cmd
}

func (o *options) migrateCluster(ctx context.Context, c *cluster.Client) error {
	o.Log.Actionf("starting migration of custom resources")
	crds, err := cluster.All[apiextensionsv1.CustomResourceDefinition](ctx, c, kinds.CRDs, cluster.ListOptions{Labels: kinds.PartOf})
	if err != nil {
		return err
	}
	if len(crds) == 0 {
		return fmt.Errorf("no crds found with the label selector '%s': is it installed? Run 'flux check'", kinds.PartOf)
	}
	slices.SortFunc(crds, func(a, b apiextensionsv1.CustomResourceDefinition) int { return strings.Compare(a.Name, b.Name) })
	for i := range crds {
		if err := o.migrateKind(ctx, c, &crds[i]); err != nil {
			return err
		}
	}
	o.Log.Successf("custom resources migrated successfully")
	return nil
}

// migrateKind has every object of a kind written once; then nothing is stored in another version.
func (o *options) migrateKind(ctx context.Context, c *cluster.Client, crd *apiextensionsv1.CustomResourceDefinition) error {
	i := slices.IndexFunc(crd.Spec.Versions, func(v apiextensionsv1.CustomResourceDefinitionVersion) bool { return v.Storage })
	if i < 0 {
		return fmt.Errorf("%s names no version that is stored", crd.Name)
	}
	stored := crd.Spec.Versions[i].Name
	r := cluster.Resource{
		Group: crd.Spec.Group, Version: stored, Kind: crd.Spec.Names.Kind, Plural: crd.Spec.Names.Plural,
		Clusters: crd.Spec.Scope == apiextensionsv1.ClusterScoped,
	}
	objects, err := cluster.All[metav1.PartialObjectMetadata](ctx, c, r, cluster.ListOptions{})
	if err != nil {
		return fmt.Errorf("list %s: %w", crd.Name, err)
	}
	for j := range objects {
		if err := migrateObject(ctx, c, r, &objects[j]); err != nil {
			return fmt.Errorf("migrate %s/%s/%s to version %s: %w", r.Kind, objects[j].Namespace, objects[j].Name, stored, err)
		}
		o.Log.Successf("%s/%s/%s migrated to version %s", r.Kind, objects[j].Namespace, objects[j].Name, stored)
	}
	if len(crd.Status.StoredVersions) == 1 && crd.Status.StoredVersions[0] == stored {
		return nil
	}
	patch := map[string]any{"metadata": map[string]any{"resourceVersion": crd.ResourceVersion}, "status": map[string]any{"storedVersions": []string{stored}}}
	if err := c.MergePatch(ctx, kinds.CRDs, "", crd.Name, patch, nil, "status"); err != nil {
		return fmt.Errorf("reset the stored versions of %s: %w", crd.Name, err)
	}
	o.Log.Successf("%s migrated to storage version %s", crd.Name, stored)
	return nil
}

// migrateObject writes the object without a change but to the versions in which managers wrote fields,
// which must not be such as are no longer served.
func migrateObject(ctx context.Context, c *cluster.Client, r cluster.Resource, obj *metav1.PartialObjectMetadata) error {
	for attempt := 1; ; attempt++ {
		metadata := map[string]any{"resourceVersion": obj.ResourceVersion}
		if entries, changed := current(obj.ManagedFields, r); changed {
			metadata["managedFields"] = entries
		}
		err := c.MergePatch(ctx, r, obj.Namespace, obj.Name, map[string]any{"metadata": metadata}, nil)
		switch {
		case apierrors.IsNotFound(err): // it needs no migration any more
			return nil
		case !apierrors.IsConflict(err) || attempt == maxConflicts:
			return err
		}
		var raw json.RawMessage
		if err := c.Get(ctx, r, obj.Namespace, obj.Name, &raw); err != nil {
			return err
		}
		*obj = metav1.PartialObjectMetadata{}
		if err := json.Unmarshal(raw, obj); err != nil {
			return err
		}
	}
}

// current gives entries of other versions of the group the stored version.
func current(entries []metav1.ManagedFieldsEntry, r cluster.Resource) (out []metav1.ManagedFieldsEntry, changed bool) {
	want := r.GVK().GroupVersion().String()
	for _, e := range entries {
		if group, _, _ := strings.Cut(e.APIVersion, "/"); group == r.Group && e.APIVersion != want {
			e.APIVersion, changed = want, true
		}
		out = append(out, e)
	}
	return out, changed
}
