package build

import (
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"
	"sigs.k8s.io/kustomize/api/konfig"
	"sigs.k8s.io/kustomize/api/types"
	sigsyaml "sigs.k8s.io/yaml"
)

// placeholderNamespace keeps a generated kustomization.yaml without resources from being refused as empty.
const placeholderNamespace = "_placeholder"

// prepare puts the kustomization.yaml that is to be built over the artifact: the path's own with the spec merged
// into it, or a generated one.
func (b *builder) prepare() error {
	name, own, err := b.findKustomization(b.dir)
	if err != nil {
		return err
	}
	if !own {
		return b.generate()
	}
	file := path.Join(b.dir, name)
	content, err := b.fsys.ReadFile(file)
	if err != nil {
		return err
	}
	k := &types.Kustomization{}
	if err := k.Unmarshal(content); err != nil {
		return fmt.Errorf("failed to read %s: %w", file, readable(err))
	}
	k.FixKustomization()
	b.collect(k)
	bare := len(k.Resources) == 0
	if b.opts.Spec.empty() && !bare {
		return nil
	}
	if bare && b.opts.Spec.BuildMetadata == nil {
		// Without this kustomize refuses a file that only has, say, a namespace. Upstream does the same, so objects
		// that only come from generators keep the annotation on both sides.
		k.BuildMetadata = []string{types.OriginAnnotations}
	}
	return b.lay(file, k)
}

// lay merges the spec into a kustomization and puts it into the overlay.
func (b *builder) lay(file string, k *types.Kustomization) error {
	exists := func(component string) bool { return b.fsys.IsDir(path.Join(b.dir, component)) }
	if err := b.opts.Spec.merge(k, exists); err != nil {
		return err
	}
	if err := b.checkInline(file, k); err != nil {
		return err
	}
	content, err := sigsyaml.Marshal(k)
	if err != nil {
		return fmt.Errorf("failed to write %s: %w", file, err)
	}
	b.fsys.overlay[file] = content
	return nil
}

// findKustomization looks for a kustomization file in a directory by its names.
func (b *builder) findKustomization(dir string) (string, bool, error) {
	for _, name := range konfig.RecognizedKustomizationFileNames() {
		_, file, err := b.fsys.CleanedAbs(path.Join(dir, name))
		switch {
		case err == nil && file != "":
			return name, true, nil
		case err != nil && !errors.Is(err, fs.ErrNotExist):
			return "", false, err
		}
	}
	return "", false, nil
}

// generate writes a kustomization.yaml that names every manifest below the path.
func (b *builder) generate() error {
	sources, err := b.scan(b.dir)
	if err != nil {
		return err
	}
	b.namespace = b.opts.Spec.TargetNamespace
	own, all := allFiles(sources), sources
	if b.divisible() {
		all = b.enter(sources)
	}
	b.useMemo(allFiles(all))
	if err := b.parseAll(own); err != nil {
		return err
	}
	if b.parseAll(notIn(allFiles(all), own)) == nil {
		b.sources = all
	}
	return b.lay(path.Join(b.dir, konfig.DefaultKustomizationFileName()), generatedFor(sources))
}

func generatedFor(sources []source) *types.Kustomization {
	k := &types.Kustomization{
		TypeMeta: types.TypeMeta{APIVersion: types.KustomizationVersion, Kind: types.KustomizationKind},
	}
	for _, s := range sources {
		k.Resources = append(k.Resources, unmistakable(s.path))
	}
	if len(sources) == 0 {
		k.Namespace = placeholderNamespace
	}
	return k
}

// unmistakable writes a path of the artifact so that kustomize does not take it for an address: it would start git for a
// directory with the name of a host.
func unmistakable(name string) string {
	if isRemote(name) || strings.ContainsAny(name, ":@") {
		return "./" + name
	}
	return name
}

// atLine adds to an error of the YAML parser the line in the file, where its own text counts differently, and what to do.
func atLine(content []byte, parseErr error) string {
	if _, ok := lineOf(parseErr); !ok {
		return ""
	}
	return absoluteLine(content, parseErr) + "; correct the file, or leave it out of the build"
}

// absoluteLine says where a YAML error is in its file: the parser counts from the start of the document.
func absoluteLine(content []byte, parseErr error) string {
	decoder := yaml.NewDecoder(strings.NewReader(string(content)))
	for {
		var doc yaml.Node
		err := decoder.Decode(&doc)
		if err == nil {
			continue
		}
		where, ok := lineOf(err)
		if !ok || strings.Contains(parseErr.Error(), where) {
			return ""
		}
		return " (" + where + " of the file)"
	}
}

// lineOf finds "line N" in an error of the YAML parser.
func lineOf(err error) (string, bool) {
	fields := strings.FieldsFunc(err.Error(), func(r rune) bool { return r == ' ' || r == ':' })
	i := slices.Index(fields, "line")
	if i < 0 || i+1 >= len(fields) {
		return "", false
	}
	return "line " + fields[i+1], true
}

func (b *builder) relative(at string) string {
	return strings.TrimPrefix(strings.TrimPrefix(at, b.dir), "/")
}

func (b *builder) relativeToMount(at string) string {
	return strings.TrimPrefix(strings.TrimPrefix(at, b.opts.Mount), "/")
}
