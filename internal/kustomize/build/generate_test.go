package build

import (
	"slices"
	"strings"
	"testing"

	"sigs.k8s.io/kustomize/api/types"
	sigsyaml "sigs.k8s.io/yaml"
)

const (
	cmA = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\ndata: {k: v}\n"
	cmB = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: b}\n"
	dep = `apiVersion: apps/v1
kind: Deployment
metadata: {name: web, labels: {app: web}}
spec:
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec: {containers: [{name: web, image: "nginx:1.0"}]}
`
)

func kustomization(lines ...string) string {
	return "apiVersion: kustomize.config.k8s.io/v1beta1\nkind: Kustomization\n" + strings.Join(lines, "\n") + "\n"
}

func names(result *Result) []string {
	var all []string
	for _, o := range result.Objects {
		name := o.GetKind() + "/" + o.GetName()
		if o.GetNamespace() != "" {
			name = o.GetKind() + "/" + o.GetNamespace() + "/" + o.GetName()
		}
		all = append(all, name)
	}
	return all
}

func TestBuildFinds(t *testing.T) {
	t.Parallel()
	for reason, c := range map[string]struct {
		files map[string]string
		path  string
		spec  Spec
		want  []string
	}{
		"every manifest below the path, in lexical order, both extensions, hidden ones too": {
			files: map[string]string{"b.yaml": cmB, "a.yml": cmA, ".hidden/d.yaml": dep, "x.json": "{}", "notes.txt": "x"},
			want:  []string{"Deployment/web", "ConfigMap/a", "ConfigMap/b"},
		},
		"a directory with a kustomization of its own is one entry": {
			files: map[string]string{"sub/kustomization.yml": kustomization("resources: [a.yaml]"), "sub/a.yaml": cmA, "sub/ignored.yaml": cmB},
			want:  []string{"ConfigMap/a"},
		},
		"the path's own kustomization is used": {
			files: map[string]string{"Kustomization": kustomization("resources: [b.yaml]", "namePrefix: p-"), "a.yaml": cmA, "b.yaml": cmB},
			want:  []string{"ConfigMap/p-b"},
		},
		"nothing at all is an empty result": {
			files: map[string]string{"readme.md": "x"},
		},
		"a kustomization with nothing in it is an empty result": {
			files: map[string]string{"kustomization.yaml": kustomization()},
		},
		"only the path, wherever .. points": {
			files: map[string]string{"x/a.yaml": cmA, "y/b.yaml": cmB}, path: "../../y/../x",
			want: []string{"ConfigMap/a"},
		},
		"Lists are expanded, empty documents and local configuration dropped": {
			files: map[string]string{"l.yaml": "apiVersion: v1\nkind: List\nitems:\n- {apiVersion: v1, kind: ConfigMap, metadata: {name: i}}\n---\n---\n# nothing\n---\n" +
				"apiVersion: v1\nkind: ConfigMap\nmetadata: {name: local, annotations: {config.kubernetes.io/local-config: \"true\"}}\n"},
			want: []string{"ConfigMap/i"},
		},
		"namespace, prefix and suffix of the spec replace those of the file": {
			files: map[string]string{"kustomization.yaml": kustomization("resources: [a.yaml]", "namespace: old", "namePrefix: x-"), "a.yaml": cmA},
			spec:  Spec{TargetNamespace: "t", NamePrefix: "p-", NameSuffix: "-s"},
			want:  []string{"ConfigMap/t/p-a-s"},
		},
		"components, present and absent": {
			files: map[string]string{"app/a.yaml": cmA, "c/kustomization.yaml": "apiVersion: kustomize.config.k8s.io/v1alpha1\nkind: Component\nnamePrefix: c-\n"},
			path:  "app", spec: Spec{Components: []string{"../c", "../absent"}, IgnoreMissingComponents: true},
			want: []string{"ConfigMap/c-a"},
		},
		"a link inside the artifact": {
			files: map[string]string{"base/a.yaml": cmA, "app/kustomization.yaml": kustomization("resources: [link]"), "app/link": "-> ../base/a.yaml"},
			path:  "app", want: []string{"ConfigMap/a"},
		},
		"bases beside the path": {
			files: map[string]string{"base/kustomization.yaml": kustomization("resources: [a.yaml]"), "base/a.yaml": cmA, "app/kustomization.yaml": kustomization("resources: [../base]", "bases: [../second]"), "second/kustomization.yaml": kustomization("resources: [b.yaml]"), "second/b.yaml": cmB},
			path:  "app", want: []string{"ConfigMap/a", "ConfigMap/b"},
		},
	} {
		result, err := Build(t.Context(), Options{Root: write(t, c.files), Path: c.path, Spec: c.spec})
		if err != nil {
			t.Errorf("%s: %v", reason, err)
			continue
		}
		if got := names(result); !slices.Equal(got, c.want) {
			t.Errorf("%s: built %v, want %v", reason, got, c.want)
		}
	}
}

func TestBuildRefuses(t *testing.T) {
	t.Parallel()
	for reason, c := range map[string]struct {
		files  map[string]string
		path   string
		spec   Spec
		limits Limits
		want   []string // all must be in the text
	}{
		"missing path": {path: "absent", want: []string{"kustomization path not found: stat /artifact/absent: no such file or directory"}},
		"broken YAML, with file and line": {
			files: map[string]string{"x/cm.yaml": "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: x\n"},
			want:  []string{"failed to decode Kubernetes YAML from /artifact/x/cm.yaml: MalformedYAMLError: yaml: line", "; correct the file, or leave it out of the build"},
		},
		"broken YAML in a later document, with the line in the file": {
			files: map[string]string{"cm.yaml": cmA + "---\n" + cmB + "---\na: [\nb: 1\n"},
			want:  []string{"failed to decode Kubernetes YAML from /artifact/cm.yaml", "of the file); correct the file"},
		},
		"YAML that is no object": {
			files: map[string]string{"values.yaml": "replicas: 1\n"}, want: []string{"/artifact/values.yaml"},
		},
		"object without kind": {
			files: map[string]string{"x.yaml": "apiVersion: v1\nmetadata: {name: x}\n"}, want: []string{"/artifact/x.yaml", "kind", "; add "},
		},
		"unknown field of a kustomization": {
			files: map[string]string{"kustomization.yaml": kustomization("resurces: [a.yaml]")},
			want:  []string{"/artifact/kustomization.yaml", "resurces"},
		},
		"missing resource": {
			files: map[string]string{"kustomization.yaml": kustomization("resources: [a.yaml]")},
			want:  []string{"kustomize build failed: ", "a.yaml", "no such file"},
		},
		"object twice": {
			files: map[string]string{"a.yaml": cmA, "b.yaml": cmA},
			want:  []string{"kustomize build failed: ", "already registered id"},
		},
		"key twice": {
			files: map[string]string{"kustomization.yaml": kustomization("resources: [a.yaml]"), "a.yaml": cmA + "kind: Secret\n"},
			want:  []string{"/artifact/a.yaml", "already defined"},
		},
		"key that is no string": {
			files: map[string]string{"kustomization.yaml": kustomization("resources: [a.yaml]"), "a.yaml": cmB + "data: {1: x}\n"},
			want:  []string{"/artifact/a.yaml", "not a string"},
		},
		"resource outside by ..": {
			files: map[string]string{"kustomization.yaml": kustomization("resources: [../../etc/passwd]")},
			want:  []string{"'/etc/passwd' leads out of the artifact"},
		},
		"generator file outside by absolute path": {
			files: map[string]string{"kustomization.yaml": kustomization("configMapGenerator: [{name: x, files: [/etc/passwd]}]")},
			want:  []string{"'/etc/passwd' leads out of the artifact"},
		},
		"link outside": {
			files: map[string]string{"kustomization.yaml": kustomization("resources: [a.yaml]"), "a.yaml": "-> ../../../etc/passwd"},
			want:  []string{"link '/artifact/a.yaml'", "leads out of the artifact"},
		},
		"absolute link": {
			files: map[string]string{"a.yaml": "-> /etc/passwd"},
			want:  []string{"link '/artifact/a.yaml'", "'/etc/passwd' leads out of the artifact"},
		},
		"chain of links outside": {
			files: map[string]string{"kustomization.yaml": kustomization("resources: [a/b.yaml]"), "a": "-> d", "d/b.yaml": "-> ../e/c", "e/c": "-> ../../x"},
			want:  []string{"leads out of the artifact"},
		},
		"linked kustomization outside is not taken for a missing one": {
			files: map[string]string{"kustomization.yaml": "-> ../../x"},
			want:  []string{"link '/artifact/kustomization.yaml'"},
		},
		"links in a circle": {
			files: map[string]string{"kustomization.yaml": kustomization("resources: [a]"), "a": "-> b", "b": "-> a"},
			want:  []string{"too many links"},
		},
		"path that links outside": {
			files: map[string]string{"app": "-> ../.."}, path: "app", want: []string{"leads out of the artifact"},
		},
		"cyclic bases": {
			files: map[string]string{"a/kustomization.yaml": kustomization("resources: [../b]"), "b/kustomization.yaml": kustomization("resources: [../a]")},
			path:  "a", want: []string{"cycle detected"},
		},
		"base that is itself": {
			files: map[string]string{"kustomization.yaml": kustomization("resources: [.]")}, want: []string{"cycle detected"},
		},
		"component by URL": {
			files: map[string]string{"a.yaml": cmA}, spec: Spec{Components: []string{"https://example.com/c"}},
			want: []string{"component path 'https://example.com/c' must be local and relative"},
		},
		"component by absolute path": {
			files: map[string]string{"a.yaml": cmA}, spec: Spec{Components: []string{"/c"}},
			want: []string{"component path '/c' must be local and relative"},
		},
		"missing component": {
			files: map[string]string{"a.yaml": cmA}, spec: Spec{Components: []string{"c"}}, want: []string{"kustomize build failed: ", "/artifact/c"},
		},
		"alias bomb": {
			files: map[string]string{"a.yaml": bomb()}, want: []string{"/artifact/a.yaml", "aliases are expanded"},
		},
		"alias bomb in a patch of a base": {
			files: map[string]string{"kustomization.yaml": kustomization("resources: [b]"), "b/kustomization.yaml": kustomization("resources: [../a.yaml]", "patches: [{path: p.yaml}]"), "a.yaml": cmA, "b/p.yaml": bomb()},
			want:  []string{"/artifact/b/p.yaml", "aliases are expanded"},
		},
		"alias bomb in an inline patch": {
			files: map[string]string{"a.yaml": cmA}, spec: Spec{Patches: []types.Patch{{Patch: bomb()}}},
			want: []string{"aliases are expanded"},
		},
		"alias that contains itself": {
			files: map[string]string{"a.yaml": cmB + "data: &x {y: *x}\n"}, want: []string{"/artifact/a.yaml", "nested deeper"},
		},
		"deep nesting": {
			files: map[string]string{"a.yaml": cmB + "data: " + strings.Repeat("[", 5000) + strings.Repeat("]", 5000) + "\n"},
			want:  []string{"/artifact/a.yaml", "nested deeper"},
		},
		"large file": {
			files: map[string]string{"kustomization.yaml": kustomization("resources: [a.yaml]"), "a.yaml": cmA}, limits: Limits{FileSize: 50},
			want: []string{"'/artifact/kustomization.yaml' has", "more than the limit of 50"},
		},
		"large file behind a kustomization": {
			files: map[string]string{"kustomization.yaml": kustomization("resources: [b]"), "b/kustomization.yaml": kustomization("# " + strings.Repeat("x", 500))}, limits: Limits{FileSize: 200},
			want: []string{"'/artifact/b/kustomization.yaml' has"},
		},
		"many reads": {
			files: map[string]string{"a.yaml": cmA, "b.yaml": cmB}, limits: Limits{Reads: 5}, want: []string{"more than 5 files"},
		},
		"many bytes": {
			files: map[string]string{"a.yaml": cmA, "b.yaml": cmB}, limits: Limits{TotalSize: 100}, want: []string{"more than 100 bytes"},
		},
		"much output": {
			files: map[string]string{"a.yaml": cmA, "b.yaml": cmB}, limits: Limits{OutputSize: 80}, want: []string{"gives more than 80 bytes"},
		},
		"helm charts": {
			files: map[string]string{"kustomization.yaml": kustomization("helmCharts: [{name: x, repo: https://example.com}]")}, want: []string{"enable-helm"},
		},
		"exec plugin": {
			files: map[string]string{"kustomization.yaml": kustomization("generators: [g.yaml]"), "g.yaml": "apiVersion: example.com/v1\nkind: G\nmetadata: {name: g, annotations: {config.kubernetes.io/function: \"exec: {path: /bin/true}\"}}\n"},
			want:  []string{"kustomize build failed: "},
		},
	} {
		_, err := Build(t.Context(), Options{Root: write(t, c.files), Path: c.path, Spec: c.spec, Limits: c.limits})
		if err == nil {
			t.Errorf("%s: no error", reason)
			continue
		}
		for _, want := range c.want {
			if !strings.Contains(err.Error(), want) {
				t.Errorf("%s: error does not tell %q:\n%v", reason, want, err)
			}
		}
	}
}

// bomb is a manifest of a few hundred bytes that would expand to 10^9 nodes.
func bomb() string {
	var s strings.Builder
	s.WriteString(cmB + "data:\n  l0: &l0 x\n")
	for i := range 9 {
		id := string(rune('0' + i))
		s.WriteString("  l" + string(rune('1'+i)) + ": &l" + string(rune('1'+i)) + " [" + strings.Repeat("*l"+id+", ", 9) + "*l" + id + "]\n")
	}
	return s.String()
}

func TestMergeImages(t *testing.T) {
	t.Parallel()
	for reason, c := range map[string]struct{ old, spec, want types.Image }{
		"tag replaces digest":   {types.Image{Name: "a", Digest: "sha256:1"}, types.Image{Name: "a", NewTag: "2"}, types.Image{Name: "a", NewTag: "2"}},
		"digest replaces tag":   {types.Image{Name: "a", NewTag: "1"}, types.Image{Name: "a", Digest: "sha256:2"}, types.Image{Name: "a", Digest: "sha256:2"}},
		"name alone keeps tag":  {types.Image{Name: "a", NewTag: "1"}, types.Image{Name: "a", NewName: "b"}, types.Image{Name: "a", NewName: "b", NewTag: "1"}},
		"tag alone keeps name":  {types.Image{Name: "a", NewName: "b"}, types.Image{Name: "a", NewTag: "1"}, types.Image{Name: "a", NewName: "b", NewTag: "1"}},
		"nothing given changes": {types.Image{Name: "a", NewName: "b", NewTag: "1"}, types.Image{Name: "a"}, types.Image{Name: "a", NewName: "b", NewTag: "1"}},
	} {
		if got := mergeImage([]types.Image{c.old}, c.spec); len(got) != 1 || got[0] != c.want {
			t.Errorf("%s: %+v, want %+v", reason, got, c.want)
		}
	}
	if got := mergeImage([]types.Image{{Name: "a"}}, types.Image{Name: "b", NewTag: "1"}); len(got) != 2 {
		t.Errorf("an image of another name is appended, got %+v", got)
	}
}

func TestSpecIsMerged(t *testing.T) {
	t.Parallel()
	root := write(t, map[string]string{"kustomization.yaml": kustomization("resources: [d.yaml]", "images: [{name: nginx, newTag: \"1.1\"}]",
		"patches: [{patch: '[{\"op\": \"add\", \"path\": \"/spec/replicas\", \"value\": 1}]', target: {kind: Deployment}}]"), "d.yaml": dep})
	result, err := Build(t.Context(), Options{Root: root, Spec: Spec{
		Images: []types.Image{{Name: "nginx", Digest: "sha256:24a0c4b4a4c0eb97a1aabb8e29f18e917d05abfe1b7a7c07857230879ce7d3d3"}},
		Patches: []types.Patch{
			{Patch: `[{"op": "replace", "path": "/spec/replicas", "value": 2}]`, Target: &types.Selector{LabelSelector: "app=web"}},
			{Patch: "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: web, annotations: {a: b}}\n"},
		},
		PatchesStrategicMerge: []string{"apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: web}\nspec: {paused: true}\n"},
		BuildMetadata:         []string{types.OriginAnnotations},
	}})
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"replicas: 2", "a: b", "paused: true", "config.kubernetes.io/origin: |\n      path: d.yaml",
		"image: nginx@sha256:24a0c4b4a4c0eb97a1aabb8e29f18e917d05abfe1b7a7c07857230879ce7d3d3",
	} {
		if !strings.Contains(string(result.YAML), want) {
			t.Errorf("no %q in\n%s", want, result.YAML)
		}
	}
}

func TestBuildWritesNothing(t *testing.T) {
	t.Parallel()
	root := write(t, map[string]string{"app/kustomization.yaml": kustomization("resources: [a.yaml]"), "app/a.yaml": cmA, "plain/b.yaml": cmB})
	before := snapshot(t, root)
	for _, path := range []string{"app", "plain"} {
		if _, err := Build(t.Context(), Options{Root: root, Path: path, Spec: Spec{TargetNamespace: "x"}}); err != nil {
			t.Fatal(err)
		}
	}
	if after := snapshot(t, root); before != after {
		t.Errorf("the artifact was changed:\n%s\nwas\n%s", after, before)
	}
}

func TestGeneratedKustomizationIsPlain(t *testing.T) {
	t.Parallel()
	content, err := sigsyaml.Marshal(generatedFor([]source{{path: "a.yaml"}, {path: "sub"}}))
	if err != nil {
		t.Fatal(err)
	}
	want := "apiVersion: kustomize.config.k8s.io/v1beta1\nkind: Kustomization\nresources:\n- a.yaml\n- sub\n"
	if string(content) != want {
		t.Errorf("generated\n%s\nwant\n%s", content, want)
	}
}
