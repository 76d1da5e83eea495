package process

import (
	"path"
	"strings"

	"github.com/gitops-toolkit/flux/sandbox/internal/state"
)

// match is what the mapping says about an image.
type match struct {
	// known: the repository is mapped, so nothing else may run the image.
	known bool
	// executable is what to run; empty when no mapping has the image's tag.
	executable string
	// name is what the program is called: the last element of the repository.
	name string
}

// find looks an image up. A mapping names a repository, or a parent path of
// repositories (`ghcr.io/gitops-toolkit` covers every component), with or
// without a tag. The longest repository wins, and among equals the tag.
func find(images []state.Image, image string) match {
	repository, tag := split(image)
	result := match{name: path.Base(repository)}
	best := 0
	for _, candidate := range images {
		mapped, mappedTag := split(candidate.Reference)
		if repository != mapped && !strings.HasPrefix(repository, mapped+"/") {
			continue
		}
		result.known = true
		if mappedTag != "" && mappedTag != tag {
			continue
		}
		score := 2*len(mapped) + 1
		if mappedTag != "" {
			score++
		}
		if score > best {
			best, result.executable = score, candidate.Executable
		}
	}
	return result
}

// split parts an image reference into repository and tag. A digest does not
// count: an executable on this machine has none.
func split(reference string) (repository, tag string) {
	reference, _, _ = strings.Cut(reference, "@")
	colon := strings.LastIndexByte(reference, ':')
	if colon < 0 || strings.Contains(reference[colon:], "/") {
		return reference, "" // a colon before a slash belongs to the registry's port
	}
	return reference[:colon], reference[colon+1:]
}
