// Package version holds the version that the build writes into every binary, with -ldflags
// "-X github.com/gitops-toolkit/flux/internal/version.Version=v1.2.3".
package version

// Version is the released version with its "v", or the development default.
var Version = "v0.0.0-dev.0"

// UserAgent names this program to servers.
func UserAgent() string { return "flux/" + Version }
