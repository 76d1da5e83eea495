package kustomize

import (
	"context"
	"fmt"
	"maps"

	"github.com/gitops-toolkit/flux/internal/apply"
	"github.com/gitops-toolkit/flux/internal/kustomize/build"
)

// nameFiles fills in the files of refused objects that the first build did not know.
func (j *job) nameFiles(ctx context.Context, failures []apply.Failure) {
	var unknown []build.Key
	for _, f := range failures {
		if f.Origin == "" {
			unknown = append(unknown, keyOf(f.Ref))
		}
	}
	files := j.files(ctx, unknown)
	for i := range failures {
		if f := &failures[i]; f.Origin == "" {
			f.Origin = files[keyOf(f.Ref)]
		}
	}
}

func keyOf(ref apply.Ref) build.Key {
	return build.Key{Group: ref.Group, Kind: ref.Kind, Namespace: ref.Namespace, Name: ref.Name}
}

// files returns the files of objects. What is not known yet is learned from a second build and kept with the first
// one, so that the next attempt says the same.
func (j *job) files(ctx context.Context, keys []build.Key) map[build.Key]string {
	b := j.result.built
	missing := false
	for _, key := range keys {
		_, known := b.files[key]
		missing = missing || !known
	}
	if !missing {
		return b.files
	}
	origins, err := j.origins(ctx)
	if err != nil {
		j.req.Log.V(1).Info("the files of objects are not known", "cause", fmt.Sprint(err))
		return b.files
	}
	again := *b
	if again.files = maps.Clone(b.files); again.files == nil {
		again.files = map[build.Key]string{}
	}
	for _, key := range keys {
		again.files[key] = origins[key]
	}
	j.result.built = &again
	return again.files
}

// origins builds once more to learn which object comes from which file.
func (j *job) origins(ctx context.Context) (map[build.Key]string, error) {
	ctx, cancel := context.WithTimeout(ctx, j.t.timeout)
	defer cancel()
	if j.tree == nil {
		tree, err := j.c.Artifacts(ctx, j.t.ref)
		if err != nil {
			return nil, err
		}
		j.tree = tree
	}
	opts, err := j.options(ctx, j.variables(ctx))
	if err != nil {
		return nil, err
	}
	return build.Origins(ctx, opts)
}
