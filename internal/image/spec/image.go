package spec

import (
	"errors"
	"fmt"
	"strings"

	"github.com/gitops-toolkit/flux/internal/registry"
)

// ErrImage is wrapped when spec.image names no repository.
var ErrImage = errors.New("invalid image")

// CheckImage tells what is wrong with spec.image, and returns the name in full. Errors are ErrImage.
func CheckImage(image string) (canonical string, err error) {
	if scheme, _, found := strings.Cut(image, "://"); found {
		return "", imageError{fmt.Errorf("image '%s' should not include URL scheme; remove '%s://'", image, scheme)}
	}
	if i := strings.LastIndex(image, ":"); i > strings.LastIndex(image, "/") && strings.Contains(image, "/") && !strings.Contains(image, "@") {
		return "", imageError{fmt.Errorf("image '%s' should not include a tag; remove '%s'", image, image[i:])}
	}
	host, name, err := registry.HostAndName(registry.URLPrefix + image)
	switch {
	case errors.Is(err, registry.ErrTag):
		return "", imageError{fmt.Errorf("image '%s' should not include a tag; remove '%s'", image, image[strings.LastIndex(image, ":"):])}
	case err != nil:
		return "", imageError{fmt.Errorf("image '%s': %w", image, err)}
	}
	return host + "/" + name, nil
}

// imageError is an ErrImage with a text of its own.
type imageError struct{ error }

func (e imageError) Is(target error) bool { return target == ErrImage }
func (e imageError) Unwrap() error        { return e.error }
