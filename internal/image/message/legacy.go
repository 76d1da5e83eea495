package message

import (
	"slices"

	"maps"

	"github.com/google/go-containerregistry/pkg/name"

	"github.com/gitops-toolkit/flux/internal/image/edits"
)

// ImageResult is what templates of the beta versions know as .Updated: images instead of values.
type ImageResult struct{ Files map[string]FileResult }

// FileResult is what was updated in one file.
type FileResult struct{ Objects map[Object][]ImageRef }

// Images returns the images that were written, each once.
func (r ImageResult) Images() []ImageRef {
	var out []ImageRef
	for _, file := range slices.Sorted(maps.Keys(r.Files)) {
		objects := r.Files[file].Objects
		for _, object := range slices.SortedFunc(maps.Keys(objects), compare) {
			for _, image := range objects[object] {
				if !slices.ContainsFunc(out, func(o ImageRef) bool { return o.text == image.text }) {
					out = append(out, image)
				}
			}
		}
	}
	return out
}

// Objects returns the images of each object, whichever file they are in.
func (r ImageResult) Objects() map[Object][]ImageRef {
	out := map[Object][]ImageRef{}
	for _, file := range slices.Sorted(maps.Keys(r.Files)) {
		for object, images := range r.Files[file].Objects {
			out[object] = append(out[object], images...)
		}
	}
	return out
}

// ImageRef is an image as templates of the beta versions take it apart.
type ImageRef struct {
	text, identifier string
	parsed           name.Reference
}

func newImageRef(c edits.Change) ImageRef {
	ref := ImageRef{text: c.Image.Name + ":" + c.Image.Tag, identifier: c.Image.Tag}
	ref.parsed, _ = name.ParseReference(ref.text, name.WeakValidation) // Without, the accessors return what there is.
	return ref
}

// String is the image as it was chosen, such as helloworld:v1.0.1.
func (r ImageRef) String() string { return r.text }

// Identifier is the tag.
func (r ImageRef) Identifier() string { return r.identifier }

// Repository is the name in the registry, such as library/helloworld.
func (r ImageRef) Repository() string {
	if r.parsed == nil {
		return ""
	}
	return r.parsed.Context().RepositoryStr()
}

// Registry is the host, such as index.docker.io.
func (r ImageRef) Registry() string {
	if r.parsed == nil {
		return ""
	}
	return r.parsed.Context().RegistryStr()
}

// Name is the image in full, such as index.docker.io/library/helloworld:v1.0.1.
func (r ImageRef) Name() string {
	if r.parsed == nil {
		return r.text
	}
	return r.parsed.Name()
}
