package v1

import "strings"

// Normalize maps the fields of the beta versions to those of today.
func (o *ImagePolicy) Normalize() {
	s := &o.Status
	if s.LatestRef == nil {
		s.LatestRef = parseImage(s.LatestImage)
	}
	s.LatestImage = ""
}

// parseImage takes name:tag apart, nil if it is not that. The name may have a port.
func parseImage(image string) *ImageRef {
	i := strings.LastIndexByte(image, ':')
	if i <= 0 || i == len(image)-1 || strings.Contains(image[i:], "/") {
		return nil
	}
	return &ImageRef{Name: image[:i], Tag: image[i+1:]}
}
