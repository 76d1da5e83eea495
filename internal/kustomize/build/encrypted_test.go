package build_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/gitops-toolkit/flux/internal/kustomize/build"
	"github.com/gitops-toolkit/flux/internal/kustomize/decrypt"
	"github.com/gitops-toolkit/flux/internal/kustomize/decrypt/decrypttest"
)

// vault seals for one age identity and opens again.
type vault struct {
	t      *testing.T
	seal   func(format, plain string) string
	opener *decrypt.Decryptor
	memo   []byte
}

func (v *vault) Load() []byte         { return v.memo }
func (v *vault) Store(content []byte) { v.memo = content }

func newVault(t *testing.T) *vault {
	t.Helper()
	identity, key := decrypttest.Identity(t)
	keys, err := decrypt.ParseKeys("apps/sops", map[string][]byte{"i.agekey": []byte(identity)})
	if err != nil {
		t.Fatal(err)
	}
	return &vault{t: t, opener: decrypt.New(decrypt.Options{Keys: keys}), seal: func(format, plain string) string {
		f := decrypttest.File{Format: format, Groups: decrypttest.Key(key)}
		if strings.Contains(plain, "kind: ") {
			f.Regex = "^(data|stringData)$"
		}
		return decrypttest.Encrypt(t, plain, f)
	}}
}

// build builds files, and fails when anything decrypted is in the directory afterwards.
func (v *vault) build(files map[string]string) (*build.Result, error) {
	v.t.Helper()
	root := v.t.TempDir()
	for name, content := range files {
		file := filepath.Join(root, name)
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			v.t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(content), 0o644); err != nil {
			v.t.Fatal(err)
		}
	}
	result, err := build.Build(v.t.Context(), build.Options{Root: root, Path: "app", Decrypt: v.opener, Memo: v})
	walkErr := filepath.WalkDir(root, func(path string, entry os.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		content, err := os.ReadFile(path)
		if strings.Contains(string(content), "canary") {
			v.t.Errorf("%s holds plaintext", path)
		}
		return err
	})
	if walkErr != nil {
		v.t.Fatal(walkErr)
	}
	return result, err
}

func find(t *testing.T, r *build.Result, kind, prefix string) *unstructured.Unstructured {
	t.Helper()
	for _, o := range r.Objects {
		if o.GetKind() == kind && strings.HasPrefix(o.GetName(), prefix) {
			return o
		}
	}
	t.Fatalf("no %s %s in\n%s", kind, prefix, r.YAML)
	return nil
}

func TestEncryptedSources(t *testing.T) {
	t.Parallel()
	v := newVault(t)
	files := map[string]string{
		"app/kustomization.yaml": `
resources: [../base, cm.yaml, whole.yaml]
secretGenerator:
- name: files
  files: [config.yaml=secret.enc, plain.txt, token.bin]
- name: envs
  envs: [vars.env.encrypted]
patches:
- path: patch.yaml
`,
		"app/secret.enc":          v.seal("yaml", "password: canary-file\n"),
		"app/plain.txt":           "not encrypted",
		"app/token.bin":           v.seal("binary", "canary-binary"),
		"app/vars.env.encrypted":  v.seal("dotenv", "PASSWORD=canary-env\nOTHER=x=y\n"),
		"app/patch.yaml":          v.seal("yaml", "apiVersion: v1\nkind: ConfigMap\nmetadata:\n    name: cm\ndata:\n    patched: canary-patch\n"),
		"app/cm.yaml":             "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: cm}\ndata: {a: b}\n",
		"app/whole.yaml":          v.seal("yaml", "apiVersion: v1\nkind: Secret\nmetadata:\n    name: whole\nstringData:\n    a: canary-whole\n"),
		"base/kustomization.yaml": "secretGenerator:\n- name: base\n  envs: [x.env]\n",
		"base/x.env":              v.seal("dotenv", "A=canary-base\n"),
	}
	result, err := v.build(files)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ kind, name, field, key, want string }{
		{"Secret", "files-", "data", "config.yaml", "cGFzc3dvcmQ6IGNhbmFyeS1maWxlCg=="},
		{"Secret", "files-", "data", "plain.txt", "bm90IGVuY3J5cHRlZA=="},
		{"Secret", "files-", "data", "token.bin", "Y2FuYXJ5LWJpbmFyeQ=="},
		{"Secret", "envs-", "data", "PASSWORD", "Y2FuYXJ5LWVudg=="},
		{"Secret", "envs-", "data", "OTHER", "eD15"},
		{"Secret", "base-", "data", "A", "Y2FuYXJ5LWJhc2U="},
		{"Secret", "whole", "stringData", "a", "canary-whole"},
		{"ConfigMap", "cm", "data", "patched", "canary-patch"},
		{"ConfigMap", "cm", "data", "a", "b"},
	} {
		got, _, _ := unstructured.NestedString(find(t, result, c.kind, c.name).Object, c.field, c.key)
		if got != c.want {
			t.Errorf("%s %s: %s is %q, want %q", c.kind, c.name, c.key, got, c.want)
		}
	}
	if !result.Decrypted || !result.Sensitive[build.Key{Kind: "ConfigMap", Name: "cm"}] {
		t.Errorf("decrypted %v, sensitive %v", result.Decrypted, result.Sensitive)
	}
	again := newVault(t)
	other, err := again.build(map[string]string{
		"app/kustomization.yaml": "secretGenerator:\n- name: envs\n  envs: [vars.env]\n",
		"app/vars.env":           again.seal("dotenv", "PASSWORD=canary-env\nOTHER=x=y\n"),
	})
	if err != nil {
		t.Fatal(err)
	}
	if a, b := find(t, result, "Secret", "envs-").GetName(), find(t, other, "Secret", "envs-").GetName(); a != b {
		t.Errorf("the same plaintext has two names, %s and %s: the hash must not be that of the ciphertext", a, b)
	}
}

func TestErrorsOfABuildTellNothingDecrypted(t *testing.T) {
	t.Parallel()
	v, stranger := newVault(t), newVault(t)
	for _, c := range []struct {
		name  string
		files map[string]string
		want  string
	}{
		{"an env file that is none", map[string]string{
			"app/kustomization.yaml": "secretGenerator:\n- name: s\n  envs: [x.env]\n",
			"app/x.env":              v.seal("binary", "canary-name=canary-value\xff\n"),
		}, "kustomize build failed: "},
		{"a patch that is none", map[string]string{
			"app/kustomization.yaml": "resources: [cm.yaml]\npatches:\n- path: patch.yaml\n",
			"app/cm.yaml":            "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: cm}\n",
			"app/patch.yaml":         v.seal("yaml", "password: canary-patch\n"),
		}, "kustomize build failed: "},
		{"a file for somebody else", map[string]string{
			"app/kustomization.yaml": "secretGenerator:\n- name: s\n  files: [x.yaml]\n",
			"app/x.yaml":             stranger.seal("yaml", "password: canary\n"),
		}, "error decrypting sources: file 'app/x.yaml': cannot get sops data key: age age1"},
		{"an object for somebody else", map[string]string{
			"app/s.yaml": stranger.seal("yaml", "apiVersion: v1\nkind: Secret\nmetadata:\n    name: s\ndata:\n    a: Y2FuYXJ5\n"),
		}, "decryption failed for 'Secret.v1.[noGrp]/s': cannot get sops data key: age age1"},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := v.build(c.files)
			if err == nil || !strings.HasPrefix(err.Error(), c.want) {
				t.Fatalf("got %v, want %q", err, c.want)
			}
			if strings.Contains(err.Error(), "canary") || strings.Contains(err.Error(), "99 97 110 97 114 121") {
				t.Errorf("it tells a secret: %v", err)
			}
		})
	}
}

// TestEncryptedList decrypts a List that was encrypted as one object, small or large, and keeps nothing of it.
func TestEncryptedList(t *testing.T) {
	t.Parallel()
	v := newVault(t)
	for _, items := range []int{2, 80} {
		list := "apiVersion: v1\nkind: List\nitems:\n"
		for i := range items {
			list += fmt.Sprintf("    - apiVersion: v1\n      kind: ConfigMap\n      metadata:\n        name: cm-%d\n      data:\n        a: canary-%d\n", i, i)
		}
		list += "    - apiVersion: v1\n      kind: Secret\n      metadata:\n        name: s\n      stringData:\n        a: canary-s\n"
		result, err := v.build(map[string]string{"app/list.yaml": v.seal("yaml", list)})
		if err != nil {
			t.Fatal(err)
		}
		if got, _, _ := unstructured.NestedString(find(t, result, "Secret", "s").Object, "stringData", "a"); got != "canary-s" {
			t.Errorf("the Secret holds %q", got)
		}
		key := build.Key{Kind: "ConfigMap", Name: "cm-1"}
		if got, _, _ := unstructured.NestedString(find(t, result, "ConfigMap", "cm-1").Object, "data", "a"); got != "canary-1" || !result.Sensitive[key] || !result.Decrypted {
			t.Errorf("the ConfigMap holds %q, sensitive %v, decrypted %v", got, result.Sensitive[key], result.Decrypted)
		}
		if strings.Contains(string(v.memo), "canary") {
			t.Error("something decrypted is kept")
		}
	}
}
