// Package trace tells where an object in the cluster comes from: which Kustomization or
// HelmRelease applied it, and from which source.
package trace

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/gitops-toolkit/flux/internal/cli/cluster"
	"github.com/gitops-toolkit/flux/internal/cli/session"
)

// errNotManaged is the answer for objects that nothing of this toolkit applied.
var errNotManaged = errors.New("object not managed by Flux")

// maxOwners bounds the way up through owner references, which a tenant may write.
const maxOwners = 20

type options struct{ kind, apiVersion string }

// Command returns `flux trace`.
func Command(s *session.Session) *cobra.Command {
	opts := &options{}
	cmd := &cobra.Command{
		Use:   "trace <resource> <name> [<name> ...]",
		Short: "Tell where an object comes from",
		Long:  "The trace command follows an object's owners and labels to the Kustomization or HelmRelease that applied it, and to the source. Its output may change.",
		Example: "  # a Deployment\n  flux trace -n apps deployment my-app\n\n  # a Pod, through its ReplicaSet and Deployment\n  flux trace -n redis pod/redis-master-0\n\n" +
			"  # without asking the cluster for its resources\n  flux trace redis --kind HelmRelease --api-version helm.toolkit.fluxcd.io/v2 -n redis",
	}
	cmd.Flags().StringVar(&opts.kind, "kind", "", "kind of the object")
	cmd.Flags().StringVar(&opts.apiVersion, "api-version", "", "API version of the object, such as apps/v1")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if err := opts.check(args); err != nil {
			return err
		}
		return s.Run(func(ctx context.Context, c *cluster.Client, args []string) error {
			t := &tracer{session: s, client: c, kinds: s.Discovery(c)}
			return t.run(ctx, opts, args)
		})(cmd, args)
	}
	return cmd
}

func (o *options) check(args []string) error {
	named := o.kind != "" && o.apiVersion != ""
	switch {
	case len(args) == 0, len(args) == 1 && !named && !strings.Contains(args[0], "/"):
		return errors.New("either `<resource>/<name>` or `<resource> <name>` is required as an argument")
	case o.kind != "" && o.apiVersion == "":
		return errors.New("--api-version is required with --kind")
	case o.kind == "" && o.apiVersion != "":
		return errors.New("--kind is required with --api-version")
	}
	return nil
}

type tracer struct {
	session *session.Session
	client  *cluster.Client
	kinds   *cluster.Discovery
}

// run traces each of the objects that the arguments name.
func (t *tracer) run(ctx context.Context, opts *options, args []string) error {
	if opts.kind != "" {
		r, err := t.kinds.Resource(ctx, schema.FromAPIVersionAndKind(opts.apiVersion, opts.kind))
		if err != nil {
			return err
		}
		return t.each(ctx, r, args)
	}
	if !strings.Contains(args[0], "/") {
		r, err := t.kinds.Word(ctx, args[0])
		if err != nil {
			return err
		}
		return t.each(ctx, r, args[1:])
	}
	for _, arg := range args {
		word, name, ok := strings.Cut(arg, "/")
		if !ok || name == "" {
			return fmt.Errorf("'%s' must be <resource>/<name>", arg)
		}
		r, err := t.kinds.Word(ctx, word)
		if err != nil {
			return err
		}
		if err := t.each(ctx, r, []string{name}); err != nil {
			return err
		}
	}
	return nil
}

func (t *tracer) each(ctx context.Context, r cluster.Resource, names []string) error {
	for _, name := range names {
		obj := &metav1.PartialObjectMetadata{}
		if err := t.client.Get(ctx, r, t.session.Namespace, name, obj); err != nil {
			return err
		}
		text, err := t.trace(ctx, r, obj)
		if err != nil {
			t.session.Log.Rawf("failed to trace %s/%s in namespace %s: %s", r.Kind, name, t.session.Namespace, err)
			continue
		}
		if _, err := fmt.Fprint(t.session.Out, text); err != nil {
			return err
		}
	}
	return nil
}

// owner is what applied an object.
type owner struct {
	helm            bool
	name, namespace string
}

func (t *tracer) trace(ctx context.Context, r cluster.Resource, obj *metav1.PartialObjectMetadata) (string, error) {
	found, err := t.owner(ctx, obj)
	if err != nil {
		return "", err
	}
	head := block{width: kustomizationWidth}
	if found.helm {
		head.width = helmWidth
	}
	head.add("Object", r.Kind+"/"+obj.Name)
	head.add("Namespace", obj.Namespace)
	head.add("Status", "Managed by Flux")
	var blocks []block
	if found.helm {
		blocks, err = t.release(ctx, found)
	} else {
		blocks, err = t.kustomization(ctx, found)
	}
	if err != nil {
		return "", err
	}
	texts := []string{head.String()}
	for _, b := range blocks {
		texts = append(texts, b.String())
	}
	return "\n" + strings.Join(texts, "---\n"), nil
}

var ownerLabels = []struct {
	helm            bool
	name, namespace string
}{
	{false, "kustomize.toolkit.fluxcd.io/name", "kustomize.toolkit.fluxcd.io/namespace"},
	{true, "helm.toolkit.fluxcd.io/name", "helm.toolkit.fluxcd.io/namespace"},
}

// owner reads the labels of the object, or of what owns it.
func (t *tracer) owner(ctx context.Context, obj *metav1.PartialObjectMetadata) (owner, error) {
	for range maxOwners {
		for _, labels := range ownerLabels {
			name, namespace := obj.Labels[labels.name], obj.Labels[labels.namespace]
			if name != "" && namespace != "" {
				return owner{labels.helm, name, namespace}, nil
			}
		}
		if len(obj.OwnerReferences) == 0 {
			return owner{}, errNotManaged
		}
		ref := obj.OwnerReferences[0]
		if controller := metav1.GetControllerOf(obj); controller != nil {
			ref = *controller
		}
		r, err := t.kinds.Resource(ctx, schema.FromAPIVersionAndKind(ref.APIVersion, ref.Kind))
		if err != nil {
			return owner{}, err
		}
		parent := &metav1.PartialObjectMetadata{}
		if err := t.client.Get(ctx, r, obj.Namespace, ref.Name, parent); err != nil {
			return owner{}, fmt.Errorf("read owner %s/%s: %w", ref.Kind, ref.Name, err)
		}
		obj = parent
	}
	return owner{}, fmt.Errorf("more than %d owners above the object", maxOwners)
}
