// Package access opens the way to what a spec names outside of the cluster: it reads the Secrets, certificates, proxies
// and identities that an object refers to, and makes of them what the libraries take: the remote of a Git repository, an
// opened repository of a registry, an HTTP client.
//
// Every controller that goes outside uses it, so that the same Secret means the same everywhere and errors name the
// object, the field and the key in the same words.
package access

import (
	"context"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"

	"github.com/gitops-toolkit/flux/api/meta"
)

// Secrets reads Secrets; the kernel's Manager does.
type Secrets interface {
	GetSecret(ctx context.Context, key types.NamespacedName) (*corev1.Secret, error)
}

// Versions tells the versions of Secrets without a request; the kernel's Manager does.
type Versions interface {
	SecretVersion(namespace, name string) (version string, ok bool)
}

// Accounts finds the ServiceAccount whose identity at a cloud an object uses; the kernel's Manager does.
type Accounts interface {
	CheckCloudAccount(named, field, purpose string) error
	CloudAccount(ctx context.Context, namespace, named, fallback string) (*corev1.ServiceAccount, error)
}

// Cluster is all that it takes to open a registry; the kernel's Manager does it.
type Cluster interface {
	Secrets
	Versions
	Accounts
	GetServiceAccount(ctx context.Context, key types.NamespacedName) (*corev1.ServiceAccount, error)
}

// Names are those of the references that are set.
func Names(refs ...*meta.LocalObjectReference) (names []string) {
	for _, ref := range refs {
		if ref != nil {
			names = append(names, ref.Name)
		}
	}
	return names
}

// State names what something was made of: start, which should change with the spec, and the versions of Secrets. ok is
// false if they cannot be told without reading them.
func State(c Versions, namespace, start string, names []string) (text string, ok bool) {
	text = start
	for _, name := range names {
		v, known := c.SecretVersion(namespace, name)
		if !known {
			return "", false
		}
		text += "/" + v
	}
	return text, true
}

// unread is why an object that a field names could not be read.
func unread(what, field string, key types.NamespacedName, err error) error {
	text := fmt.Errorf("failed to get %s '%s': %w", what, key, err)
	if apierrors.IsNotFound(err) {
		return fmt.Errorf("%w; create it, or correct %s", text, field)
	}
	return text
}
