package artifact

import (
	"time"

	"github.com/gitops-toolkit/flux/api/meta"
)

// Ref is one stored artifact as its source advertises it, the plain form of status.artifact.
type Ref struct {
	// Path of the file below the root of the store: <kind>/<namespace>/<name>/<file>.
	Path string
	// URL from which the file can be fetched.
	URL string
	// Revision of the source that the archive was made from, such as main@sha1:<commit>.
	Revision string
	// Digest of the file.
	Digest Digest
	// Size of the file in bytes, 0 when unknown.
	Size int64
	// LastUpdateTime is when the file was stored, whole seconds in UTC.
	LastUpdateTime time.Time
	// Metadata that the source knows of the content, such as OCI annotations.
	Metadata map[string]string
}

// OriginRevisionKey is the metadata key under which a source hands on the revision of the source
// that its own content was made from.
const OriginRevisionKey = "org.opencontainers.image.revision"

// OriginRevision returns the revision that the content had where it came from, or "".
func (r Ref) OriginRevision() string {
	return r.Metadata[OriginRevisionKey]
}

// RefOf is what a status advertises.
func RefOf(a *meta.Artifact) Ref {
	ref := Ref{
		Path: a.Path, URL: a.URL, Revision: a.Revision, Digest: Digest(a.Digest),
		LastUpdateTime: a.LastUpdateTime.Time.Time, Metadata: a.Metadata,
	}
	if a.Size != nil {
		ref.Size = *a.Size
	}
	return ref
}

// Status is the form in which a status advertises the artifact.
func (r Ref) Status() *meta.Artifact {
	return &meta.Artifact{
		Path: r.Path, URL: r.URL, Revision: r.Revision, Digest: string(r.Digest),
		LastUpdateTime: meta.NewTime(r.LastUpdateTime), Size: &r.Size, Metadata: r.Metadata,
	}
}
