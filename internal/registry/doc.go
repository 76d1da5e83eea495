// Package registry is OCI as a library: it finds out what a reference means, reads manifests and layers, and pushes
// artifacts. It knows nothing of custom resources.
//
// A Pool is what a process has once: connections, shared by all repositories that are reached in the same way. A
// Repository is one name in one registry with the login for it; it keeps what the registry said about authentication,
// so that a second look at an unchanged tag is one HEAD request. It is safe for concurrent use and needs no closing.
//
// Whatever a registry answers is bounded: manifests, lists of tags, layers. A layer is checked against its digest while
// it streams; what was read before the end was reached without an error is worthless. Credentials go to the registry
// and to the token service that it names, never to where a request is redirected, and never over a connection without
// TLS that nobody has asked for. Errors carry no credentials and no signed URLs.
package registry

import (
	"errors"
	"time"
)

// Media types and annotations of artifacts that flux makes, and of charts.
const (
	ConfigMediaType      = "application/vnd.cncf.flux.config.v1+json"
	ContentMediaType     = "application/vnd.cncf.flux.content.v1.tar+gzip"
	HelmConfigMediaType  = "application/vnd.cncf.helm.config.v1+json"
	HelmContentMediaType = "application/vnd.cncf.helm.chart.content.v1.tar+gzip"

	AnnotationCreated  = "org.opencontainers.image.created"
	AnnotationSource   = "org.opencontainers.image.source"
	AnnotationRevision = "org.opencontainers.image.revision"
)

// URLPrefix begins the URLs of repositories.
const URLPrefix = "oci://"

// userAgent is what registries see, followed by the name of the library.
const userAgent = "flux/v2"

// Errors that callers tell apart.
var (
	// ErrURL says that a URL does not name a repository.
	ErrURL = errors.New("invalid URL")
	// ErrTag is the ErrURL of a URL that names a tag too.
	ErrTag = errors.New("URL must not contain a tag")
	// ErrNoMatch says that no tag is in a range.
	ErrNoMatch = errors.New("no match found")
	// ErrNoLayer says that an artifact lacks the layer asked for.
	ErrNoLayer = errors.New("no such layer")
	// ErrLimit says that an answer is larger than allowed.
	ErrLimit = errors.New("answer exceeds a limit")
	// ErrPlain says that a login would travel without TLS.
	ErrPlain = errors.New("credentials are not sent without TLS")
	// ErrAuthentication says that the registry refused the login, or the lack of one.
	ErrAuthentication = errors.New("authentication failed")
	// ErrNotFound says that there is no such repository, tag or digest.
	ErrNotFound = errors.New("not found")
)

// Limits of what registries may answer. A zero field means its default.
type Limits struct {
	// Manifest of one manifest or index, in bytes; 4 MiB.
	Manifest int64
	// TagsPage of one page of a list of tags, in bytes; 16 MiB.
	TagsPage int64
	// Tags of a repository; 500,000.
	Tags int
	// Layer in bytes, compressed as it is; 8 GiB.
	Layer int64
	// Annotations of a manifest, names and values together, in bytes; 64 KiB.
	Annotations int
}

func (l Limits) withDefaults() Limits {
	if l.Manifest <= 0 {
		l.Manifest = 4 << 20
	}
	if l.TagsPage <= 0 {
		l.TagsPage = 16 << 20
	}
	if l.Tags <= 0 {
		l.Tags = 500_000
	}
	if l.Layer <= 0 {
		l.Layer = 8 << 30
	}
	if l.Annotations <= 0 {
		l.Annotations = 64 << 10
	}
	return l
}

// Options configure a Pool. The zero value works.
type Options struct {
	Limits Limits
	// Retries are the pauses before a request that failed for a passing reason is repeated: the server's errors, too
	// many requests, broken connections. Half a second and two seconds when nil.
	Retries []time.Duration
	// Patience is the longest pause that a registry may ask for with Retry-After, 10 s when zero. When it asks for
	// longer, the call fails with a *ThrottledError.
	Patience time.Duration
}
