package bucket

import (
	"cmp"
	"fmt"
	"io"
	"path"
	"slices"
	"strings"

	"github.com/gitops-toolkit/flux/internal/artifact"
	"github.com/gitops-toolkit/flux/internal/artifact/ignore"
)

// object is one object of a bucket, as a listing has it.
type object struct {
	Key, ETag string
	Size      int64
	// Generation of the object at Google.
	Generation string
}

// maxObjects bounds a listing.
const maxObjects = 250_000

// revisionOf is the digest over lines of key and etag, sorted by key.
func revisionOf(algorithm artifact.Algorithm, objects []object) string {
	h := algorithm.New()
	objects = slices.Clone(objects)
	slices.SortFunc(objects, func(a, b object) int { return cmp.Compare(a.Key, b.Key) })
	for _, o := range objects {
		fmt.Fprintf(h, "%s %s\n", o.Key, o.ETag)
	}
	return string(artifact.NewDigest(algorithm, h))
}

// rulesOf are the patterns of the bucket's own file, and after them those of the spec.
func rulesOf(file io.Reader, spec *string) (*ignore.Rules, error) {
	var patterns []ignore.Pattern
	if file != nil {
		own, err := ignore.Read(file, ".")
		if err != nil {
			return nil, err
		}
		patterns = own
	}
	if spec != nil {
		more, err := ignore.Parse(*spec, ".")
		if err != nil {
			return nil, fmt.Errorf("spec.ignore: %w", err)
		}
		patterns = append(patterns, more...)
	}
	return ignore.Only(patterns), nil
}

// wanted tells whether an object becomes a file: those whose keys end in a slash stand for directories, and the file with
// the patterns is fetched by itself.
func wanted(key string, rules *ignore.Rules) bool {
	if strings.HasSuffix(key, "/") || key == ignore.FileName {
		return false
	}
	return !rules.ExcludedBelow(strings.Split(strings.TrimPrefix(path.Clean("/"+key), "/"), "/"))
}
