package meta

// Artifact is what a source offers to its consumers: an archive at an address, named by the
// revision it was made from and verified by its digest.
type Artifact struct {
	// Path of the file below the root of the store that serves it.
	// +required
	Path string `json:"path"`
	// URL from which the consumers in the cluster fetch the file.
	// +required
	URL string `json:"url"`
	// Revision of the source that the artifact was made from, such as main@sha1:<commit>.
	// +required
	Revision string `json:"revision"`
	// Digest of the file as <algorithm>:<hex>.
	// +required
	// +kubebuilder:validation:Pattern="^[a-z0-9]+(?:[.+_-][a-z0-9]+)*:[a-zA-Z0-9=_-]+$"
	Digest string `json:"digest"`
	// LastUpdateTime is when this artifact replaced the one before.
	// +required
	LastUpdateTime Time `json:"lastUpdateTime"`
	// Size of the file in bytes.
	// +optional
	Size *int64 `json:"size,omitempty"`
	// Metadata that the source knows of the content, such as OCI annotations.
	// +optional
	Metadata map[string]string `json:"metadata,omitempty"`

	// Checksum of the file in hex.
	//
	// Deprecated: read from objects of v1beta1 only; see Digest.
	// +optional
	Checksum string `json:"checksum,omitempty"`
}

// HasRevision reports whether the artifact was made from this revision.
func (a *Artifact) HasRevision(revision string) bool {
	return a != nil && a.Revision == revision
}

// HasDigest reports whether the artifact has this digest.
func (a *Artifact) HasDigest(digest string) bool {
	return a != nil && a.Digest == digest
}

// Normalize turns the checksum of v1beta1 into a digest. It accepts nil.
func (a *Artifact) Normalize() {
	if a == nil || a.Checksum == "" {
		return
	}
	if a.Digest == "" {
		a.Digest = checksumDigest(a.Checksum)
	}
	a.Checksum = ""
}

// checksumDigest names the algorithm of a bare checksum by its length; old stores wrote SHA-1,
// later ones SHA-256.
func checksumDigest(sum string) string {
	if len(sum) == 40 {
		return "sha1:" + sum
	}
	return "sha256:" + sum
}

// Source is a kind that offers an artifact.
//
// +kubebuilder:object:generate=false
type Source interface {
	Object
	// GetArtifact returns status.artifact, nil before there is one.
	GetArtifact() *Artifact
}
