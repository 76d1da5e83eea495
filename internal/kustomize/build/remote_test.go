package build

import (
	"context"
	"errors"
	"strings"
	"testing"
)

func TestRemoteIsRecognised(t *testing.T) {
	t.Parallel()
	for ref, want := range map[string]bool{
		"https://example.com/x.yaml": true, "HTTP://example.com/x": true, "git::https://example.com/r": true,
		"ssh://git@example.com/r": true, "git@example.com:o/r": true, "file:///etc": true, "github.com/o/r//p?ref=v1": true,
		"GitHub.com/o/r": true, "git::../x": true,
		"../base": false, "a.yaml": false, "./github.com/x": false, "a:b": false, "": false,
	} {
		if got := isRemote(ref); got != want {
			t.Errorf("isRemote(%q) = %v, want %v", ref, got, want)
		}
	}
}

// TestRemoteIsRefused checks that nothing reaches kustomize that it would take to the network. The host does not
// exist, so a request would give another error.
func TestRemoteIsRefused(t *testing.T) {
	t.Parallel()
	const url = "https://user:secret@remote.invalid/x.yaml?token=secret"
	plugin := "apiVersion: builtin\nkind: PatchTransformer\nmetadata: {name: p}\npath: " + url + "\n"
	for reason, files := range map[string]map[string]string{
		"resource":             {"kustomization.yaml": kustomization("resources: ['" + url + "']")},
		"resource of a base":   {"kustomization.yaml": kustomization("resources: [b]"), "b/kustomization.yaml": kustomization("resources: ['" + url + "']")},
		"base":                 {"kustomization.yaml": kustomization("bases: [github.com/o/r]")},
		"component":            {"kustomization.yaml": kustomization("components: ['git@remote.invalid:o/r']")},
		"patch":                {"kustomization.yaml": kustomization("resources: [a.yaml]", "patches: [{path: '"+url+"'}]"), "a.yaml": cmA},
		"old patch":            {"kustomization.yaml": kustomization("resources: [a.yaml]", "patchesStrategicMerge: ['"+url+"']"), "a.yaml": cmA},
		"generator file":       {"kustomization.yaml": kustomization("configMapGenerator: [{name: g, files: ['k=" + url + "']}]")},
		"generator env":        {"kustomization.yaml": kustomization("secretGenerator: [{name: g, envs: ['" + url + "']}]")},
		"configuration":        {"kustomization.yaml": kustomization("resources: [a.yaml]", "configurations: ['"+url+"']"), "a.yaml": cmA},
		"schema":               {"kustomization.yaml": kustomization("resources: [a.yaml]", "openapi: {path: '"+url+"'}"), "a.yaml": cmA},
		"replacement":          {"kustomization.yaml": kustomization("resources: [a.yaml]", "replacements: [{path: '"+url+"'}]"), "a.yaml": cmA},
		"transformer":          {"kustomization.yaml": kustomization("resources: [a.yaml]", "transformers: ['"+url+"']"), "a.yaml": cmA},
		"transformer's config": {"kustomization.yaml": kustomization("resources: [a.yaml]", "transformers: [t.yaml]"), "a.yaml": cmA, "t.yaml": plugin},
		"inline transformer":   {"kustomization.yaml": kustomization("resources: [a.yaml]", "transformers:\n- |\n  "+strings.ReplaceAll(plugin, "\n", "\n  ")), "a.yaml": cmA},
	} {
		_, err := Build(t.Context(), Options{Root: write(t, files)})
		var remote *RemoteError
		if !errors.As(err, &remote) {
			t.Errorf("%s: error = %v, want a refusal", reason, err)
			continue
		}
		if strings.Contains(err.Error(), "secret") {
			t.Errorf("%s: the error tells a credential: %v", reason, err)
		}
		if !strings.Contains(err.Error(), "/artifact/") {
			t.Errorf("%s: the error does not name the file: %v", reason, err)
		}
	}
}

// directory serves one directory for every URL.
type directory struct {
	dir, path string
	asked     []string
}

func (d *directory) Fetch(_ context.Context, url string) (string, string, error) {
	d.asked = append(d.asked, url)
	if d.dir == "" {
		return "", "", errors.New("no such host")
	}
	return d.dir, d.path, nil
}

func TestRemoteIsFetched(t *testing.T) {
	t.Parallel()
	root := write(t, map[string]string{
		"app/kustomization.yaml": kustomization("resources: ['https://example.com/r//base?ref=v1', 'https://example.com/f.yaml']", "namePrefix: p-"),
	})
	copied := write(t, map[string]string{"base/kustomization.yaml": kustomization("resources: [a.yaml]"), "base/a.yaml": cmA})
	both := &twoFetchers{repository: directory{dir: copied, path: "base"}, file: directory{dir: write(t, map[string]string{"f.yaml": cmB}), path: "f.yaml"}}
	result, err := Build(t.Context(), Options{Root: root, Path: "app", Remote: both})
	if err != nil {
		t.Fatal(err)
	}
	if got := strings.Join(names(result), " "); got != "ConfigMap/p-a ConfigMap/p-b" {
		t.Errorf("built %s", got)
	}
	if result.Inputs.Unchanged(root) || result.Inputs.Digest() != "" {
		t.Error("a build that read something remote must not be skipped")
	}
	_, err = Build(t.Context(), Options{Root: root, Path: "app", Remote: &directory{}})
	if err == nil || !strings.Contains(err.Error(), "could not be fetched: no such host") {
		t.Errorf("error = %v, want the fetcher's", err)
	}
}

type twoFetchers struct{ repository, file directory }

func (f *twoFetchers) Fetch(ctx context.Context, url string) (string, string, error) {
	if strings.HasSuffix(url, ".yaml") {
		return f.file.Fetch(ctx, url)
	}
	return f.repository.Fetch(ctx, url)
}

// TestRemoteStaysInside checks that a fetched base cannot read beyond its copy.
func TestRemoteStaysInside(t *testing.T) {
	t.Parallel()
	root := write(t, map[string]string{"kustomization.yaml": kustomization("resources: ['https://example.com/r']")})
	for reason, files := range map[string]map[string]string{
		"link": {"kustomization.yaml": kustomization("resources: [a.yaml]"), "a.yaml": "-> ../../../../etc/hosts"},
		"..":   {"kustomization.yaml": kustomization("resources: [../../etc/hosts]")},
	} {
		_, err := Build(t.Context(), Options{Root: root, Remote: &directory{dir: write(t, files)}})
		if err == nil || !strings.Contains(err.Error(), "leads out of the artifact") {
			t.Errorf("%s: error = %v", reason, err)
		}
	}
}

// TestNamesLikeAddresses builds files and directories whose names kustomize could take for something on a network.
func TestNamesLikeAddresses(t *testing.T) {
	t.Parallel()
	cm := func(name string) string {
		return "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: " + name + "}\n"
	}
	root := write(t, map[string]string{
		"plain/github.com/org/repo/kustomization.yaml":      kustomization("resources: [a.yaml]"),
		"plain/github.com/org/repo/a.yaml":                  cm("a"),
		"plain/git@example.com:org/repo/kustomization.yaml": kustomization("resources: [b.yaml]"),
		"plain/git@example.com:org/repo/b.yaml":             cm("b"),
		"plain/https:c.yaml":                                cm("c"),
		"plain/app@production.yaml":                         cm("d"),
		"own/kustomization.yaml":                            kustomization("resources: [app@production.yaml]"),
		"own/app@production.yaml":                           cm("e"),
	})
	for name, want := range map[string]int{"plain": 4, "own": 1} {
		result, err := Build(t.Context(), Options{Root: root, Path: name})
		if err != nil || len(result.Objects) != want {
			t.Errorf("%s: %v, want %d objects", name, err, want)
		}
	}
}
