package build

import (
	"maps"
	"testing"
)

func TestInputsUnchanged(t *testing.T) {
	t.Parallel()
	files := map[string]string{
		"app/kustomization.yaml":  kustomization("resources: [../base, link]", "components: [../comp]"),
		"app/link":                "-> ../shared/b.yaml",
		"shared/b.yaml":           cmB,
		"comp/kustomization.yaml": "apiVersion: kustomize.config.k8s.io/v1alpha1\nkind: Component\nnameSuffix: -c\n",
		"base/kustomization.yaml": kustomization("resources: [a.yaml]"),
		"base/a.yaml":             cmA,
		"other/x.yaml":            cmA,
		"plain/deep/a.yaml":       cmA,
		"plain/b.yaml":            cmB,
		"plain/notes.txt":         "x",
	}
	for reason, c := range map[string]struct {
		path string
		set  map[string]string
		drop string
		same bool
	}{
		"the same":                           {path: "app", same: true},
		"another directory":                  {path: "app", set: map[string]string{"other/x.yaml": cmB, "new/y.yaml": cmA}, same: true},
		"a file beside a base's":             {path: "app", set: map[string]string{"base/unused.yaml": cmB}, same: true},
		"a base's file":                      {path: "app", set: map[string]string{"base/a.yaml": cmB}},
		"what a link names":                  {path: "app", set: map[string]string{"shared/b.yaml": cmA}},
		"where a link leads":                 {path: "app", set: map[string]string{"app/link": "-> ../other/x.yaml"}},
		"a second kustomization file":        {path: "app", set: map[string]string{"app/Kustomization": kustomization()}},
		"a component":                        {path: "app", set: map[string]string{"comp/kustomization.yaml": "apiVersion: kustomize.config.k8s.io/v1alpha1\nkind: Component\nnamePrefix: x-\n"}},
		"a resource gone":                    {path: "app", drop: "base/a.yaml"},
		"a new file in a generated path":     {path: "plain", set: map[string]string{"plain/deep/er/c.yaml": cmA}},
		"a file gone from a generated path":  {path: "plain", drop: "plain/b.yaml"},
		"a kustomization file that appears":  {path: "plain", set: map[string]string{"plain/deep/kustomization.yaml": kustomization()}},
		"a text file's content":              {path: "plain", set: map[string]string{"plain/notes.txt": "y"}, same: true},
		"a component that was ignored":       {path: "plain", set: map[string]string{"extra/kustomization.yaml": "apiVersion: kustomize.config.k8s.io/v1alpha1\nkind: Component\nnameSuffix: -c\n"}},
		"another file under the same limits": {path: "plain", set: map[string]string{"shared/b.yaml": cmA}, same: true},
	} {
		spec := Spec{}
		if c.path == "plain" {
			spec = Spec{Components: []string{"../extra"}, IgnoreMissingComponents: true}
		}
		result, err := Build(t.Context(), Options{Root: write(t, files), Path: c.path, Spec: spec})
		if err != nil {
			t.Fatalf("%s: %v", reason, err)
		}
		changed := maps.Clone(files)
		maps.Copy(changed, c.set)
		delete(changed, c.drop)
		root := write(t, changed)
		if got := result.Inputs.Unchanged(root); got != c.same {
			t.Errorf("%s: unchanged = %v, want %v", reason, got, c.same)
		}
		again, err := Build(t.Context(), Options{Root: root, Path: c.path, Spec: spec})
		if err != nil {
			continue
		}
		if got := again.Inputs.Digest() == result.Inputs.Digest(); got != c.same {
			t.Errorf("%s: digests equal = %v, want %v", reason, got, c.same)
		}
		if c.same && again.Digest != result.Digest {
			t.Errorf("%s: unchanged inputs, but the result differs", reason)
		}
	}
}

func TestInputsOfNothing(t *testing.T) {
	t.Parallel()
	var none *Inputs
	if none.Unchanged(t.TempDir()) || none.Digest() != "" {
		t.Error("no inputs are never unchanged")
	}
}
