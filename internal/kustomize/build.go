package kustomize

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/gitops-toolkit/flux/api/meta"
	"github.com/gitops-toolkit/flux/internal/apply"
	"github.com/gitops-toolkit/flux/internal/kernel"
	"github.com/gitops-toolkit/flux/internal/kustomize/build"
	"github.com/gitops-toolkit/flux/internal/kustomize/spec"
	"github.com/gitops-toolkit/flux/internal/version"
)

// built says what a build was made from, so that the next one can be spared.
type built struct {
	// desire and generation are those for which it is known to hold.
	desire     string
	generation int64
	// spec is the digest of what the spec and the variables contribute, inputs what the artifact does.
	spec   string
	inputs *build.Inputs
	// digest is that of the rendered YAML, for status.history.
	digest string
	// private says that a Secret or something encrypted took part, so that the objects are not kept on disk.
	private bool
	// pinned says that the inputs are all that was read: nothing came from elsewhere.
	pinned bool
	// files are those of objects that a message had to name and the build itself did not know.
	files map[build.Key]string
	// objects are what was built, when they are at hand; they are not kept in memory.
	objects []apply.Object
}

// same says that two builds have the same result.
func (b *built) same(other *built) bool {
	return other != nil && b.spec == other.spec && b.digest == other.digest && b.inputs == other.inputs
}

// at returns the build without its objects, known to hold for a target.
func (b *built) at(t *target) *built {
	c := *b
	c.desire, c.generation, c.objects = t.desire(), t.object.Generation, nil
	return &c
}

// key names the built objects on disk, empty when they are not to be found there.
func (b *built) key() string {
	inputs := b.inputs.Digest()
	if b.private || inputs == "" {
		return ""
	}
	return digestOf(version.Version, b.spec, inputs)
}

func digestOf(parts ...any) string {
	content, err := json.Marshal(parts)
	if err != nil {
		panic(err) // plain data always encodes
	}
	sum := sha256.Sum256(content)
	return hex.EncodeToString(sum[:])
}

// build finds out what the target builds to, by the cheapest way that is certain.
func (j *job) build(ctx context.Context) (*built, error) {
	if last := j.built; last != nil && j.t.known && last.desire == j.t.desire() && last.generation == j.t.object.Generation {
		j.result.attempted = true
		return last, nil
	}
	if err := j.fetch(ctx); err != nil {
		return nil, err
	}
	vars := j.variables(ctx)
	digest := digestOf(j.t.spec().Path, spec.Merged(j.t.spec()), vars.Values, vars.Enabled, vars.Strict, j.c.decryptionInputs(j.t.object))
	if last := j.built; last != nil && vars.Err == nil && last.spec == digest && last.inputs.Unchanged(j.tree.Dir()) {
		return last.at(j.t), nil
	}
	return j.buildNow(ctx, vars, digest)
}

func (j *job) buildNow(ctx context.Context, vars *spec.Variables, digest string) (*built, error) {
	opts, err := j.options(ctx, vars)
	if err != nil {
		return nil, failed(meta.BuildFailedReason, err)
	}
	ctx, cancel := context.WithTimeout(ctx, j.t.timeout)
	defer cancel()
	result, err := build.Build(ctx, opts)
	if err != nil {
		return nil, failed(meta.BuildFailedReason, vars.Explain(err))
	}
	b := &built{
		desire: j.t.desire(), generation: j.t.object.Generation, spec: digest, inputs: result.Inputs, digest: result.Digest,
		private: vars.Private || result.Decrypted || holdsSecret(result.Objects), pinned: result.Inputs.Digest() != "",
	}
	b.objects = make([]apply.Object, len(result.Objects))
	for i, o := range result.Objects {
		key := build.KeyOf(o)
		b.objects[i] = apply.Object{Unstructured: o, Origin: result.Files[key], Sensitive: result.Sensitive[key]}
	}
	if key := b.key(); key != "" {
		if err := j.c.builds.put(key, b.objects); err != nil {
			j.req.Log.Info("built objects were not kept", "cause", err.Error())
		}
	}
	return b, nil
}

// variables reads what spec.postBuild substitutes, with the controller's own identity.
func (j *job) variables(ctx context.Context) *spec.Variables {
	return spec.ReadVariables(ctx, j.c.m, j.t.object, j.c.m.Gate(kernel.GateStrictPostBuildSubstitutions))
}

func (j *job) options(ctx context.Context, vars *spec.Variables) (build.Options, error) {
	decryptor, err := j.c.decryptor(ctx, j.t.object)
	if err != nil {
		return build.Options{}, err
	}
	opts := build.Options{
		Root: j.tree.Dir(), Path: j.t.spec().Path, Spec: spec.Merged(j.t.spec()),
		Decrypt: decryptor, Substitute: vars.Step(), Secret: vars.HoldSecret, Limits: j.c.BuildLimits,
		Memo: j.c.builds.memo(string(j.t.object.UID)),
	}
	if j.c.Remotes != nil {
		if j.remotes == nil {
			j.remotes = j.c.Remotes.Session()
		}
		opts.Remote = j.remotes
	}
	return opts, nil
}

// objects returns the built objects: at hand, from disk, or built again.
func (j *job) objects(ctx context.Context, b *built) ([]apply.Object, error) {
	if b.objects != nil {
		objects := b.objects
		b.objects = nil
		return objects, nil
	}
	if key := b.key(); key != "" {
		if objects, ok := j.c.builds.get(key); ok {
			return objects, nil
		}
	}
	if err := j.fetch(ctx); err != nil {
		return nil, err
	}
	again, err := j.buildNow(ctx, j.variables(ctx), b.spec)
	if err != nil {
		return nil, err
	}
	again.files = b.files
	j.result.built = again
	objects := again.objects
	again.objects = nil
	return objects, nil
}

func holdsSecret(objects []*unstructured.Unstructured) bool {
	for _, o := range objects {
		if o.GetKind() == "Secret" && o.GetAPIVersion() == "v1" {
			return true
		}
	}
	return false
}
