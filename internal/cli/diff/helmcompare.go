package diff

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"helm.sh/helm/v4/pkg/chart/common"
	helm "helm.sh/helm/v4/pkg/release/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	helmv2 "github.com/gitops-toolkit/flux/api/helm/v2"
	"github.com/gitops-toolkit/flux/internal/apply"
	"github.com/gitops-toolkit/flux/internal/cli/kinds"
	"github.com/gitops-toolkit/flux/internal/cli/session"
	"github.com/gitops-toolkit/flux/internal/helm/action"
	"github.com/gitops-toolkit/flux/internal/helm/kube"
	"github.com/gitops-toolkit/flux/internal/helm/release"
	"github.com/gitops-toolkit/flux/internal/helm/store"
	"github.com/gitops-toolkit/flux/internal/helm/values"
)

// rendered is a HelmRelease as it would be released.
type rendered struct {
	objects []*unstructured.Unstructured
	hidden  []string
	// hooks are the objects that Helm makes at moments of an action.
	hooks   []hook
	release *helm.Release
	// serverSide says that the objects would be applied on the server.
	serverSide bool
}

// render renders a HelmRelease as an upgrade of last, an install when that is nil.
func (f *releaseFlags) render(ctx context.Context, in *inputs, hr *helmv2.HelmRelease, c *kube.Cluster, last *helm.Release) (*rendered, error) {
	merged, hidden, err := valuesOf(ctx, in, hr)
	if err != nil {
		return nil, err
	}
	loaded, err := f.chartOf(ctx, in, hr)
	if err != nil {
		return nil, err
	}
	runner := &action.Runner{Object: hr, Cluster: c, Name: action.ReleaseName(hr), Namespace: action.ReleaseNamespace(hr)}
	if f.kubeVersion != "" {
		if runner.KubeVersion, err = common.ParseKubeVersion(f.kubeVersion); err != nil {
			return nil, fmt.Errorf("--kube-version: %w", err)
		}
	}
	p, err := runner.PreviewOf(ctx, last, loaded, merged)
	if err != nil {
		return nil, err
	}
	for _, o := range p.Objects {
		if !release.IsCRD(o) {
			release.Own(o, runner.Name, runner.Namespace)
		}
	}
	hooks, err := hooksOf(p.Release)
	if err != nil {
		return nil, err
	}
	hidden = append(append(hidden, secretsIn(p.Objects)...), secretsIn(objectsOf(hooks))...)
	return &rendered{objects: p.Objects, hooks: hooks, hidden: hidden, release: p.Release, serverSide: p.ServerSide}, nil
}

// valuesOf composes the values of a HelmRelease, and tells what of them is secret.
func valuesOf(ctx context.Context, in *inputs, hr *helmv2.HelmRelease) (merged map[string]any, hidden []string, err error) {
	read := func(kind, namespace, name string) (values.Object, error) {
		return in.config(ctx, kind, namespace, name)
	}
	if merged, _, err = values.Of(hr, read); err != nil {
		return nil, nil, err
	}
	var secret []values.Reference
	for _, r := range values.References(hr) {
		if r.Kind == kinds.Secrets.Kind {
			secret = append(secret, r)
		}
	}
	alone, _, err := values.Compose(secret, nil, read)
	return merged, apply.Texts(alone, nil), err
}

// secretsIn is what the Secrets among objects hold.
func secretsIn(objects []*unstructured.Unstructured) (found []string) {
	for _, o := range objects {
		if isSecret(o) {
			found = apply.Texts(o.Object["data"], apply.Texts(o.Object["stringData"], found))
		}
	}
	return found
}

// hide takes what is secret out of the texts of a report.
func hide(changes []Change, hidden []string) {
	for i := range changes {
		changes[i].Diff = apply.Conceal(changes[i].Diff, hidden)
	}
}

// live compares with the cluster.
func (f *releaseFlags) live(ctx context.Context, s *session.Session, name string) (Report, error) {
	report := Report{HelmRelease: "HelmRelease/" + s.Namespace + "/" + name}
	client, err := s.Client()
	if err != nil {
		return report, err
	}
	in, err := readInputs(f.path, s.Namespace, client)
	if err != nil {
		return report, err
	}
	hr, err := in.helmRelease(ctx, s.Namespace, name)
	if err != nil {
		return report, err
	}
	if hr.Spec.KubeConfig != nil {
		report.Note = "diff not supported for remote clusters"
		return report, nil
	}
	pool := &kube.Pool{Clients: &apply.ClientPool{}}
	cluster, err := pool.Get(client.Config(), "")
	if err != nil {
		return report, err
	}
	last, base, err := stored(ctx, cluster, hr)
	if err != nil {
		return report, err
	}
	r, err := f.render(ctx, in, hr, cluster, last)
	if err != nil {
		return report, err
	}
	var former []*unstructured.Unstructured
	if base != nil {
		if former, err = release.Objects(base.Manifest); err != nil {
			return report, err
		}
	}
	hooks, err := hooksOf(base)
	if err != nil {
		return report, err
	}
	c := &comparer{client: cluster.Apply(), manager: kube.FieldManager, set: r.objects, beside: r.objects}
	if report.Changes, err = c.upgrade(ctx, r, former); err != nil {
		return report, err
	}
	for _, h := range append(slices.Clone(hooks), r.hooks...) {
		_ = place(ctx, c.client, h.object, r.release.Namespace) // of a kind that is gone, or not yet there, the name will do
	}
	report.Changes = append(report.Changes, betweenHooks(hooks, r.hooks)...)
	hide(report.Changes, append(append(r.hidden, secretsIn(former)...), secretsIn(objectsOf(hooks))...))
	return report, nil
}

// upgrade compares what would be released with what was.
func (c *comparer) upgrade(ctx context.Context, r *rendered, former []*unstructured.Unstructured) ([]Change, error) {
	for _, o := range c.set {
		if err := place(ctx, c.client, o, r.release.Namespace); err != nil && !c.brings(o.GroupVersionKind().GroupKind()) {
			return nil, fmt.Errorf("%s: %w", subject(o), err)
		}
	}
	old := map[apply.ID]*unstructured.Unstructured{}
	for _, o := range former {
		if place(ctx, c.client, o, r.release.Namespace) != nil {
			continue // a kind that is gone has no objects
		}
		old[apply.RefOf(o).ID()] = o
		if !r.serverSide {
			release.Own(o, r.release.Name, r.release.Namespace)
		}
	}
	if !r.serverSide {
		c.former = old
	}
	changes, err := c.all(ctx)
	if err != nil {
		return nil, err
	}
	gone, err := c.dropped(ctx, former, old)
	return append(changes, gone...), err
}

// helmRelease reads the object; the status of one in a file is that of the cluster.
func (in *inputs) helmRelease(ctx context.Context, namespace, name string) (*helmv2.HelmRelease, error) {
	hr := &helmv2.HelmRelease{}
	if err := in.get(ctx, kinds.HelmRelease.Resource, namespace, name, hr); err != nil {
		if in.where != "" && apierrors.IsNotFound(err) {
			return nil, fmt.Errorf("HelmRelease '%s/%s' is neither in %s nor in the cluster", namespace, name, in.where)
		}
		return nil, err
	}
	return hr, nil
}

// stored reads Helm's storage: the newest revision, and the one that the cluster is at. Both are nil where nothing is
// released.
func stored(ctx context.Context, c *kube.Cluster, hr *helmv2.HelmRelease) (last, deployed *helm.Release, err error) {
	storage := store.New(c.Core().Secrets(action.StorageNamespace(hr)), action.ReleaseName(hr), nil)
	revisions, _, err := storage.Load(ctx)
	if err != nil {
		return nil, nil, fmt.Errorf("read Helm's storage: %w", err)
	}
	if len(revisions) == 0 || revisions[0].Info.Status.String() == "uninstalled" {
		return nil, nil, nil
	}
	last = revisions[0]
	for _, r := range revisions {
		if r.Info.Status.String() == "deployed" {
			return last, r, nil
		}
	}
	return last, last, nil
}

// place gives an object the namespace that Helm gives it.
func place(ctx context.Context, client *apply.Client, o *unstructured.Unstructured, namespace string) error {
	m, err := client.Mapper().For(ctx, o.GroupVersionKind())
	switch {
	case err != nil:
		return err
	case !m.Namespaced:
		o.SetNamespace("")
	case o.GetNamespace() == "":
		o.SetNamespace(namespace)
	}
	return nil
}

// keepPolicy is the annotation of objects that Helm leaves when a chart drops them.
const keepPolicy = "helm.sh/resource-policy"

// dropped are the objects that an upgrade would delete: of those that were released, which known has by id.
func (c *comparer) dropped(ctx context.Context, former []*unstructured.Unstructured, known map[apply.ID]*unstructured.Unstructured) (changes []Change, err error) {
	kept := map[apply.ID]bool{}
	for _, o := range c.set {
		kept[apply.RefOf(o).ID()] = true
	}
	for _, o := range former {
		ref := apply.RefOf(o)
		if known[ref.ID()] != o || kept[ref.ID()] {
			continue
		}
		live, err := c.client.Get(ctx, ref)
		if apierrors.IsNotFound(err) || err == nil && live == nil {
			continue
		}
		if err != nil {
			return changes, fmt.Errorf("%s: %w", ref.Subject(), err)
		}
		if live.GetAnnotations()[keepPolicy] != "keep" {
			changes = append(changes, Change{Object: ref.Subject(), Action: Deleted})
		}
	}
	return changes, nil
}

// offline compares two sets of files.
func (f *releaseFlags) offline(ctx context.Context, s *session.Session, name string) (Report, error) {
	report := Report{HelmRelease: "HelmRelease/" + s.Namespace + "/" + name}
	sides := make([]*rendered, 2)
	for i, path := range []string{f.against, f.path} {
		in, err := readInputs(path, s.Namespace, nil)
		if err != nil {
			return report, err
		}
		if !in.has(kinds.HelmRelease.Resource, s.Namespace, name) {
			sides[i] = &rendered{}
			continue
		}
		hr, err := in.helmRelease(ctx, s.Namespace, name)
		if err == nil {
			side := *f
			if i == 0 {
				side.chart = "" // the chart that somebody works on is that of the new side
			}
			sides[i], err = side.render(ctx, in, hr, nil, nil)
		}
		if err != nil {
			return report, fmt.Errorf("%s: %w", path, err)
		}
	}
	if sides[0].release == nil && sides[1].release == nil {
		return report, errors.New("HelmRelease '" + s.Namespace + "/" + name + "' is in neither of the paths")
	}
	report.Changes = append(between(sides[0].objects, sides[1].objects), betweenHooks(sides[0].hooks, sides[1].hooks)...)
	hide(report.Changes, append(sides[0].hidden, sides[1].hidden...))
	return report, nil
}
