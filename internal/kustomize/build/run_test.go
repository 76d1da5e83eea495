package build

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/gitops-toolkit/flux/internal/kustomize/substitute"
)

// customSchema makes containers of a Widget mergeable by name, which kustomize does not know by itself.
const customSchema = `{"definitions": {"v1.Widget": {"properties": {
  "apiVersion": {"type": "string"}, "kind": {"type": "string"}, "metadata": {"type": "object"},
  "spec": {"properties": {"parts": {"type": "array", "items": {"type": "object"}, "x-kubernetes-patch-merge-key": "name", "x-kubernetes-patch-strategy": "merge"}}, "type": "object"}},
  "type": "object", "x-kubernetes-group-version-kind": [{"group": "example.com", "kind": "Widget", "version": "v1"}]}}}`

const (
	widget      = "apiVersion: example.com/v1\nkind: Widget\nmetadata: {name: w}\nspec: {parts: [{name: a, size: 1}, {name: b, size: 1}]}\n"
	widgetPatch = "apiVersion: example.com/v1\nkind: Widget\nmetadata: {name: w}\nspec: {parts: [{name: b, size: 2}]}\n"
)

// TestSchemaIsIsolated runs builds with and without a schema of their own side by side: each sees only its own.
func TestSchemaIsIsolated(t *testing.T) {
	t.Parallel()
	files := map[string]string{
		"own/kustomization.yaml":     kustomization("resources: [w.yaml]", "patches: [{path: p.yaml}]", "openapi: {path: schema.json}"),
		"own/schema.json":            customSchema,
		"nested/kustomization.yaml":  kustomization("resources: [../own]"),
		"default/kustomization.yaml": kustomization("resources: [w.yaml]", "patches: [{path: p.yaml}]"),
		"bad/kustomization.yaml":     kustomization("resources: [w.yaml]", "patches: [{path: p.yaml}]", "openapi: {path: schema.json}"),
		"bad/schema.json":            `{"definitions": 1}`,
	}
	for _, dir := range []string{"own", "default", "bad"} {
		files[dir+"/w.yaml"], files[dir+"/p.yaml"] = widget, widgetPatch
	}
	root := write(t, files)
	parts := map[string]int{"own": 2, "nested": 2, "default": 1}
	var wait sync.WaitGroup
	for range 8 {
		for path, want := range parts {
			wait.Go(func() {
				result, err := Build(t.Context(), Options{Root: root, Path: path})
				if err != nil {
					t.Errorf("%s: %v", path, err)
					return
				}
				if got := strings.Count(string(result.YAML), "size:"); got != want {
					t.Errorf("%s: %d parts, want %d", path, got, want)
				}
			})
		}
		wait.Go(func() {
			if _, err := Build(t.Context(), Options{Root: root, Path: "bad"}); err == nil {
				t.Error("bad: no error")
			}
		})
	}
	wait.Wait()
}

func TestBuildEndsWithItsContext(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancelCause(t.Context())
	cause := errors.New("superseded")
	cancel(cause)
	if _, err := Build(ctx, Options{Root: write(t, map[string]string{"a.yaml": cmA})}); !errors.Is(err, cause) {
		t.Errorf("error = %v, want the cause of the cancelled context", err)
	}
}

func TestPanicsBecomeErrors(t *testing.T) {
	t.Parallel()
	step := func(context.Context, Text) ([]byte, error) { panic("boom") }
	_, err := Build(t.Context(), Options{Root: write(t, map[string]string{"a.yaml": cmA}), Substitute: step})
	if err == nil || !strings.Contains(err.Error(), "recovered from kustomize build panic: boom") {
		t.Errorf("error = %v, want the panic", err)
	}
}

// decryptObjects is a decryptor that finds nothing in files.
type decryptObjects func(*unstructured.Unstructured) ([]byte, error)

func (d decryptObjects) Object(_ context.Context, o *unstructured.Unstructured) ([]byte, error) {
	return d(o)
}

func (decryptObjects) Source(_ context.Context, content []byte, _ string, _ bool) ([]byte, bool, error) {
	return content, false, nil
}

func (decryptObjects) Redact(text string) string { return text }

func TestStepsRunInOrder(t *testing.T) {
	t.Parallel()
	root := write(t, map[string]string{"a.yaml": cmA})
	decrypt := decryptObjects(func(o *unstructured.Unstructured) ([]byte, error) {
		return []byte(`{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"` + o.GetName() + `"},"data":{"k":"${secret}"}}`), nil
	})
	result, err := Build(t.Context(), Options{
		Root: root, Decrypt: decrypt, Substitute: SubstituteStep(substitute.Variables{"secret": "s"}, true),
	})
	if err != nil || !strings.Contains(string(result.YAML), "k: s\n") {
		t.Errorf("built %v, %v; want the decrypted text substituted", result, err)
	}
	for want, opts := range map[string]Options{
		"decryption failed for 'ConfigMap.v1.[noGrp]/a': no key (in a.yaml)": {Decrypt: decryptObjects(func(*unstructured.Unstructured) ([]byte, error) {
			return nil, errors.New("no key")
		})},
		`post build failed for 'ConfigMap.v1.[noGrp]/a': envsubst error: variable substitution failed: variable not set (strict mode): "secret" (in a.yaml)`: {
			Decrypt: decrypt, Substitute: SubstituteStep(nil, true),
		},
	} {
		opts.Root = root
		if _, err := Build(t.Context(), opts); err == nil || err.Error() != want {
			t.Errorf("error = %v\nwant %s", err, want)
		}
	}
}

func TestSubstitutionCanBeSwitchedOff(t *testing.T) {
	t.Parallel()
	for reason, c := range map[string]struct{ metadata, want string }{
		"on":                   {"{name: x}", "k: v"},
		"off by annotation":    {"{name: x, annotations: {kustomize.toolkit.fluxcd.io/substitute: disabled}}", "k: ${a}"},
		"off by label":         {"{name: x, labels: {kustomize.toolkit.fluxcd.io/substitute: disabled}}", "k: ${a}"},
		"the case must match":  {"{name: x, labels: {kustomize.toolkit.fluxcd.io/substitute: Disabled}}", "k: v"},
		"a name is replaced":   {"{name: \"x-${a}\"}", "name: x-v"},
		"quotes make a string": {"{name: x, annotations: {note: \"${q}${one}${q}\"}}", `note: "1"`},
	} {
		root := write(t, map[string]string{"a.yaml": "apiVersion: v1\nkind: ConfigMap\nmetadata: " + c.metadata + "\ndata: {k: \"${a}\"}\n"})
		step := SubstituteStep(substitute.Variables{"a": "v", "one": "1", "q": `"`}, true)
		result, err := Build(t.Context(), Options{Root: root, Substitute: step})
		if err != nil || !strings.Contains(string(result.YAML), c.want) {
			t.Errorf("%s: built %+v, %v; want %q", reason, result, err, c.want)
		}
	}
}

func TestOrigins(t *testing.T) {
	t.Parallel()
	root := write(t, map[string]string{
		"plain/x/a.yaml":         cmA,
		"app/kustomization.yaml": kustomization("resources: [../base]", "namePrefix: p-", "configMapGenerator: [{name: g, literals: [a=b]}]"),
		"base/kustomization.yml": kustomization("resources: [b.yaml]"), "base/b.yaml": cmB,
	})
	plain, err := Build(t.Context(), Options{Root: root, Path: "plain"})
	if err != nil {
		t.Fatal(err)
	}
	if got := plain.Files[Key{Kind: "ConfigMap", Name: "a"}]; got != "plain/x/a.yaml" {
		t.Errorf("a generated kustomization knows its files at once, got %q", got)
	}
	files, err := Origins(t.Context(), Options{Root: root, Path: "app"})
	if err != nil {
		t.Fatal(err)
	}
	if got := files[Key{Kind: "ConfigMap", Name: "p-b"}]; got != "base/b.yaml" {
		t.Errorf("origin = %q, want base/b.yaml", got)
	}
	app, err := Build(t.Context(), Options{Root: root, Path: "app"})
	if err != nil || strings.Contains(string(app.YAML), "origin") {
		t.Errorf("origin annotations were left in the result: %v\n%s", err, app.YAML)
	}
	for key, file := range files {
		if strings.HasPrefix(key.Name, "p-g-") && file != "app/kustomization.yaml" {
			t.Errorf("origin of the generated ConfigMap = %q, want the file that configures it", file)
		}
	}
}

// TestKustomizeCannotEndTheProcess builds what makes kustomize call log.Fatal: name references with several targets,
// one of which cannot be written as JSON.
func TestKustomizeCannotEndTheProcess(t *testing.T) {
	t.Parallel()
	cm := func(ns, data string) string {
		return "---\napiVersion: v1\nkind: ConfigMap\nmetadata: {name: c, namespace: " + ns + "}\ndata: " + data + "\n"
	}
	cluster := "---\napiVersion: rbac.authorization.k8s.io/v1\nkind: ClusterRole\nmetadata: {name: r}\nrules: [{apiGroups: [\"\"], resources: [configmaps], verbs: [get], resourceNames: [c]}]\n"
	for _, bad := range []string{"{1: x}", "{a: .nan}", "{a: x, a: y}"} {
		root := write(t, map[string]string{
			"kustomization.yaml":     kustomization("resources: [one, two, role.yaml]"),
			"role.yaml":              cluster,
			"one/kustomization.yaml": kustomization("resources: [a.yaml]", "namePrefix: x-"), "one/a.yaml": cm("a1", "{}"),
			"two/kustomization.yaml": kustomization("resources: [a.yaml]", "namePrefix: y-"), "two/a.yaml": cm("a2", bad),
		})
		if _, err := Build(t.Context(), Options{Root: root}); err == nil || !strings.Contains(err.Error(), "two/a.yaml") {
			t.Errorf("%s: error = %v, want the file", bad, err)
		}
	}
}
