package build

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"

	"sigs.k8s.io/kustomize/api/konfig"
	"sigs.k8s.io/kustomize/api/resource"
	"sigs.k8s.io/kustomize/api/types"
	"sigs.k8s.io/kustomize/kyaml/resid"
	sigsyaml "sigs.k8s.io/yaml"
)

// source is one entry of a kustomization.yaml that does nothing but name its resources.
type source struct {
	path string // relative to the built directory
	// files are the manifests that it stands for: itself, or those that a directory's own plain kustomization.yaml
	// names. There are none where a directory has to be left to kustomize.
	files []*manifest
}

// manifest is a file of objects.
type manifest struct {
	at      string // absolute
	content []byte // until it is parsed
	sum     [sha256.Size]byte
	objects []*object
}

// object is one object of a manifest, before anything changes it.
type object struct {
	id   resid.ResId
	file *manifest
	// parsed is nil while what an earlier build rendered is enough.
	parsed *resource.Resource
	// known is what an earlier build rendered.
	known *knownObject
}

// load reads a manifest without parsing it.
func (b *builder) load(at string) (*manifest, error) {
	content, sum, err := b.fsys.readRaw(at)
	if err != nil {
		return nil, err
	}
	return &manifest{at: at, content: content, sum: sum}, nil
}

// parse finds the objects of a manifest, by what the memo knows of the same content if possible.
func (b *builder) parse(m *manifest) error {
	if objects, ok := b.memo.find(m); ok {
		m.objects = objects
		return nil
	}
	resources, err := b.decode(m)
	if err != nil {
		return err
	}
	for _, r := range resources {
		m.objects = append(m.objects, &object{id: r.CurId(), file: m, parsed: r})
	}
	return nil
}

func (b *builder) decode(m *manifest) ([]*resource.Resource, error) {
	content, err := b.fsys.check(m.at, m.content)
	if err != nil {
		return nil, readable(err)
	}
	resources, err := guarded(func() ([]*resource.Resource, error) { return b.factory.SliceFromBytes(content) })
	if err != nil {
		return nil, fmt.Errorf("failed to decode Kubernetes YAML from %s: %w%s", m.at, readable(err), atLine(content, err))
	}
	for _, r := range resources {
		if r.GetKind() == "" || r.GetApiVersion() == "" || r.GetName() == "" {
			return nil, fmt.Errorf("failed to decode Kubernetes apiVersion, kind and name from: %s; add them, or leave the file out of the build", m.at)
		}
	}
	return resources, nil
}

// parseAll parses manifests, until one is wrong.
func (b *builder) parseAll(files []*manifest) error {
	for _, m := range files {
		if err := b.parse(m); err != nil {
			return err
		}
		for _, o := range m.objects {
			key, file := keyOfID(o.id), b.relativeToMount(m.at)
			if before, again := b.files[key]; again && b.twice == "" {
				b.twice = fmt.Sprintf("in %s and %s", before, file)
			}
			b.files[key] = file
		}
	}
	return nil
}

// useMemo opens the memo if there is enough that it may know.
func (b *builder) useMemo(files []*manifest) bool {
	enough := b.divisible() && many(files)
	if enough {
		b.memo = openMemo(b.opts.Memo, b.memoKey())
	}
	return enough
}

// many guesses from the text whether there are more objects than kustomize builds well at once.
func many(files []*manifest) bool {
	count := 0
	for _, m := range files {
		objects := bytes.Count(m.content, []byte("\nkind:"))
		if bytes.HasPrefix(m.content, []byte("kind:")) {
			objects++
		}
		count += max(objects, 1)
	}
	return count > maxGroup
}

func allFiles(sources []source) []*manifest {
	var all []*manifest
	for _, s := range sources {
		all = append(all, s.files...)
	}
	return all
}

// scan collects the manifests below a directory, depth first, in lexical order. Linked directories are not entered.
func (b *builder) scan(dir string) ([]source, error) {
	entries, err := b.fsys.list(dir)
	if err != nil {
		return nil, err
	}
	var sources []source
	for _, entry := range entries {
		found, err := b.scanEntry(path.Join(dir, entry.Name()), entry)
		if err != nil {
			return nil, err
		}
		sources = append(sources, found...)
	}
	return sources, nil
}

func (b *builder) scanEntry(at string, entry fs.DirEntry) ([]source, error) {
	if b.opts.Ignored != nil && b.opts.Ignored(at, entry.IsDir()) {
		return nil, nil
	}
	if entry.IsDir() {
		_, own, err := b.findKustomization(at)
		if err != nil {
			return nil, err
		}
		if own {
			return []source{{path: b.relative(at)}}, nil
		}
		return b.scan(at)
	}
	if extension := path.Ext(at); extension != ".yaml" && extension != ".yml" {
		return nil, nil
	}
	if entry.Type()&fs.ModeSymlink != 0 && b.fsys.IsDir(at) { // a link to a directory that is named like a file
		return nil, nil
	}
	m, err := b.load(at)
	if err != nil {
		return nil, err
	}
	return []source{{path: b.relative(at), files: []*manifest{m}}}, nil
}

// enter looks into the directories that a generated kustomization.yaml names, whether these too only name manifests.
func (b *builder) enter(sources []source) []source {
	entered := slices.Clone(sources)
	for i := range entered {
		if s := &entered[i]; len(s.files) == 0 {
			s.files, _ = b.followDir(path.Join(b.dir, s.path), []string{b.dir})
		}
	}
	return entered
}

// errNotPlain says that kustomize has to build the directory.
var errNotPlain = errors.New("the kustomization does more than name manifests")

// follow collects the manifests that a plain kustomization names. trail are the directories on the way to it.
func (b *builder) follow(k *types.Kustomization, trail []string) ([]*manifest, error) {
	var all []*manifest
	for _, ref := range k.Resources {
		found, err := b.followOne(ref, trail)
		if err != nil {
			return nil, err
		}
		all = append(all, found...)
	}
	return all, nil
}

func (b *builder) followOne(ref string, trail []string) ([]*manifest, error) {
	if ref == "" || path.IsAbs(ref) || isRemote(ref) {
		return nil, errNotPlain
	}
	at := path.Join(trail[len(trail)-1], ref)
	dir, file, err := b.fsys.CleanedAbs(at)
	switch {
	case err != nil:
		return nil, err
	case file == "":
		return b.followDir(dir.String(), trail)
	case slices.Contains(konfig.RecognizedKustomizationFileNames(), path.Base(at)):
		return nil, errNotPlain
	}
	m, err := b.load(at)
	return []*manifest{m}, err
}

func (b *builder) followDir(dir string, trail []string) ([]*manifest, error) {
	for _, visited := range trail {
		if visited == dir || strings.HasPrefix(visited, dir+"/") {
			return nil, errNotPlain // a circle
		}
	}
	k, err := b.readPlain(dir)
	if err != nil {
		return nil, err
	}
	if k.Namespace != "" || !plain(k) {
		return nil, errNotPlain
	}
	return b.follow(k, append(slices.Clone(trail), dir))
}

// readPlain reads the one kustomization file of a directory, before its remote references are fetched.
func (b *builder) readPlain(dir string) (*types.Kustomization, error) {
	if !b.single(dir) {
		return nil, errNotPlain
	}
	name, _, err := b.findKustomization(dir)
	if err != nil {
		return nil, err
	}
	content, _, err := b.fsys.readRaw(path.Join(dir, name))
	if err != nil {
		return nil, err
	}
	if err := b.opts.Limits.checkYAML(content); err != nil {
		return nil, err
	}
	k := &types.Kustomization{}
	if err := k.Unmarshal(content); err != nil {
		return nil, err
	}
	k.FixKustomization()
	return k, nil
}

// single reports whether a directory has one kustomization file, as kustomize wants it.
func (b *builder) single(dir string) bool {
	count := 0
	for _, name := range konfig.RecognizedKustomizationFileNames() {
		if b.fsys.Exists(path.Join(dir, name)) {
			count++
		}
	}
	return count == 1
}

// plain reports whether a kustomization does nothing but name resources, and a namespace perhaps.
func plain(k *types.Kustomization) bool {
	rest := *k
	if rest.Kind != types.KustomizationKind || rest.APIVersion != types.KustomizationVersion || len(rest.Resources) == 0 {
		return false
	}
	rest.TypeMeta, rest.MetaData, rest.Resources, rest.Namespace = types.TypeMeta{}, nil, nil, ""
	text, err := sigsyaml.Marshal(rest)
	return err == nil && string(text) == "{}\n"
}

// collect finds the manifests of the path's own kustomization, if that only names them and there are many. All errors
// are left to kustomize.
func (b *builder) collect(k *types.Kustomization) {
	if !b.divisible() || !plain(k) || !b.single(b.dir) {
		return
	}
	reads, size := b.fsys.reads, b.fsys.bytes
	b.namespace = either(b.opts.Spec.TargetNamespace, k.Namespace)
	files, err := b.follow(k, []string{b.dir})
	if err == nil && b.useMemo(files) && b.parseAll(files) == nil {
		b.sources = []source{{files: files}}
		return
	}
	b.files, b.memo, b.twice = map[Key]string{}, nil, ""
	b.fsys.reads, b.fsys.bytes = reads, size // kustomize reads all again
}

// notIn returns the files of all that are not among some, which come in the same order.
func notIn(all, some []*manifest) []*manifest {
	var rest []*manifest
	for _, m := range all {
		if len(some) > 0 && some[0] == m {
			some = some[1:]
			continue
		}
		rest = append(rest, m)
	}
	return rest
}
