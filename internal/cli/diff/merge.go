package diff

import (
	"context"
	"fmt"
	"os"
	"reflect"
	"slices"

	"k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"

	kustomizev1 "github.com/gitops-toolkit/flux/api/kustomize/v1"
	sourcev1 "github.com/gitops-toolkit/flux/api/source/v1"
	"github.com/gitops-toolkit/flux/internal/apply"
	"github.com/gitops-toolkit/flux/internal/cli/cluster"
	"github.com/gitops-toolkit/flux/internal/cli/kinds"
	"github.com/gitops-toolkit/flux/internal/cli/origin"
)

// merge compares several Kustomizations at once, as a merge would change them: a Kustomization that another one applies
// is built by its new spec; new ones are compared, too; with one that goes, its objects go; and what one gives up and
// another takes is moved, not deleted.
type merge struct {
	*differ
	root    string
	members []*member
	// everything is --all: also Kustomizations that the cluster does not have yet.
	everything bool
}

// member is one of the Kustomizations.
type member struct {
	obj *kustomizev1.Kustomization
	// desired says that the spec is that of the files; isNew that the cluster does not have it; leaving that nothing
	// applies it any more.
	desired, isNew, leaving bool
	objects                 []*unstructured.Unstructured
	note                    string
	err                     error
}

func (m *member) name() string { return m.obj.Namespace + "/" + m.obj.Name }

// maxRounds is how deep Kustomizations that apply Kustomizations are followed.
const maxRounds = 20

// merge compares what was asked for.
func (d *differ) merge(ctx context.Context, root string, names []string, everything bool) ([]Report, error) {
	m := &merge{differ: d, root: root, everything: everything}
	var failed []Report
	for _, name := range names {
		obj, err := d.kustomization(ctx, name)
		if err != nil {
			failed = append(failed, Report{Kustomization: "Kustomization/" + d.Namespace + "/" + name, Error: err.Error()})
			continue
		}
		m.members = append(m.members, &member{obj: obj})
	}
	if everything {
		if err := m.leaveOthers(ctx); err != nil {
			return nil, err
		}
	}
	for _, one := range slices.Clone(m.members) {
		m.build(ctx, one)
	}
	for range maxRounds {
		if !m.follow(ctx) {
			break
		}
	}
	if err := m.leave(ctx); err != nil {
		return nil, err
	}
	reports := failed
	for _, one := range m.members {
		report := m.compare(ctx, one)
		reports = append(reports, report)
	}
	return reports, ctx.Err()
}

// leaveOthers takes out Kustomizations whose source is another repository than the one in --root.
func (m *merge) leaveOthers(ctx context.Context) error {
	remotes := origin.Remotes(ctx, m.root)
	if len(remotes) == 0 {
		return nil
	}
	repositories, err := cluster.All[sourcev1.GitRepository](ctx, m.Client, kinds.GitRepository.Resource, cluster.ListOptions{})
	if err != nil {
		return err
	}
	here := map[string]bool{}
	for _, r := range repositories {
		if slices.ContainsFunc(remotes, func(u string) bool { return origin.Same(u, r.Spec.URL) }) {
			here[kinds.GitRepository.Kind+"/"+r.Namespace+"/"+r.Name] = true
		}
	}
	if len(here) == 0 {
		return nil // it cannot be told
	}
	for _, one := range m.members {
		if source := kinds.Kustomization.ShowSource(one.obj).String(); !here[source] {
			one.note = fmt.Sprintf("its source %s is not the repository in --root", source)
		}
	}
	return nil
}

// build builds a member from the files.
func (m *merge) build(ctx context.Context, one *member) {
	one.objects, one.err = nil, nil
	if one.obj.Spec.KubeConfig != nil {
		one.note = "diff not supported for remote clusters"
	}
	if one.note != "" {
		return
	}
	dir := within(m.root, one.obj)
	if info, err := os.Stat(dir); err != nil || !info.IsDir() {
		one.err = fmt.Errorf("its path %q is not in the source that was given", one.obj.Spec.Path)
		return
	}
	one.objects, one.err = m.desired(ctx, one.obj, dir)
}

// follow takes over the specs that members bring, and tells whether there was anything new.
func (m *merge) follow(ctx context.Context) (changed bool) {
	for _, one := range slices.Clone(m.members) {
		for _, u := range one.objects {
			obj, err := kustomizationOf(u)
			if obj == nil || err != nil {
				continue // the comparison of the object tells
			}
			if m.takeOver(ctx, one, obj) {
				changed = true
			}
		}
	}
	return changed
}

func (m *merge) takeOver(ctx context.Context, from *member, obj *kustomizev1.Kustomization) bool {
	i := slices.IndexFunc(m.members, func(o *member) bool { return o.name() == obj.Namespace+"/"+obj.Name })
	if i >= 0 {
		one := m.members[i]
		if one.desired || one == from {
			return false
		}
		one.desired = true
		if reflect.DeepEqual(one.obj.Spec, obj.Spec) {
			return false
		}
		obj.Status = one.obj.Status
		one.obj = obj
		m.build(ctx, one)
		return true
	}
	if !m.everything && !m.Recursive || kinds.Kustomization.ShowSource(obj).String() != kinds.Kustomization.ShowSource(from.obj).String() {
		return false
	}
	one := &member{obj: obj, desired: true}
	live := &kustomizev1.Kustomization{}
	err := m.Client.Get(ctx, kinds.Kustomization.Resource, obj.Namespace, obj.Name, live)
	one.isNew = errors.IsNotFound(err)
	obj.Status = live.Status
	m.members = append(m.members, one)
	if m.build(ctx, one); err != nil && !one.isNew {
		one.err = err
	}
	return true
}

func kustomizationOf(u *unstructured.Unstructured) (*kustomizev1.Kustomization, error) {
	if u.GroupVersionKind().GroupKind() != (schema.GroupKind{Group: kinds.Kustomization.Group, Kind: kinds.Kustomization.Kind}) {
		return nil, nil
	}
	obj := &kustomizev1.Kustomization{}
	err := runtime.DefaultUnstructuredConverter.FromUnstructured(u.Object, obj)
	return obj, err
}

// leave finds the Kustomizations that nothing applies any more: they take their objects with them.
func (m *merge) leave(ctx context.Context) error {
	wanted := m.wanted(nil)
	for i := 0; i < len(m.members); i++ {
		one := m.members[i]
		if one.obj.Status.Inventory == nil || !one.prunes() || one.err != nil || one.note != "" {
			continue
		}
		for _, entry := range one.obj.Status.Inventory.Entries {
			ref, ok := apply.Entry{ID: apply.ID(entry.ID), Version: entry.Version}.Ref()
			if !ok || ref.Group != kinds.Kustomization.Group || ref.Kind != kinds.Kustomization.Kind || wanted[apply.ID(entry.ID)] != "" {
				continue
			}
			if err := m.goes(ctx, ref); err != nil {
				return err
			}
		}
	}
	return nil
}

func (m *merge) goes(ctx context.Context, ref apply.Ref) error {
	i := slices.IndexFunc(m.members, func(o *member) bool { return o.name() == ref.Namespace+"/"+ref.Name })
	if i < 0 {
		live := &kustomizev1.Kustomization{}
		err := m.Client.Get(ctx, kinds.Kustomization.Resource, ref.Namespace, ref.Name, live)
		if errors.IsNotFound(err) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("%s: %w", ref.Subject(), err)
		}
		m.members = append(m.members, &member{obj: live})
		i = len(m.members) - 1
	}
	one := m.members[i]
	one.leaving, one.objects, one.err = true, nil, nil
	return nil
}

// prunes tells whether what is not wanted any more is deleted.
func (m *member) prunes() bool {
	if !m.leaving {
		return m.obj.Spec.Prune
	}
	switch m.obj.Spec.DeletionPolicy {
	case kustomizev1.DeletionPolicyDelete, kustomizev1.DeletionPolicyWaitForTermination:
		return !m.obj.Spec.Suspend
	case kustomizev1.DeletionPolicyOrphan:
		return false
	}
	return m.obj.Spec.Prune && !m.obj.Spec.Suspend
}

// fate says what becomes of a Kustomization itself, where that is not what is compared.
func (m *member) fate() string {
	switch {
	case m.leaving && m.prunes():
		return "it is deleted, and its objects with it"
	case m.leaving:
		return "it is deleted, and its objects stay"
	case m.isNew:
		return "it is new"
	}
	return ""
}

// wanted are the objects that members would apply, other than one, with who does.
func (m *merge) wanted(besides *member) map[apply.ID]string {
	ids := map[apply.ID]string{}
	for _, one := range m.members {
		if one == besides {
			continue
		}
		for _, u := range one.objects {
			ids[apply.RefOf(u).ID()] = "Kustomization/" + one.name()
		}
	}
	return ids
}

// compare asks what would become of a member's objects.
func (m *merge) compare(ctx context.Context, one *member) Report {
	report := Report{Kustomization: "Kustomization/" + one.name(), Note: one.note, Fate: one.fate()}
	if one.err != nil {
		report.Error = one.err.Error()
		return report
	}
	c := m.comparer(one.obj, one.objects)
	for _, other := range m.members {
		c.beside = append(c.beside, other.objects...)
	}
	var err error
	if report.Changes, err = c.all(ctx); err == nil && one.prunes() && one.note == "" {
		var gone []Change
		gone, err = c.gone(ctx, one.obj, m.wanted(one))
		report.Changes = append(report.Changes, gone...)
	}
	if err != nil {
		report.Error = err.Error()
	}
	return report
}
