// Package versions tells, without a request, whether what a connection to a Helm repository is made of has changed.
package versions

import (
	"fmt"

	sourcev1 "github.com/gitops-toolkit/flux/api/source/v1"
	"github.com/gitops-toolkit/flux/internal/kernel"
	"github.com/gitops-toolkit/flux/internal/source/helmaccess"
)

// Cluster reads Secrets, and tells their versions without a request.
type Cluster interface {
	helmaccess.Cluster
	Version(namespace string, ref kernel.Reference) (version string, ok bool)
}

// Of names the spec and the Secrets that a connection is made of; ok is false if that is not known without reading
// them.
func Of(c Cluster, obj *sourcev1.HelmRepository) (text string, ok bool) {
	text = fmt.Sprintf("%s/%d", obj.UID, obj.Generation)
	for _, name := range helmaccess.Secrets(obj) {
		ref := kernel.Secret(name)
		ref.Namespace = obj.Namespace
		v, known := c.Version(obj.Namespace, ref)
		if !known {
			return "", false
		}
		text += "/" + v
	}
	return text, true
}
