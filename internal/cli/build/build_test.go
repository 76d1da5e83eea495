package build

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"sigs.k8s.io/yaml"

	kustomizev1 "github.com/gitops-toolkit/flux/api/kustomize/v1"
	"github.com/gitops-toolkit/flux/internal/kustomize/decrypt/decrypttest"
)

// built builds files below a working copy with the flags and a spec, and returns the YAML of all objects.
func built(t *testing.T, flags Flags, spec string, files map[string]string) (string, error) {
	t.Helper()
	root := t.TempDir()
	files[".git/HEAD"] = ""
	for name, content := range files {
		file := filepath.Join(root, name)
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	obj := &kustomizev1.Kustomization{}
	if err := yaml.UnmarshalStrict([]byte(spec), &obj.Spec); err != nil {
		t.Fatal(err)
	}
	b := &Builder{Flags: flags}
	objects, err := b.Build(t.Context(), obj, filepath.Join(root, "apps/web"))
	var all strings.Builder
	for _, o := range objects {
		text, err := yaml.Marshal(o.Object)
		if err != nil {
			t.Fatal(err)
		}
		all.Write(text)
	}
	return all.String(), err
}

func configMap(name string) string {
	return "apiVersion: v1\nkind: ConfigMap\nmetadata:\n    name: " + name + "\ndata:\n    key: canary\n"
}

// TestIgnoredFiles leaves out what is not in an artifact, and what a flag names below the path.
func TestIgnoredFiles(t *testing.T) {
	t.Parallel()
	out, err := built(t, Flags{Ignore: []string{"/drafts/**/*.yaml", "values.yaml"}}, "{}", map[string]string{
		".sourceignore":              "*.tpl.yaml\n",
		"elsewhere/.sourceignore/x":  "nobody looks here",
		"apps/.sourceignore":         "/web/ci\n",
		"apps/web/cm.yaml":           configMap("kept"),
		"apps/web/x.tpl.yaml":        "{{ no YAML",
		"apps/web/ci/pipeline.yaml":  "no: object",
		"apps/web/drafts/a/b.yaml":   "no: object",
		"apps/web/sub/values.yaml":   "no: object",
		"apps/web/sub/drafts/c.yaml": configMap("deeper"),
	})
	if err != nil || !strings.Contains(out, "name: kept") || !strings.Contains(out, "name: deeper") {
		t.Errorf("%v\n%s", err, out)
	}
	if _, err = built(t, Flags{}, "{}", map[string]string{"apps/web/cm.yaml": configMap("kept"), "apps/web/.sops.yaml": "creation_rules: []"}); err != nil {
		t.Errorf("what no artifact has is not left out: %v", err)
	}
}

// TestLegacyFields builds what a Kustomization of a beta version says.
func TestLegacyFields(t *testing.T) {
	t.Parallel()
	out, err := built(t, Flags{}, `
patchesStrategicMerge: [{apiVersion: v1, kind: ConfigMap, metadata: {name: cm}, data: {merged: "1"}}]
patchesJson6902: [{target: {version: v1, kind: ConfigMap, name: cm}, patch: [{op: add, path: /data/added, value: "2"}]}]
`, map[string]string{"apps/web/cm.yaml": configMap("cm")})
	if err != nil || !strings.Contains(out, "merged: \"1\"") || !strings.Contains(out, "added: \"2\"") {
		t.Errorf("%v\n%s", err, out)
	}
}

// TestEncryptedIsMasked shows neither what is encrypted nor what encrypts it.
func TestEncryptedIsMasked(t *testing.T) {
	t.Parallel()
	_, key := decrypttest.Identity(t)
	seal := func(format, regex, content string) string {
		return decrypttest.Encrypt(t, content, decrypttest.File{Format: format, Regex: regex, Groups: decrypttest.Key(key)})
	}
	out, err := built(t, Flags{}, "{}", map[string]string{
		"apps/web/kustomization.yaml": "resources: [secret.yaml, cm.yaml, thing.yaml]\nsecretGenerator:\n- name: made\n  files: [a.bin, plain.txt]\n  envs: [vars.env]\n",
		"apps/web/secret.yaml":        seal("yaml", "^(data|stringData)$", "apiVersion: v1\nkind: Secret\nmetadata:\n    name: s\nstringData:\n    value: canary\n"),
		"apps/web/cm.yaml":            seal("yaml", "^key$", configMap("cm")),
		"apps/web/thing.yaml":         seal("yaml", "^secret$", "apiVersion: example.com/v1\nkind: Thing\nmetadata:\n    name: t\nspec:\n    open: visible\n    list:\n        - secret: canary\n"),
		"apps/web/a.bin":              seal("binary", "", "canary"),
		"apps/web/plain.txt":          "plain",
		"apps/web/vars.env":           seal("dotenv", "", "TOKEN=canary\n"),
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"value: '**SOPS**'", "key: '**SOPS**'", "secret: '**SOPS**'", "open: visible", "a.bin: '**SOPS**'", "plain.txt: cGxhaW4=", "TOKEN: '**SOPS**'"} {
		if !strings.Contains(out, want) {
			t.Errorf("lacks %s:\n%s", want, out)
		}
	}
	for _, never := range []string{"canary", "ENC[", "sops", "RU5D"} {
		if strings.Contains(out, never) {
			t.Errorf("tells %q:\n%s", never, out)
		}
	}
}

// TestSubstitution says which object lacks which variable; without a cluster, what lies there is left out.
func TestSubstitution(t *testing.T) {
	t.Parallel()
	spec := "postBuild: {substitute: {there: canary}, substituteFrom: [{kind: Secret, name: in-the-cluster}]}\n" +
		"commonMetadata: {labels: {kustomize.toolkit.fluxcd.io/name: theirs}}\n"
	files := map[string]string{"apps/web/cm.yaml": strings.ReplaceAll(configMap("a"), "canary", "${there} ${absent}")}
	out, err := built(t, Flags{}, spec, files)
	if err != nil || !strings.Contains(out, "key: 'canary '\n") && !strings.Contains(out, "key: canary\n") {
		t.Errorf("%v\n%s", err, out)
	}
	if !strings.Contains(out, "kustomize.toolkit.fluxcd.io/name: theirs\n") {
		t.Errorf("the controller lets commonMetadata win over its own labels:\n%s", out)
	}
	_, err = built(t, Flags{Strict: true}, spec, files)
	const want = `var substitution failed for 'a': envsubst error: variable substitution failed: variable not set (strict mode): "absent"`
	if err == nil || err.Error() != want {
		t.Errorf("error = %v, want %s", err, want)
	}
}
