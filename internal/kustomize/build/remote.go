//lint:file-ignore SA1019 people use the deprecated fields of kustomization.yaml, so they are merged and guarded as well

package build

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"
	"sigs.k8s.io/kustomize/api/konfig"
	"sigs.k8s.io/kustomize/api/types"
	sigsyaml "sigs.k8s.io/yaml"
)

// remoteMount is below which fetched copies appear.
const remoteMount = "/remote"

// RemoteError says that something on the network is referred to, which is not allowed.
type RemoteError struct{ File, URL string }

func (e *RemoteError) Error() string {
	return fmt.Sprintf("%s refers to '%s': remote bases are not allowed; copy it into the source, or refer to it as a source of its own", e.File, e.URL)
}

var (
	remoteScheme = regexp.MustCompile(`(?i)^(git::|[a-z][a-z0-9+.-]*://)`)
	remoteUser   = regexp.MustCompile(`^[A-Za-z][A-Za-z0-9-]*@`)
	remoteGitHub = regexp.MustCompile(`(?i)^github\.com[/:]`)
)

// isRemote recognises every form that kustomize would take to a network, and a few more.
func isRemote(ref string) bool {
	return remoteScheme.MatchString(ref) || remoteUser.MatchString(ref) || remoteGitHub.MatchString(ref)
}

// inspect sees every file before kustomize does. It notes a custom OpenAPI schema, and takes remote references out
// of kustomizations and of configurations of kustomize's own plugins.
func (b *builder) inspect(name string, content []byte) ([]byte, error) {
	content, err := b.decryptSource(name, content)
	if err != nil {
		return nil, err
	}
	if slices.Contains(konfig.RecognizedKustomizationFileNames(), path.Base(name)) {
		return b.inspectKustomization(name, content)
	}
	if err := checkConvertible(content); err != nil {
		return nil, fmt.Errorf("file '%s': %w", name, err)
	}
	if bytes.Contains(content, []byte("builtin")) {
		if err := refusePluginURLs(name, content); err != nil {
			return nil, err
		}
	}
	return content, nil
}

func (b *builder) inspectKustomization(name string, content []byte) ([]byte, error) {
	k := &types.Kustomization{}
	if k.Unmarshal(content) != nil {
		return content, nil // kustomize reports it
	}
	if len(k.OpenAPI) > 0 {
		b.custom = true
		if b.shared {
			return nil, errNeedsExclusive
		}
	}
	if err := b.checkInline(name, k); err != nil {
		return nil, err
	}
	b.noteSecretSources(name, k)
	changed := false
	if schema := k.OpenAPI["path"]; isRemote(schema) {
		local, _, err := b.localise(name, schema)
		if err != nil {
			return nil, err
		}
		k.OpenAPI["path"], changed = local, true
	}
	for _, ref := range references(k) {
		local, remote, err := b.localise(name, *ref)
		if err != nil {
			return nil, err
		}
		if remote {
			*ref, changed = local, true
		}
	}
	if !changed {
		return content, nil
	}
	return sigsyaml.Marshal(k)
}

// localise fetches what a remote reference names, mounts it and returns its relative path.
func (b *builder) localise(file, ref string) (local string, remote bool, err error) {
	key, url, hasKey := strings.Cut(ref, "=")
	if hasKey && isRemote(url) && !isRemote(ref) && !strings.ContainsAny(key, "/:") {
		local, _, err := b.localise(file, url) // a generator's key=file
		return key + "=" + local, true, err
	}
	if !isRemote(ref) {
		return ref, false, nil
	}
	if b.isFile(file, ref) {
		return unmistakable(ref), true, nil
	}
	if b.opts.Remote == nil {
		return "", true, &RemoteError{File: file, URL: redact(ref)}
	}
	dir, within, err := b.opts.Remote.Fetch(b.fsys.ctx, ref)
	if err != nil {
		return "", true, fmt.Errorf("%s refers to '%s', which could not be fetched: %w", file, redact(ref), err)
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return "", true, fmt.Errorf("%s refers to '%s': %w", file, redact(ref), err)
	}
	b.remotes = append(b.remotes, root)
	prefix := fmt.Sprintf("%s/%d", remoteMount, len(b.remotes))
	b.fsys.mounts = append(b.fsys.mounts, mount{prefix: prefix, root: root})
	local, err = filepath.Rel(path.Dir(file), path.Join(prefix, path.Join("/", within)))
	return local, true, err
}

// isFile tells whether a reference without a scheme is the name of a file beside the one that has it, such as
// app@production.yaml, which kustomize looks for first.
func (b *builder) isFile(from, ref string) bool {
	if remoteScheme.MatchString(ref) {
		return false
	}
	_, file, err := b.fsys.CleanedAbs(path.Join(path.Dir(from), ref))
	return err == nil && file != ""
}

var credentials = regexp.MustCompile(`//[^/@]*@`)

// redact takes a user and password out of a URL.
func redact(ref string) string {
	before, _, hasQuery := strings.Cut(credentials.ReplaceAllString(ref, "//***@"), "?")
	if hasQuery {
		return before + "?…"
	}
	return before
}

// references returns every field of a kustomization that kustomize loads as a path or URL.
func references(k *types.Kustomization) []*string {
	var refs []*string
	for _, list := range [][]string{
		k.Resources, k.Bases, k.Components, k.Crds, k.Configurations, k.Generators, k.Transformers, k.Validators,
	} {
		for i := range list {
			refs = append(refs, &list[i])
		}
	}
	for i := range k.PatchesStrategicMerge {
		refs = append(refs, (*string)(&k.PatchesStrategicMerge[i]))
	}
	for _, patches := range [][]types.Patch{k.Patches, k.PatchesJson6902} {
		for i := range patches {
			refs = append(refs, &patches[i].Path)
		}
	}
	for i := range k.Replacements {
		refs = append(refs, &k.Replacements[i].Path)
	}
	for i := range k.ConfigMapGenerator {
		refs = append(refs, generatorReferences(&k.ConfigMapGenerator[i].GeneratorArgs)...)
	}
	for i := range k.SecretGenerator {
		refs = append(refs, generatorReferences(&k.SecretGenerator[i].GeneratorArgs)...)
	}
	return refs
}

func generatorReferences(g *types.GeneratorArgs) []*string {
	refs := []*string{&g.EnvSource}
	for i := range g.FileSources {
		refs = append(refs, &g.FileSources[i])
	}
	for i := range g.EnvSources {
		refs = append(refs, &g.EnvSources[i])
	}
	return refs
}

// checkInline applies the checks of files to the YAML that a kustomization carries as text.
func (b *builder) checkInline(file string, k *types.Kustomization) error {
	var texts []string
	for _, list := range [][]string{k.Generators, k.Transformers, k.Validators} {
		texts = append(texts, list...)
	}
	for _, p := range k.PatchesStrategicMerge {
		texts = append(texts, string(p))
	}
	for _, p := range slices.Concat(k.Patches, k.PatchesJson6902) {
		texts = append(texts, p.Patch)
	}
	for _, text := range texts {
		if err := b.opts.Limits.checkYAML([]byte(text)); err != nil {
			return fmt.Errorf("a patch or plugin in %s: %w", file, err)
		}
		if err := checkConvertible([]byte(text)); err != nil {
			return fmt.Errorf("a patch or plugin in %s: %w", file, err)
		}
		if strings.Contains(text, "builtin") {
			if err := refusePluginURLs(file, []byte(text)); err != nil {
				return err
			}
		}
	}
	return nil
}

// refusePluginURLs refuses URLs in the fields by which a configuration of a built-in plugin names files. They are
// never fetched, since kustomize would do it without limits.
func refusePluginURLs(file string, content []byte) error {
	decoder := yaml.NewDecoder(bytes.NewReader(content))
	for {
		var doc map[string]any
		err := decoder.Decode(&doc)
		var typeErr *yaml.TypeError
		if errors.As(err, &typeErr) {
			continue // not a mapping
		}
		if err != nil {
			return nil // the end, or an error that kustomize reports better
		}
		if doc["apiVersion"] != konfig.BuiltinPluginApiVersion {
			continue
		}
		if url, found := findURL(doc, false); found {
			return &RemoteError{File: file, URL: redact(url)}
		}
	}
}

// findURL looks for a URL below a key that names files.
func findURL(value any, named bool) (string, bool) {
	switch v := value.(type) {
	case string:
		_, url, ok := strings.Cut(v, "=")
		if named && isRemote(v) {
			return v, true
		}
		return url, named && ok && isRemote(url)
	case []any:
		for _, item := range v {
			if url, found := findURL(item, named); found {
				return url, true
			}
		}
	case map[string]any:
		for key, item := range v {
			if url, found := findURL(item, named || slices.Contains(fileFields, key)); found {
				return url, true
			}
		}
	}
	return "", false
}

var fileFields = []string{"path", "paths", "files", "envs", "env", "valuesFile", "additionalValuesFiles", "replacements"}
