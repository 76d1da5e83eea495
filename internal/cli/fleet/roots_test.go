package fleet

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

func writeTree(t *testing.T, files map[string]string) *tree {
	t.Helper()
	dir := t.TempDir()
	for name, text := range files {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	copied, err := copyTree(t.Context(), dir, filepath.Join(t.TempDir(), "copy"))
	if err != nil {
		t.Fatal(err)
	}
	return copied
}

func kustomization(name, path string) string {
	return "apiVersion: kustomize.toolkit.fluxcd.io/v1\nkind: Kustomization\nmetadata: {name: " + name + ", namespace: flux-system}\n" +
		"spec: {path: " + path + ", sourceRef: {kind: GitRepository, name: flux-system}}\n"
}

func TestRoots(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		reason string
		files  map[string]string
		want   []string // path, and files where they are applied one by one
		err    bool
	}{
		"bootstrapped": {
			reason: "a Kustomization that applies its own directory is where a cluster begins",
			files: map[string]string{
				"clusters/a/flux-system/gotk-sync.yaml": "# generated\n---\n" + kustomization("flux-system", "./clusters/a"),
				"clusters/b/flux-system/gotk-sync.yaml": kustomization("flux-system", "./clusters/b"),
				"clusters/b/apps.yaml":                  kustomization("apps", "./apps"),
			},
			want: []string{"clusters/a", "clusters/b"},
		},
		"directories": {
			reason: "without one, every topmost directory with Kustomizations that nothing applies",
			files: map[string]string{
				"clusters/a/apps.yaml": kustomization("apps", "./apps"), "clusters/a/more/x.yaml": kustomization("x", "./x"),
				"clusters/b/apps.yaml": kustomization("apps", "./apps"), "apps/nested.yaml": kustomization("nested", "./nested"),
			},
			want: []string{"clusters/a", "clusters/b"},
		},
		"around": {
			reason: "a directory with what it applies below it is not applied whole",
			files:  map[string]string{"fleet.yaml": kustomization("apps", "./apps"), "apps/cm.yaml": "kind: ConfigMap\n"},
			want:   []string{".", "fleet.yaml"},
		},
		"everything of another source": {
			reason: "a Kustomization that applies all of somebody else's source, or of a part, begins no cluster",
			files: map[string]string{
				"clusters/a/flux-system/gotk-sync.yaml": kustomization("flux-system", "./clusters/a"),
				"clusters/a/other.yaml": strings.ReplaceAll(kustomization("podinfo", "./"), "kind: GitRepository, name: flux-system", "kind: OCIRepository, name: podinfo") +
					"---\n" + strings.ReplaceAll(kustomization("part", "./"), "kind: GitRepository, name: flux-system", "kind: ExternalArtifact, name: part"),
			},
			want: []string{"clusters/a"},
		},
		"everything of another repository, without an entry": {
			files: map[string]string{"apps/podinfo.yaml": strings.ReplaceAll(kustomization("podinfo", "./"), "name: flux-system}}", "name: podinfo}}") +
				"---\napiVersion: source.toolkit.fluxcd.io/v1\nkind: GitRepository\nmetadata: {name: podinfo, namespace: flux-system}\nspec: {url: https://example.com/podinfo}\n"},
			want: []string{"apps"},
		},
		"an artifact": {
			reason: "a cluster may begin with the OCIRepository into which the repository is pushed",
			files:  map[string]string{"clusters/a/sync.yaml": strings.ReplaceAll(kustomization("flux-system", "./clusters/a"), "kind: GitRepository", "kind: OCIRepository")},
			want:   []string{"clusters/a"},
		},
		"none": {files: map[string]string{"apps/cm.yaml": "apiVersion: v1\nkind: ConfigMap\n"}, err: true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			roots, err := choose(writeTree(t, c.files), nil)
			if (err != nil) != c.err {
				t.Fatalf("error %v", err)
			}
			var got []string
			for _, r := range roots {
				got = append(append(got, r.path), r.files...)
			}
			if !slices.Equal(got, c.want) {
				t.Errorf("got %v, want %v: %s", got, c.want, c.reason)
			}
		})
	}
}

func TestChosenPath(t *testing.T) {
	t.Parallel()
	files := map[string]string{"clusters/a/apps.yaml": kustomization("apps", "./apps"), "other/x.yaml": "kind: ConfigMap\n"}
	roots, err := choose(writeTree(t, files), []string{"./other/"})
	if err != nil || len(roots) != 1 || roots[0].path != "other" || roots[0].source != home {
		t.Errorf("%+v, %v", roots, err)
	}
	if _, err := choose(writeTree(t, files), []string{"absent"}); err == nil {
		t.Error("a directory that is not there was taken")
	}
}

func TestWhere(t *testing.T) {
	t.Parallel()
	tree := writeTree(t, map[string]string{"a.yaml": "# first\n" + kustomization("one", "./x") + "---\n# second\n\n" + kustomization("two", "./y")})
	for i, want := range []string{"a.yaml:2", "a.yaml:9"} {
		if got := tree.at(tree.docs[i].Ref, "."); got != want {
			t.Errorf("%s is at %s, want %s", tree.docs[i].Ref, got, want)
		}
	}
	tree = writeTree(t, map[string]string{"clusters/a/x.yaml": kustomization("apps", "./a"), "clusters/b/x.yaml": kustomization("apps", "./b")})
	for cluster, want := range map[string]string{"clusters/a": "clusters/a/x.yaml:1", "clusters/b": "clusters/b/x.yaml:1", "clusters": "", "other": ""} {
		if got := tree.at(tree.docs[0].Ref, cluster); got != want {
			t.Errorf("in %s it is at %q, want %q", cluster, got, want)
		}
	}
}

func TestOtherSources(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for args, want := range map[string]string{
		"GitRepository/ns/name":                                      "write <kind>/<namespace>/<name>=<directory>",
		"GitRepository/name=" + dir:                                  "write <kind>/<namespace>/<name>=<directory>",
		"HelmChart/ns/name=" + dir:                                   "no directory can stand for a HelmChart; the kind is one of GitRepository, OCIRepository, Bucket",
		"Bucket/ns/name=" + filepath.Join(dir, "none"):               "is no directory",
		"Bucket/ns/b=" + dir + " Bucket/ns/b=" + dir:                 "there is another directory for it",
		"Bucket/ns/b=" + dir + " HelmRepository/ns/b=" + dir:         "",
		"ExternalArtifact/ns/b=" + dir + " OCIRepository/a/b=" + dir: "",
	} {
		f := &flags{sources: strings.Fields(args)}
		got, err := f.others(t.Context(), t.TempDir())
		if want == "" && (err != nil || len(got) != len(f.sources)) || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
			t.Errorf("%s: %v, want %q", args, err, want)
		}
	}
}

func TestChartsOfADirectory(t *testing.T) {
	t.Parallel()
	meta := func(name string) string { return "apiVersion: v2\nname: " + name + "\nversion: 1.0.0\n" }
	charts, err := chartsIn(writeTree(t, map[string]string{
		"README.md": "x", "stable/a/Chart.yaml": meta("a"), "stable/a/charts/inner/Chart.yaml": meta("inner"),
		"stable/a/templates/x.yaml": "x: y", "b/Chart.yaml": meta("b"), "other.tgz": "no chart",
	}))
	if err != nil || len(charts) != 2 || charts[0].file() != "b-1.0.0.tgz" || charts[1].file() != "a-1.0.0.tgz" || charts[0].root {
		t.Errorf("%+v, %v", charts, err)
	}
	charts, err = chartsIn(writeTree(t, map[string]string{"Chart.yaml": meta("whole"), "values.yaml": "a: b"}))
	if err != nil || len(charts) != 1 || !charts[0].root {
		t.Errorf("%+v, %v", charts, err)
	}
}
