package install

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"github.com/spf13/cobra"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	notificationv1 "github.com/gitops-toolkit/flux/api/notification/v1beta3"
	"github.com/gitops-toolkit/flux/internal/apply"
	"github.com/gitops-toolkit/flux/internal/cli/cluster"
	"github.com/gitops-toolkit/flux/internal/cli/kinds"
	"github.com/gitops-toolkit/flux/internal/cli/session"
	"github.com/gitops-toolkit/flux/internal/cli/ui"
	"github.com/gitops-toolkit/flux/internal/install"
)

// stopPatience is how long the controllers may take to stop before their objects lose their
// finalizers. A controller that still runs would put them back, or prune.
const stopPatience = time.Minute

const (
	rbacGroup    = "rbac.authorization.k8s.io"
	networkGroup = "networking.k8s.io"
)

// parts are the kinds of the namespace that are removed first, in order.
var parts = []cluster.Resource{
	kinds.Deployments,
	{Version: "v1", Kind: "Service", Plural: "services"},
	{Group: networkGroup, Version: "v1", Kind: "NetworkPolicy", Plural: "networkpolicies"},
	kinds.Accounts,
	{Group: rbacGroup, Version: "v1", Kind: "Role", Plural: "roles"},
	kinds.Bindings,
}

// quotas go with the namespace, or else last.
var quotas = cluster.Resource{Version: "v1", Kind: "ResourceQuota", Plural: "resourcequotas"}

// rights are the cluster-wide kinds that go next.
var rights = []cluster.Resource{
	{Group: rbacGroup, Version: "v1", Kind: "ClusterRole", Plural: "clusterroles", Clusters: true},
	{Group: rbacGroup, Version: "v1", Kind: "ClusterRoleBinding", Plural: "clusterrolebindings", Clusters: true},
}

// finalized are the kinds whose finalizers are taken away, in order, so that deleting their
// definitions deletes the objects and nothing that they have applied.
var finalized = []*kinds.Kind{
	kinds.GitRepository, kinds.OCIRepository, kinds.HelmRepository, kinds.HelmChart, kinds.Bucket,
	kinds.Kustomization, kinds.HelmRelease, kinds.Alert, kinds.Provider, kinds.Receiver,
	kinds.ImagePolicy, kinds.ImageRepository, kinds.ImageUpdateAutomation, kinds.ArtifactGenerator, kinds.ExternalArtifact,
}

// UninstallCommand returns `flux uninstall`.
func UninstallCommand(s *session.Session) *cobra.Command {
	u := &uninstaller{Session: s}
	cmd := &cobra.Command{
		Use:   "uninstall",
		Short: "Remove the controllers and their definitions",
		Long: "The uninstall command removes the controllers, their definitions and with these all objects of the toolkit. " +
			"Workloads and Helm releases stay.",
		Example: "  # see what would go\n  flux uninstall --dry-run\n\n  # without asking, and keep the namespace\n  flux uninstall --silent --keep-namespace",
		Args:    cobra.NoArgs,
		RunE: s.Run(func(ctx context.Context, c *cluster.Client, _ []string) error {
			u.client = c
			return u.run(ctx)
		}),
	}
	cmd.Flags().BoolVar(&u.keepNamespace, "keep-namespace", false, "leave the namespace")
	cmd.Flags().BoolVar(&u.dryRun, "dry-run", false, "only tell what would be deleted")
	cmd.Flags().BoolVarP(&u.silent, "silent", "s", false, "do not ask")
	return cmd
}

type uninstaller struct {
	*session.Session
	client        *cluster.Client
	keepNamespace bool
	dryRun        bool
	silent        bool
	left          int // what could not be removed
}

func (u *uninstaller) run(ctx context.Context) error {
	var server struct{}
	if err := u.client.Version(ctx, &server); err != nil { // nobody is there, or lets us in
		return err
	}
	if !u.silent && !u.dryRun {
		if err := u.confirm(ctx); err != nil {
			return err
		}
	}
	u.Log.Actionf("deleting components in %s namespace", u.Namespace)
	ours := cluster.ListOptions{Namespace: u.Namespace, Labels: kinds.PartOf}
	for _, r := range parts {
		u.deleteAll(ctx, r, ours)
		if r.Kind == "Deployment" {
			u.awaitStop(ctx, ours)
		}
	}
	for _, r := range rights {
		u.deleteAll(ctx, r, cluster.ListOptions{Labels: kinds.PartOf})
	}
	u.Log.Actionf("deleting toolkit.fluxcd.io finalizers in all namespaces")
	for _, k := range finalized {
		u.release(ctx, k)
	}
	u.Log.Actionf("deleting toolkit.fluxcd.io custom resource definitions")
	u.deleteAll(ctx, kinds.CRDs, cluster.ListOptions{Labels: kinds.PartOf})
	if u.keepNamespace {
		u.deleteAll(ctx, quotas, ours)
		u.delete(ctx, kinds.ConfigMaps, u.Namespace, notificationv1.MemoryName)
	} else {
		u.delete(ctx, kinds.Namespaces, "", u.Namespace)
	}
	if u.left > 0 {
		return fmt.Errorf("uninstall is not finished: %d of the steps above failed; mend what they say and run it again", u.left)
	}
	u.Log.Successf("uninstall finished")
	return nil
}

// failed tells of something that is left; the rest goes on.
func (u *uninstaller) failed(format string, args ...any) {
	u.left++
	u.Log.Failuref(format, args...)
}

func (u *uninstaller) confirm(ctx context.Context) error {
	config, err := u.Kube.RESTConfig()
	if err != nil {
		return err
	}
	client, err := apply.NewClient(config)
	if err != nil {
		return err
	}
	found, err := install.Find(ctx, client)
	if err != nil {
		return err
	}
	question := "Are you sure you want to delete Flux and its custom resource definitions"
	if found != nil && found.ManagedBy != "" {
		question = fmt.Sprintf("Flux is managed by %s! Are you sure you want to delete Flux and its CRDs using Flux CLI", found.ManagedBy)
	}
	return ui.Confirm(u.In, u.Err, question)
}

// deleteAll removes every object that opts selects. What cannot be removed is told, and the rest
// goes on: half an installation helps nobody.
func (u *uninstaller) deleteAll(ctx context.Context, r cluster.Resource, opts cluster.ListOptions) {
	found, err := cluster.All[metav1.PartialObjectMetadata](ctx, u.client, r, opts)
	if cluster.IsNoKind(err) {
		return
	}
	if err != nil {
		u.failed("list %s: %s", r.Plural, err)
		return
	}
	slices.SortFunc(found, func(a, b metav1.PartialObjectMetadata) int { return compareNames(&a, &b) })
	for i := range found {
		// Rights of another installation in another namespace are not ours to take.
		if instance := found[i].Labels[install.InstanceLabel]; r.Group == rbacGroup && instance != "" && instance != u.Namespace {
			continue
		}
		u.delete(ctx, r, found[i].Namespace, found[i].Name)
	}
}

func (u *uninstaller) delete(ctx context.Context, r cluster.Resource, namespace, name string) {
	options := cluster.DeleteOptions{DryRun: u.dryRun, Propagation: metav1.DeletePropagationBackground}
	if r.Kind == "Deployment" {
		// The Deployment stays until its pods are gone, so that one can wait for it.
		options.Propagation = metav1.DeletePropagationForeground
	}
	err := u.client.Delete(ctx, r, namespace, name, options)
	u.tell(subjectOf(r, namespace, name), "deleted", err)
}

// tell prints the outcome of a deletion; what was not there needs no word.
func (u *uninstaller) tell(subject, done string, err error) {
	suffix := ""
	if u.dryRun {
		suffix = "(dry run)"
	}
	switch {
	case err == nil:
		u.Log.Successf("%s %s %s", subject, done, suffix)
	case !apierrors.IsNotFound(err):
		u.failed("%s not %s: %s", subject, done, err)
	}
}

// awaitStop waits until no Deployment of the installation is left.
func (u *uninstaller) awaitStop(ctx context.Context, ours cluster.ListOptions) {
	if u.dryRun {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, stopPatience)
	defer cancel()
	for {
		left, err := cluster.All[metav1.PartialObjectMetadata](ctx, u.client, kinds.Deployments, ours)
		if err == nil && len(left) == 0 || apierrors.IsForbidden(err) { // the latter has been told
			return
		}
		select {
		case <-ctx.Done():
			u.Log.Warningf("the controllers have not stopped yet; going on without waiting for them")
			return
		case <-time.After(500 * time.Millisecond):
		}
	}
}

// release takes the finalizers from all objects of a kind.
func (u *uninstaller) release(ctx context.Context, k *kinds.Kind) {
	found, err := cluster.All[metav1.PartialObjectMetadata](ctx, u.client, k.Resource, cluster.ListOptions{})
	if cluster.IsNoKind(err) {
		return
	}
	if err != nil {
		u.failed("list %s: %s", k.Plural, err)
		return
	}
	for i := range found {
		obj := &found[i]
		if k == kinds.ExternalArtifact && len(obj.Finalizers) == 0 {
			continue // upstream gives them none and does not mention them
		}
		u.tell(subjectOf(k.Resource, obj.Namespace, obj.Name), "finalizers deleted", u.clear(ctx, k.Resource, obj))
	}
}

func (u *uninstaller) clear(ctx context.Context, r cluster.Resource, obj *metav1.PartialObjectMetadata) error {
	if u.dryRun || len(obj.Finalizers) == 0 {
		return nil
	}
	patch := map[string]any{"metadata": map[string]any{"finalizers": nil}}
	var answer json.RawMessage
	return u.client.MergePatch(ctx, r, obj.Namespace, obj.Name, patch, &answer)
}

func subjectOf(r cluster.Resource, namespace, name string) string {
	if namespace == "" {
		return r.Kind + "/" + name
	}
	return r.Kind + "/" + namespace + "/" + name
}

func compareNames(a, b metav1.Object) int {
	switch {
	case a.GetName() < b.GetName():
		return -1
	case a.GetName() > b.GetName():
		return 1
	}
	return 0
}
