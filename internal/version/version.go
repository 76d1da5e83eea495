// Package version holds the version that the build writes into every binary, with -ldflags
// "-X github.com/gitops-toolkit/flux/internal/version.Version=v1.2.3".
package version

// Version is the released version with its "v", or the development default.
var Version = "v0.0.0-dev.0"

// Upstream is the release of upstream that this version stands in for: the tags of its images. Who
// replaces the registry of an upstream bundle, and nothing else, finds ours under them. docs/migration.md
// repeats it.
var Upstream = map[string]string{
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

// UserAgent names this program to servers.
func UserAgent() string { return "flux/" + Version }
