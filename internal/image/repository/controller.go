// Package repository is the controller of ImageRepositories: it lists the tags of an image at an interval and keeps
// them for the policies.
//
// A pass checks the spec and starts a background job that finds out whether a scan is due (due.go) and scans if it is;
// the pass that follows turns the result into status and events. When a scan was last made stands in the database of
// tags, so that neither a restart nor an unchanged repository costs a write to the API server.
package repository

import (
	"context"
	"errors"
	"time"

	"k8s.io/apimachinery/pkg/types"

	imagev1 "github.com/gitops-toolkit/flux/api/image/v1"
	"github.com/gitops-toolkit/flux/internal/image/access"
	"github.com/gitops-toolkit/flux/internal/image/tags"
	"github.com/gitops-toolkit/flux/internal/kernel"
)

// Options of the controller. Tags and Registries are shared with the policies, and required.
type Options struct {
	// Tags keeps what scans find.
	Tags *tags.Store
	// Registries opens them.
	Registries *access.Opener
	// CollectEvery is the time between clean-ups of Tags; 0 for never.
	CollectEvery time.Duration
}

// Register adds the kind to a manager.
func Register(m *kernel.Manager, o Options) error {
	if o.Tags == nil || o.Registries == nil {
		return errors.New("image repository: an option is missing")
	}
	if o.CollectEvery > 0 {
		m.Add(collector{m, o}.run)
	}
	return kernel.Register(m, kind(), &controller{o})
}

// kind describes ImageRepositories to the kernel.
func kind() kernel.Kind[*imagev1.ImageRepository] {
	return kernel.Kind[*imagev1.ImageRepository]{
		GroupVersionKind: imagev1.GroupVersion.WithKind("ImageRepository"),
		New:              func() *imagev1.ImageRepository { return &imagev1.ImageRepository{} },
		Publish: func(o *imagev1.ImageRepository) kernel.Published {
			if r := o.Status.LastScanResult; r != nil {
				return kernel.Published{Revision: o.Status.CanonicalImageName + "@" + r.Revision}
			}
			return kernel.Published{}
		},
		SuspendedMessage: "reconciliation is suspended for this resource",
		Attempt:          kernel.Processing[*imagev1.ImageRepository],
	}
}

type controller struct{ Options }

// request is one pass over an ImageRepository.
type request = kernel.Request[*imagev1.ImageRepository]

func keyOf(o *imagev1.ImageRepository) types.NamespacedName {
	return types.NamespacedName{Namespace: o.Namespace, Name: o.Name}
}

// References returns the Secrets that the object names.
func (c *controller) References(obj *imagev1.ImageRepository) (refs []kernel.Reference) {
	for _, name := range access.SecretNames(obj) {
		refs = append(refs, kernel.Secret(name))
	}
	return refs
}

// Reconcile makes one attempt: it starts the job, or concludes from its result.
func (c *controller) Reconcile(_ context.Context, req *request) kernel.Outcome {
	s, err := c.newScan(req)
	if err != nil {
		return err.outcome()
	}
	if req.Job != nil && !req.Job.Superseded {
		return s.conclude()
	}
	return kernel.Working(kernel.Job{Key: "scan/" + c.Registries.Version(req.Object), Lane: access.Host(req.Object.Spec.Image), Run: s.run})
}

// Finalize forgets the tags of an object that goes away.
func (c *controller) Finalize(_ context.Context, req *request) kernel.Outcome {
	c.Registries.Forget(keyOf(req.Object))
	if err := c.Tags.Delete(keyOf(req.Object)); err != nil {
		return kernel.Failed(imagev1.FailureReason, err).Backoff()
	}
	return kernel.Done("", "")
}
