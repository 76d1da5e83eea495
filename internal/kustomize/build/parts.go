package build

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"

	"sigs.k8s.io/kustomize/api/konfig"
	"sigs.k8s.io/kustomize/api/resource"
	"sigs.k8s.io/kustomize/api/types"
	"sigs.k8s.io/kustomize/kyaml/resid"
	"sigs.k8s.io/kustomize/kyaml/yaml"
	sigsyaml "sigs.k8s.io/yaml"
)

// maxGroup is how many objects kustomize builds at once when nothing relates them: its cost grows with the square.
const maxGroup = 50

// groupMount is below which the groups appear. Nothing can refer to it.
const groupMount = "/group"

// referrers are the kinds into whose references kustomize copies a namespace along with a name, targets what they may
// refer to. A referrer is built together with its targets.
var (
	referrers = []string{
		"RoleBinding", "ClusterRoleBinding", "MutatingWebhookConfiguration", "ValidatingWebhookConfiguration",
		"APIService", "CustomResourceDefinition",
	}
	targets = []string{"ServiceAccount", "Service"}
)

// divisible reports whether nothing but a namespace is merged, so that every object is left to itself.
func (b *builder) divisible() bool {
	spec := b.opts.Spec
	spec.TargetNamespace = ""
	return spec.empty() && !b.withOrigins
}

// parts are the objects of a large kustomization that does nothing but name them. Within it no object changes another,
// except for [referrers]; so building them in groups gives the same objects, and an object of a file that an earlier
// build knows need not be built again. parts declines when an identity occurs twice, or may do so in the target
// namespace, to leave the error to kustomize.
func (b *builder) parts() ([]*object, bool) {
	if b.patched {
		return nil, false // something decrypted is among it, of which no memo may know
	}
	var all []*object
	seen := map[resid.ResId]bool{}
	for _, s := range b.sources {
		if len(s.files) == 0 {
			return nil, false // a directory that is left to kustomize
		}
		for _, m := range s.files {
			if len(m.objects) == 0 {
				return nil, false
			}
			for _, o := range m.objects {
				id := b.identity(o.id)
				if seen[id] || o.id.Kind == "Node" || b.namespace != "" && o.id.Kind == "Namespace" || o.meddles() {
					return nil, false
				}
				seen[id] = true
				all = append(all, o)
			}
		}
	}
	return all, len(all) > maxGroup
}

// meddles reports whether an object has one of kustomize's own annotations, which tell it of other names and of what to do
// with them. What the memo knows was looked at when it was parsed.
func (o *object) meddles() bool {
	if o.parsed == nil {
		return false
	}
	for name := range o.parsed.GetAnnotations() {
		if strings.HasPrefix(name, konfig.ConfigAnnoDomain+"/") {
			return true
		}
	}
	return false
}

// identity is what kustomize compares to find an object twice. With a target namespace the one that an object comes
// from does not count.
func (b *builder) identity(id resid.ResId) resid.ResId {
	if b.namespace != "" {
		return resid.ResId{Gvk: id.Gvk, Name: id.Name}
	}
	return resid.ResId{Gvk: id.Gvk, Name: id.Name, Namespace: id.EffectiveNamespace()}
}

// runParts builds what no earlier build knows, in groups.
func (b *builder) runParts(all []*object) ([]piece, error) {
	p := &partition{builder: b, built: map[resid.ResId]*resource.Resource{}}
	for _, o := range all {
		if slices.Contains(targets, o.id.Kind) {
			p.targets = append(p.targets, o)
		}
	}
	b.surroundings = digestOfTargets(p.targets)
	var alone, referring []*object
	for _, o := range all {
		refers := slices.Contains(referrers, o.id.Kind)
		switch {
		case o.known != nil && (!refers || o.known.surroundings == b.surroundings):
			continue
		case refers:
			referring = append(referring, o)
		default:
			alone = append(alone, o)
		}
		o.known = nil
	}
	for group := range slices.Chunk(alone, maxGroup) {
		if err := p.run(group, nil); err != nil {
			return nil, err
		}
	}
	for group := range slices.Chunk(referring, maxGroup) {
		if err := p.run(group, p.targets); err != nil {
			return nil, err
		}
	}
	return p.pieces(all), nil
}

// digestOfTargets identifies what referrers may refer to.
func digestOfTargets(objects []*object) [sha256.Size]byte {
	hash := sha256.New()
	for _, o := range objects {
		fmt.Fprintf(hash, "%q %q %q\n", o.id.Gvk.String(), o.id.Namespace, o.id.Name)
	}
	return [sha256.Size]byte(hash.Sum(nil))
}

// partition is a build in groups in progress.
type partition struct {
	*builder
	targets []*object
	built   map[resid.ResId]*resource.Resource // by identity
	groups  int
}

// errGroup says that a group did not give what it should; the whole then tells why.
var errGroup = errors.New("a group of objects cannot be built by itself")

// run builds a group, beside those of the companions whose names occur in it, which are built for its sake only.
func (p *partition) run(group, companions []*object) error {
	wanted := map[resid.ResId]bool{}
	var text strings.Builder
	for _, o := range group {
		wanted[p.identity(o.id)] = true
		if err := p.write(&text, o); err != nil {
			return err
		}
	}
	named := text.String()
	for _, o := range companions {
		if strings.Contains(named, o.id.Name) {
			if err := p.write(&text, o); err != nil {
				return err
			}
		}
	}
	resources, err := p.kustomize(text.String())
	if err != nil {
		return err
	}
	for _, r := range resources {
		id := p.identity(r.CurId())
		if wanted[id] {
			p.built[id] = r
		} else if companions == nil {
			return errGroup // the identity has changed
		}
	}
	for _, o := range group {
		if p.built[p.identity(o.id)] == nil && len(o.parsed.GetAnnotations(localOnly)) == 0 {
			return errGroup
		}
	}
	return nil
}

// localOnly is the annotation of objects that kustomize leaves out of what it builds.
const localOnly = "config.kubernetes.io/local-config"

func (p *partition) write(text *strings.Builder, o *object) error {
	if o.parsed == nil {
		if err := p.parseAgain(o.file); err != nil {
			return err
		}
	}
	content, err := portable(&o.parsed.RNode)
	text.WriteString("---\n" + content)
	return err
}

// portable writes an object so that it can be read and rendered with the result that it has when it is rendered
// directly. Rendering writes and reads it once, in which the YAML library may change folded text and what is beside
// comments; so this happens here, and then never again.
func portable(object *yaml.RNode) (string, error) {
	text, err := object.String()
	if err != nil || !delicate(object.YNode()) {
		return text, err
	}
	once, err := yaml.Parse(text)
	if err != nil {
		return "", err
	}
	restyle(once.YNode())
	return once.String()
}

// blockStyles are those of text that spans lines without quotes.
var blockStyles = yaml.FoldedStyle | yaml.LiteralStyle

// delicate reports whether writing and reading a node may change it.
func delicate(node *yaml.Node) bool {
	return node.Style&blockStyles != 0 || node.HeadComment != "" || node.LineComment != "" || node.FootComment != "" ||
		slices.ContainsFunc(node.Content, delicate)
}

// restyle leaves out comments, and quotes blocks of text.
func restyle(node *yaml.Node) {
	node.HeadComment, node.LineComment, node.FootComment = "", "", ""
	if node.Style&blockStyles != 0 {
		node.Style = node.Style&^blockStyles | yaml.DoubleQuotedStyle
	}
	for _, child := range node.Content {
		restyle(child)
	}
}

// parseAgain parses a manifest of which the memo knows the objects.
func (p *partition) parseAgain(m *manifest) error {
	resources, err := p.decode(m)
	if err != nil {
		return err
	}
	if len(resources) != len(m.objects) {
		return errGroup
	}
	for i, r := range resources {
		m.objects[i].parsed = r
	}
	return nil
}

func (p *partition) kustomize(objects string) ([]*resource.Resource, error) {
	k, err := sigsyaml.Marshal(&types.Kustomization{Namespace: p.namespace, Resources: []string{"objects.yaml"}})
	if err != nil {
		return nil, err
	}
	dir := path.Join(groupMount, fmt.Sprint(p.groups))
	p.groups++
	file, list := path.Join(dir, konfig.DefaultKustomizationFileName()), path.Join(dir, "objects.yaml")
	p.fsys.overlay[file], p.fsys.overlay[list] = k, []byte(objects)
	defer func() {
		delete(p.fsys.overlay, file)
		delete(p.fsys.overlay, list)
	}()
	return p.krusty(dir)
}

// pieces puts everything into its order. What was not built is only for local use.
func (p *partition) pieces(all []*object) []piece {
	pieces := make([]piece, 0, len(all))
	for _, o := range all {
		built := p.built[p.identity(o.id)]
		if o.known == nil && built == nil {
			o.known = &knownObject{}
		}
		if built != nil || len(o.known.text) > 0 {
			pieces = append(pieces, piece{object: o, resource: built})
		}
	}
	return pieces
}
