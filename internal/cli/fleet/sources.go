package fleet

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/gitops-toolkit/flux/internal/apply"
	"github.com/gitops-toolkit/flux/internal/cli/cluster"
	"github.com/gitops-toolkit/flux/internal/cli/kinds"
	"github.com/gitops-toolkit/flux/internal/cli/origin"
	"github.com/gitops-toolkit/flux/internal/install"
)

// other is a source that a directory stands for.
type other struct {
	ref  kinds.Ref
	tree *tree
}

// others reads --source.
func (f *flags) others(ctx context.Context, work string) ([]other, error) {
	var out []other
	for i, text := range f.sources {
		name, dir, ok := strings.Cut(text, "=")
		parts := strings.Split(name, "/")
		if !ok || len(parts) != 3 || slices.Contains(parts, "") || dir == "" {
			return nil, fmt.Errorf("--source %q: write <kind>/<namespace>/<name>=<directory>", text)
		}
		if !servable(parts[0]) {
			return nil, fmt.Errorf("--source %q: no directory can stand for a %s; the kind is one of %s", text, parts[0], strings.Join(servableKinds, ", "))
		}
		if info, err := os.Stat(dir); err != nil || !info.IsDir() {
			return nil, fmt.Errorf("--source %q: %s is no directory", text, dir)
		}
		ref := kinds.Ref{Kind: parts[0], Namespace: parts[1], Name: parts[2]}
		if slices.ContainsFunc(out, func(o other) bool { return o.ref == ref }) {
			return nil, fmt.Errorf("--source %q: there is another directory for it", text)
		}
		t, err := copyTree(ctx, dir, filepath.Join(work, fmt.Sprintf("source-%d", i)))
		if err != nil {
			return nil, fmt.Errorf("--source %q: %w", text, err)
		}
		out = append(out, other{ref, t})
	}
	return out, nil
}

var servableKinds = []string{
	kinds.GitRepository.Kind, kinds.OCIRepository.Kind, kinds.Bucket.Kind, kinds.HelmRepository.Kind, kinds.ExternalArtifact.Kind,
}

func servable(kind string) bool { return slices.Contains(servableKinds, kind) }

// stand is where a directory is served in the place of a source.
type stand struct {
	// addresses are what a source names that looks there, as [addressOf] tells it.
	addresses []string
	// patch is a CEL list of JSON patches which makes a source look there.
	patch string
	// objects are made because nobody else would.
	objects []*unstructured.Unstructured
	status  map[string]any
}

// stage is what a trial serves, and the policies by which the sources find it.
type stage struct {
	sandbox  *sandbox
	files    *fileServer
	stands   []*stand
	policies []policy
}

// serve puts the trees where the controllers can fetch them, and says which sources they stand for.
func (c *trial) serve(ctx context.Context, s *sandbox) (*stage, error) {
	files, err := serveFiles()
	if err != nil {
		return nil, err
	}
	st := &stage{sandbox: s, files: files, policies: suspended()}
	if err := c.fill(ctx, st); err != nil {
		st.close()
		return nil, err
	}
	return st, nil
}

func (c *trial) fill(ctx context.Context, st *stage) error {
	var mapped []kinds.Ref
	for i, o := range c.others {
		if err := st.add(ctx, fmt.Sprintf("source-%d", i), o, conditionFor(o.ref)); err != nil {
			return fmt.Errorf("serve %s: %w", o.ref, err)
		}
		mapped = append(mapped, o.ref)
	}
	root := other{c.root.source, c.tree}
	if !slices.Contains(mapped, root.ref) {
		if err := st.add(ctx, "entry", root, conditionFor(root.ref)); err != nil {
			return fmt.Errorf("serve %s: %w", root.ref, err)
		}
	}
	var same []string
	for _, d := range c.tree.docs {
		if c.isOurs(d) && !slices.Contains(mapped, d.Ref) && d.Ref != root.ref {
			same = append(same, "object.spec.url == "+strconv.Quote(d.field("spec", "url")))
		}
	}
	if len(same) == 0 {
		return nil
	}
	slices.Sort(same)
	ours := "(" + strings.Join(slices.Compact(same), " || ") + ")"
	for _, ref := range append(mapped, root.ref) {
		ours += " && !" + conditionFor(ref)
	}
	return st.add(ctx, "fleet", other{kinds.Ref{Kind: kinds.GitRepository.Kind}, c.tree}, ours)
}

func conditionFor(ref kinds.Ref) string {
	return fmt.Sprintf("(object.metadata.namespace == %q && object.metadata.name == %q)", ref.Namespace, ref.Name)
}

// isOurs tells whether a GitRepository of the tree means the tree itself.
func (c *trial) isOurs(d document) bool {
	if d.Kind != kinds.GitRepository.Kind {
		return false
	}
	is := func(u string) bool { return origin.Same(d.field("spec", "url"), u) }
	return slices.ContainsFunc(c.tree.urls, is) || slices.ContainsFunc(c.tree.docs, func(e document) bool {
		return e.Ref == c.root.source && is(e.field("spec", "url"))
	})
}

// add serves a directory in the place of the sources that meet a condition.
func (st *stage) add(ctx context.Context, name string, o other, when string) error {
	serve := map[string]func(context.Context, string, other) (*stand, error){
		kinds.GitRepository.Kind: st.asGit, kinds.OCIRepository.Kind: st.asArtifact, kinds.Bucket.Kind: st.asBucket,
		kinds.HelmRepository.Kind: st.asCharts, kinds.ExternalArtifact.Kind: st.asExternal,
	}[o.ref.Kind]
	if serve == nil {
		return fmt.Errorf("a %s cannot be served from here", o.ref.Kind)
	}
	s, err := serve(ctx, name, o)
	if err != nil {
		return err
	}
	st.stands = append(st.stands, s)
	if s.patch != "" {
		st.policies = append(st.policies, policy{name: name, kind: kinds.ByKind(o.ref.Kind), when: when, patch: s.patch})
	}
	return nil
}

// offer makes what nobody else would: ExternalArtifacts, whose makers do not run here.
func (st *stage) offer(ctx context.Context, applier *apply.Client, client *cluster.Client) error {
	for _, s := range st.stands {
		if len(s.objects) == 0 {
			continue
		}
		if _, err := install.Apply(ctx, applier, withNamespaces(s.objects)); err != nil {
			return fmt.Errorf("make a stand-in: %w", err)
		}
		for _, obj := range s.objects {
			k := kinds.ByKind(obj.GetKind())
			if err := client.MergePatch(ctx, k.Resource, obj.GetNamespace(), obj.GetName(), map[string]any{"status": s.status}, nil, "status"); err != nil {
				return fmt.Errorf("make a stand-in for %s/%s/%s: %w", obj.GetKind(), obj.GetNamespace(), obj.GetName(), err)
			}
		}
	}
	return nil
}

// local tells which sources are served from here.
func (st *stage) local(s *state) bool {
	address := addressOf(s)
	return slices.ContainsFunc(st.stands, func(s *stand) bool { return slices.Contains(s.addresses, address) })
}

func (st *stage) close() { st.files.close() }

// set is a CEL list of JSON patches that sets fields of a spec and removes others.
func set(fields map[string]string, remove ...string) string {
	var patches []string
	for _, name := range sortedKeys(fields) {
		patches = append(patches, fmt.Sprintf(`[JSONPatch{op: "add", path: "/spec/%s", value: %s}]`, name, fields[name]))
	}
	for _, name := range remove {
		patches = append(patches, fmt.Sprintf(`(has(object.spec.%[1]s) ? [JSONPatch{op: "remove", path: "/spec/%[1]s"}] : [])`, name))
	}
	return strings.Join(patches, " + ")
}

func sortedKeys(m map[string]string) []string {
	keys := make([]string, 0, len(m))
	for key := range m {
		keys = append(keys, key)
	}
	slices.Sort(keys)
	return keys
}
