package build

import (
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

// write fills a temporary artifact.
func write(t testing.TB, files map[string]string) string {
	t.Helper()
	root := t.TempDir()
	for name, content := range files {
		path := filepath.Join(root, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if target, ok := strings.CutPrefix(content, "-> "); ok {
			if err := os.Symlink(target, path); err != nil {
				t.Fatal(err)
			}
			continue
		}
		if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return root
}

// compareDocument compares a built object with a recorded one, which carries owner labels.
func compareDocument(t *testing.T, what string, doc []byte, got *unstructured.Unstructured) {
	t.Helper()
	want, err := parse(doc)
	if err != nil {
		t.Fatal(err)
	}
	labels := want.GetLabels()
	for key := range labels {
		if strings.HasPrefix(key, "kustomize.toolkit.fluxcd.io/") {
			delete(labels, key)
		}
	}
	if len(labels) == 0 {
		unstructured.RemoveNestedField(want.Object, "metadata", "labels")
	} else {
		want.SetLabels(labels)
	}
	if !reflect.DeepEqual(want.Object, got.Object) {
		t.Errorf("%s: %s is\n%v\nupstream had\n%v", what, got.GetName(), got.Object, want.Object)
	}
}

// snapshot describes every file below a directory.
func snapshot(t *testing.T, root string) string {
	t.Helper()
	var all strings.Builder
	err := filepath.WalkDir(root, func(path string, entry os.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			all.WriteString(path + "/\n")
			return err
		}
		content, err := os.ReadFile(path)
		all.WriteString(path + "\n" + string(content) + "\n")
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return all.String()
}
