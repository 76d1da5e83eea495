package build

import (
	"fmt"
	"path"
	"slices"
	"strings"

	"sigs.k8s.io/kustomize/api/konfig"
	"sigs.k8s.io/kustomize/api/resource"
	"sigs.k8s.io/kustomize/api/types"
	"sigs.k8s.io/kustomize/kyaml/resid"
	sigsyaml "sigs.k8s.io/yaml"
)

// maxGroup is how many objects kustomize builds at once when nothing relates them: its cost grows with the square.
const maxGroup = 50

// groupMount is below which the groups of a large generated kustomization appear. Nothing can refer to it.
const groupMount = "/group"

// related are the kinds between which kustomize copies a namespace along with a name, so that they must be built
// together: whoever holds such a reference, and what it points to.
var related = []string{
	"RoleBinding", "ClusterRoleBinding", "ServiceAccount", "Service", "MutatingWebhookConfiguration",
	"ValidatingWebhookConfiguration", "APIService", "CustomResourceDefinition",
}

// groups splits a large generated kustomization without transformers but for a target namespace. Within it no object
// changes another, except those of [related] kinds, which stay together; so building parts gives the same objects. It
// declines when an identity occurs twice, or may do so in the target namespace, to leave the error to kustomize.
func (b *builder) groups() ([][]*resource.Resource, bool) {
	if b.generated == nil || !b.opts.Spec.divisible() || b.withOrigins {
		return nil, false
	}
	var all []*resource.Resource
	for _, s := range b.generated {
		if len(s.objects) == 0 {
			return nil, false // a directory with its own kustomization, or an empty file
		}
		all = append(all, s.objects...)
	}
	if len(all) <= maxGroup {
		return nil, false
	}
	seen := map[resid.ResId]bool{}
	var together, alone []*resource.Resource
	for _, o := range all {
		id := b.identity(o)
		if seen[id] || b.opts.Spec.TargetNamespace != "" && o.GetKind() == "Namespace" {
			return nil, false
		}
		seen[id] = true
		if slices.Contains(related, o.GetKind()) {
			together = append(together, o)
		} else {
			alone = append(alone, o)
		}
	}
	groups := slices.Collect(slices.Chunk(alone, maxGroup))
	if len(together) > 0 {
		groups = append(groups, together)
	}
	return groups, true
}

// divisible reports whether what is merged leaves every object to itself.
func (s Spec) divisible() bool {
	s.TargetNamespace = ""
	return s.empty()
}

// identity is what kustomize compares to find an object twice. With a target namespace the one that an object comes
// from does not count.
func (b *builder) identity(o *resource.Resource) resid.ResId {
	id := o.CurId()
	if b.opts.Spec.TargetNamespace != "" {
		return resid.ResId{Gvk: id.Gvk, Name: id.Name}
	}
	return resid.ResId{Gvk: id.Gvk, Name: id.Name, Namespace: id.EffectiveNamespace()}
}

// runGroups builds each group and puts the objects back into their order. If anything is odd it builds the whole,
// whose errors name the real files.
func (b *builder) runGroups(groups [][]*resource.Resource) ([]*resource.Resource, error) {
	var built []*resource.Resource
	for i, group := range groups {
		part, err := b.runGroup(path.Join(groupMount, fmt.Sprint(i)), group)
		if err != nil {
			return b.krusty(b.dir)
		}
		built = append(built, part...)
	}
	order := map[resid.ResId]int{}
	for _, s := range b.generated {
		for _, o := range s.objects {
			order[b.identity(o)] = len(order)
		}
	}
	for _, o := range built {
		if _, known := order[b.identity(o)]; !known {
			return b.krusty(b.dir)
		}
	}
	slices.SortStableFunc(built, func(x, y *resource.Resource) int { return order[b.identity(x)] - order[b.identity(y)] })
	return built, nil
}

func (b *builder) runGroup(dir string, group []*resource.Resource) ([]*resource.Resource, error) {
	var objects strings.Builder
	for _, o := range group {
		text, err := o.RNode.String()
		if err != nil {
			return nil, err
		}
		objects.WriteString("---\n" + text)
	}
	k, err := sigsyaml.Marshal(&types.Kustomization{Namespace: b.opts.Spec.TargetNamespace, Resources: []string{"objects.yaml"}})
	if err != nil {
		return nil, err
	}
	b.fsys.overlay[path.Join(dir, konfig.DefaultKustomizationFileName())] = k
	b.fsys.overlay[path.Join(dir, "objects.yaml")] = []byte(objects.String())
	return b.krusty(dir)
}
