package fleet

import (
	"os"
	"path/filepath"
	"slices"
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

func TestSameRepository(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		a, b string
		same bool
	}{
		{"ssh://git@github.com/org/fleet", "https://github.com/org/fleet.git", true},
		{"git@github.com:org/fleet.git", "ssh://git@GitHub.com:22/org/fleet", true},
		{"https://user@github.com/org/fleet/", "https://github.com/org/fleet", true},
		{"https://github.com/org/fleet", "https://github.com/org/apps", false},
		{"", "", false},
	} {
		if sameRepository(c.a, c.b) != c.same {
			t.Errorf("%s and %s: want %t", c.a, c.b, c.same)
		}
	}
}

func TestWhere(t *testing.T) {
	t.Parallel()
	tree := writeTree(t, map[string]string{"a.yaml": "# first\n" + kustomization("one", "./x") + "---\n# second\n\n" + kustomization("two", "./y")})
	for i, want := range []string{"a.yaml:2", "a.yaml:9"} {
		if got := tree.at(tree.docs[i].Ref); got != want {
			t.Errorf("%s is at %s, want %s", tree.docs[i].Ref, got, want)
		}
	}
}
