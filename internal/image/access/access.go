// Package access opens the registries that ImageRepositories name, and keeps what was opened until something that it is
// built from changes. The kinds that look at an image share it.
package access

import (
	"context"
	"fmt"
	"strings"
	"sync"

	"k8s.io/apimachinery/pkg/types"

	imagev1 "github.com/gitops-toolkit/flux/api/image/v1"
	"github.com/gitops-toolkit/flux/internal/access"
	"github.com/gitops-toolkit/flux/internal/image/spec"
	"github.com/gitops-toolkit/flux/internal/registry"
)

// Opener opens registries. It is safe for concurrent use.
type Opener struct {
	registries access.Registries

	mu    sync.Mutex
	known map[types.NamespacedName]access.Opened
}

// NewOpener returns one that has opened nothing.
func NewOpener(registries access.Registries) *Opener {
	return &Opener{registries: registries, known: map[types.NamespacedName]access.Opened{}}
}

// Host is the registry of an image, "" if it names none.
func Host(image string) string {
	host, _, _ := registry.HostAndName(registry.URLPrefix + image)
	return strings.ToLower(host)
}

// SecretNames are the Secrets that the object names.
func SecretNames(obj *imagev1.ImageRepository) []string { return wayTo(obj).Secrets() }

// wayTo is what the spec says of the image's repository.
func wayTo(obj *imagev1.ImageRepository) access.Repository {
	return access.Repository{
		Namespace: obj.Namespace, State: fmt.Sprintf("%s/%d", obj.UID, obj.Generation),
		URL: registry.URLPrefix + obj.Spec.Image, Insecure: obj.Spec.Insecure,
		Cloud: obj.Spec.Provider, ServiceAccount: obj.Spec.ServiceAccountName,
		Pull: obj.Spec.SecretRef, Certs: obj.Spec.CertSecretRef, Proxy: obj.Spec.ProxySecretRef, Timeout: obj.GetTimeout(),
	}
}

// Open opens the repository, or takes the one of the last time if nothing that it is built from has changed. Errors
// that are neither spec.ErrImage nor a kernel.GateDisabledError are about credentials.
func (o *Opener) Open(ctx context.Context, obj *imagev1.ImageRepository) (*registry.Repository, error) {
	if _, err := spec.CheckImage(obj.Spec.Image); err != nil {
		return nil, err
	}
	key := types.NamespacedName{Namespace: obj.Namespace, Name: obj.Name}
	o.mu.Lock()
	before := o.known[key]
	o.mu.Unlock()
	opened, err := o.registries.Open(ctx, wayTo(obj), before)
	if err != nil {
		return nil, err
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	o.known[key] = opened
	return opened.Repo, nil
}

// Forget drops what is kept of an object, such as after a failure: what the registry said is asked anew.
func (o *Opener) Forget(key types.NamespacedName) {
	o.mu.Lock()
	defer o.mu.Unlock()
	delete(o.known, key)
}

// Version names the spec and the Secrets that a repository is built from.
func (o *Opener) Version(obj *imagev1.ImageRepository) string {
	text, _ := o.registries.State(wayTo(obj), nil)
	return text
}
