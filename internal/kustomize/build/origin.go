package build

import (
	"context"
	"path"
	"slices"

	"sigs.k8s.io/kustomize/api/types"
)

// Origins tells from which file each object comes. It builds once more, with kustomize's origin annotations on: a
// build without them is the only one that is certain to equal upstream's (a patch can see annotations), and files
// are asked for only when something failed. Objects that come from a generator get the file that configures it.
func Origins(ctx context.Context, opts Options) (map[Key]string, error) {
	opts.Spec.BuildMetadata = append(slices.Clone(opts.Spec.BuildMetadata), types.OriginAnnotations)
	result, err := start(ctx, opts, true)
	if err != nil {
		return nil, err
	}
	return result.Files, nil
}

// fileOf returns the file of a built object, relative to the mount, as far as it is known.
func (b *builder) fileOf(p piece) (string, error) {
	if p.object != nil {
		return b.relativeToMount(p.object.file.at), nil
	}
	r := p.resource
	if !b.withOrigins {
		if file := b.files[keyOf(r)]; file != "" {
			return file, nil
		}
		id := r.OrgId() // before the kustomization renamed or moved it
		return b.files[Key{Group: id.Group, Kind: id.Kind, Namespace: id.Namespace, Name: id.Name}], nil
	}
	origin, err := r.GetOrigin()
	if err != nil || origin == nil || origin.Repo != "" {
		return "", err
	}
	file := either(origin.Path, origin.ConfiguredIn)
	if file == "" {
		return "", nil
	}
	return b.relativeToMount(path.Join(b.dir, file)), nil
}
