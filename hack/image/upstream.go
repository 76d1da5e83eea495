package main

// compatible is the release of upstream that this version stands in for: the tags of its images.
// Who replaces the registry of an upstream bundle, and nothing else, finds ours under them. They
// also say what our version line maps to; docs/install.md repeats it.
var compatible = map[string]string{
	"flux-cli":                    "v2.9.4",
	"flux-manifests":              "v2.9.4",
	"source-controller":           "v1.9.4",
	"kustomize-controller":        "v1.9.4",
	"helm-controller":             "v1.6.3",
	"notification-controller":     "v1.9.3",
	"image-reflector-controller":  "v1.2.4",
	"image-automation-controller": "v1.2.4",
	"source-watcher":              "v2.2.3",
}

// tags are those of an image: its own version first.
func tags(name, version string) []string {
	if tag := compatible[name]; tag != "" {
		return []string{version, tag}
	}
	return []string{version}
}
