package build

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"path"
	"regexp"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/kustomize/api/types"
)

// Decryptor decrypts in memory. A build uses it from one goroutine.
type Decryptor interface {
	// Object decrypts a rendered object and returns it as JSON, nil when nothing in it is encrypted.
	Object(ctx context.Context, o *unstructured.Unstructured) ([]byte, error)
	// Source decrypts a file that a kustomization names, as far as it is encrypted. name, a key or a path, tells the
	// format; env says that the file is read as one of variables.
	Source(ctx context.Context, content []byte, name string, env bool) (plain []byte, changed bool, err error)
	// Redact takes out of a text whatever was decrypted.
	Redact(text string) string
}

// secretSource is a file that may be encrypted.
type secretSource struct {
	name       string
	env, patch bool
}

// noteSecretSources remembers the files that a kustomization names and that may be encrypted: those of its secret
// generators, and patches. They are decrypted when kustomize reads them, and exist in plain in memory only.
func (b *builder) noteSecretSources(file string, k *types.Kustomization) {
	if b.opts.Decrypt == nil {
		return
	}
	note := func(ref string, s secretSource) {
		if ref == "" || isRemote(ref) {
			return
		}
		at := path.Join(path.Dir(file), ref)
		if _, known := b.secretSources[at]; !known {
			b.secretSources[at] = s
		}
	}
	for _, g := range k.SecretGenerator {
		for _, ref := range g.FileSources {
			key, at, named := strings.Cut(ref, "=")
			if !named {
				key, at = path.Base(ref), ref
			}
			note(at, secretSource{name: key})
		}
		for _, ref := range append([]string{g.EnvSource}, g.EnvSources...) {
			note(ref, secretSource{name: ref, env: true})
		}
	}
	//lint:ignore SA1019 users still write the old fields
	for _, p := range append(append([]types.Patch{}, k.Patches...), k.PatchesJson6902...) {
		note(p.Path, secretSource{name: p.Path, patch: true})
	}
	//lint:ignore SA1019 users still write the old fields
	for _, p := range k.PatchesStrategicMerge {
		if !strings.Contains(string(p), "\n") {
			note(string(p), secretSource{name: string(p), patch: true})
		}
	}
}

// decryptSource decrypts a file that was noted.
func (b *builder) decryptSource(name string, content []byte) ([]byte, error) {
	s, noted := b.secretSources[name]
	if !noted && b.opts.Decrypt != nil && sealedList(content) {
		s, noted = secretSource{name: name, patch: true}, true
	}
	if !noted {
		return content, nil
	}
	plain, changed, err := b.opts.Decrypt.Source(b.fsys.ctx, content, s.name, s.env)
	if err != nil {
		return nil, &decryptionError{fmt.Errorf("error decrypting sources: file '%s': %w", b.relativeToMount(name), err)}
	}
	if !changed {
		return content, nil
	}
	b.decrypted = true
	b.patched = b.patched || s.patch
	if err := b.opts.Limits.checkYAML(plain); err != nil {
		return nil, fmt.Errorf("file '%s', decrypted: %w", name, err)
	}
	return plain, nil
}

// listKind is how a List of any kind says that it is one.
var listKind = regexp.MustCompile(`(?m)^\s*"?kind"?:\s*["']?\w*List["']?\s*,?\s*$`)

// sealedList tells whether a file may hold a List that was encrypted as a whole. kustomize takes its items apart, without
// that by which they could be decrypted.
func sealedList(content []byte) bool {
	return bytes.Contains(content, []byte("ENC[AES256_GCM,")) && listKind.Match(content)
}

// decryptionError is told as it is: the build had not begun yet, for upstream.
type decryptionError struct{ err error }

func (e *decryptionError) Error() string { return e.err.Error() }
func (e *decryptionError) Unwrap() error { return e.err }

// decryptObject is the step before the substitution.
func (b *builder) decryptObject(ctx context.Context, text Text) ([]byte, error) {
	if b.opts.Decrypt == nil {
		return nil, nil
	}
	plain, err := b.opts.Decrypt.Object(ctx, text.Object)
	if err == nil && plain != nil {
		b.decrypted = true
		b.sensitive[KeyOf(text.Object)] = true
	}
	return plain, err
}

// redacted takes what was decrypted out of an error. Its causes stay known.
func (b *builder) redacted(err error) error {
	if err == nil || b.opts.Decrypt == nil {
		return err
	}
	text := b.opts.Decrypt.Redact(err.Error())
	if text == err.Error() {
		return err
	}
	return &redactedError{text: text, cause: err}
}

type redactedError struct {
	text  string
	cause error
}

func (e *redactedError) Error() string { return e.text }

// Is compares with the cause, which itself is not given out: its text tells what was decrypted.
func (e *redactedError) Is(target error) bool { return errors.Is(e.cause, target) }

// As finds what the caller of this package looks for, and nothing that has a text.
func (e *redactedError) As(target any) bool {
	unlocated, ok := target.(**unlocatedError)
	return ok && errors.As(e.cause, unlocated)
}
