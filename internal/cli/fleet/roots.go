package fleet

import (
	"errors"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"github.com/gitops-toolkit/flux/internal/cli/kinds"
	"github.com/gitops-toolkit/flux/internal/cli/origin"
)

// root is where a cluster begins: what `flux bootstrap` would have applied.
type root struct {
	// path is the directory that the cluster follows.
	path string
	// entry is the Kustomization that applies path, and the file that holds it; nil when none does and one is made.
	entry *document
	// files are applied one by one where a Kustomization over path would apply too much; else empty.
	files []string
	// source stands for the repository.
	source kinds.Ref
}

// system is the directory of the entry's file: that of the components, after a bootstrap.
func (r root) system() string {
	if r.entry == nil {
		return ""
	}
	return path.Dir(r.entry.file)
}

// home is the source of clusters that do not name one.
var home = kinds.Ref{Kind: kinds.GitRepository.Kind, Namespace: "flux-system", Name: "flux-system"}

// roots finds the clusters of a repository: the Kustomizations that apply the directory in which they
// are written, as bootstrap leaves them, else the directories of those that nothing applies.
func (t *tree) roots() []root {
	var all, found []root
	for i := range t.docs {
		d := &t.docs[i]
		if d.Kind == kinds.Kustomization.Kind && covers(clean(d.field("spec", "path")), d.file) {
			all = append(all, root{path: clean(d.field("spec", "path")), entry: d, source: d.source()})
		}
	}
	for _, r := range all {
		if t.begins(r, all) {
			found = append(found, r)
		}
	}
	if len(found) > 0 {
		return found
	}
	return t.loose()
}

// begins tells whether a Kustomization is the entry of a cluster, and not one that happens to apply the whole of another
// source: "path: ./" covers everything.
func (t *tree) begins(r root, all []root) bool {
	if r.source.Kind == kinds.ExternalArtifact.Kind {
		return false
	}
	applied := func(o root) bool { return o.source != r.source && o.path != "." && covers(o.path, r.entry.file) }
	if slices.ContainsFunc(all, applied) {
		return false
	}
	return t.mayApply(r.path, r.source)
}

// mayApply tells whether a path is one of this repository: all of it only if the source is the repository.
func (t *tree) mayApply(path string, source kinds.Ref) bool {
	return path != "." || source == home || t.isHere(source)
}

// isHere tells whether a GitRepository means the repository itself, as far as anybody can tell.
func (t *tree) isHere(ref kinds.Ref) bool {
	if ref.Kind != kinds.GitRepository.Kind {
		return false
	}
	i := slices.IndexFunc(t.docs, func(d document) bool { return d.Ref == ref })
	return i < 0 || slices.ContainsFunc(t.urls, func(u string) bool { return origin.Same(t.docs[i].field("spec", "url"), u) })
}

// loose are the directories of Kustomizations that no Kustomization applies, the topmost only.
func (t *tree) loose() []root {
	var paths []string
	for _, d := range t.docs {
		if path := clean(d.field("spec", "path")); d.Kind == kinds.Kustomization.Kind && t.mayApply(path, d.source()) {
			paths = append(paths, path)
		}
	}
	byDir := map[string]*root{}
	for _, d := range t.docs {
		dir := path.Dir(d.file)
		if d.Kind != kinds.Kustomization.Kind || slices.ContainsFunc(paths, func(p string) bool { return covers(p, d.file) }) {
			continue
		}
		if byDir[dir] == nil {
			byDir[dir] = &root{path: dir, source: home}
		}
		if source := d.source(); source.Kind == kinds.GitRepository.Kind {
			byDir[dir].source = source
		}
	}
	var found []root
	for dir, r := range byDir {
		if slices.ContainsFunc(topmost(byDir), func(above string) bool { return above != dir && within(above, dir) }) {
			continue
		}
		if slices.ContainsFunc(paths, func(p string) bool { return within(dir, p) }) {
			r.files = t.filesIn(dir)
		}
		found = append(found, *r)
	}
	slices.SortFunc(found, func(a, b root) int { return strings.Compare(a.path, b.path) })
	return found
}

func topmost(dirs map[string]*root) []string {
	var out []string
	for dir := range dirs {
		out = append(out, dir)
	}
	return out
}

// filesIn are the files of a directory that hold objects of the toolkit.
func (t *tree) filesIn(dir string) []string {
	var files []string
	for _, d := range t.docs {
		if path.Dir(d.file) == dir && !slices.Contains(files, d.file) {
			files = append(files, d.file)
		}
	}
	return files
}

// source is what a Kustomization is built from.
func (d *document) source() kinds.Ref {
	namespace := d.field("spec", "sourceRef", "namespace")
	if namespace == "" {
		namespace = d.Namespace
	}
	return kinds.Ref{Kind: d.field("spec", "sourceRef", "kind"), Namespace: namespace, Name: d.field("spec", "sourceRef", "name")}
}

// choose takes those of the roots that were asked for, by path.
func choose(t *tree, wanted []string) ([]root, error) {
	all := t.roots()
	if len(wanted) == 0 {
		if len(all) == 0 {
			return nil, errors.New("there is no Kustomization in it: give the repository of a fleet, or the directory of a cluster with --path")
		}
		return all, nil
	}
	var chosen []root
	for _, want := range wanted {
		want = clean(want)
		if i := slices.IndexFunc(all, func(r root) bool { return r.path == want }); i >= 0 {
			chosen = append(chosen, all[i])
			continue
		}
		if info, err := os.Stat(filepath.Join(t.dir, filepath.FromSlash(want))); err != nil || !info.IsDir() {
			return nil, fmt.Errorf("--path %s: there is no such directory in the repository", want)
		}
		chosen = append(chosen, root{path: want, source: home})
	}
	return chosen, nil
}

// clean gives a path of the spec the form of those in the tree.
func clean(p string) string {
	p = strings.TrimPrefix(path.Clean("/"+filepath.ToSlash(p)), "/")
	if p == "" {
		return "."
	}
	return p
}

func covers(dir, file string) bool { return within(dir, path.Dir(file)) }

func within(above, dir string) bool {
	return above == "." || dir == above || strings.HasPrefix(dir, above+"/")
}
