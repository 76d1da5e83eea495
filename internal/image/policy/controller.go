// Package policy is the controller of ImagePolicies: it picks the latest of the tags that an ImageRepository has found.
//
// A pass finds the repository (lookup.go), reads its tags from the database and lets package selection choose. Only
// where the digest has to be looked up does a background job ask the registry (digest.go). A policy comes again when
// its repository has other tags; it has an interval only for digests that may move.
package policy

import (
	"context"
	"errors"
	"fmt"
	"time"

	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	imagev1 "github.com/gitops-toolkit/flux/api/image/v1"
	"github.com/gitops-toolkit/flux/api/meta"
	"github.com/gitops-toolkit/flux/internal/image/access"
	"github.com/gitops-toolkit/flux/internal/image/selection"
	"github.com/gitops-toolkit/flux/internal/image/tags"
	"github.com/gitops-toolkit/flux/internal/kernel"
)

// Options of the controller. Tags and Registries are shared with the repositories, and required.
type Options struct {
	// Tags is where scans keep what they find.
	Tags *tags.Store
	// Registries opens them.
	Registries *access.Opener
}

// Register adds the kind to a manager, which must have the repositories too.
func Register(m *kernel.Manager, o Options) error {
	if o.Tags == nil || o.Registries == nil {
		return errors.New("image policy: an option is missing")
	}
	return kernel.Register(m, kind(), &controller{Options: o, cluster: m, objects: m.Client(), wait: m.Settings().RequeueDependency})
}

// kind describes ImagePolicies to the kernel.
func kind() kernel.Kind[*imagev1.ImagePolicy] {
	return kernel.Kind[*imagev1.ImagePolicy]{
		GroupVersionKind: imagev1.GroupVersion.WithKind(imagev1.ImagePolicyKind),
		New:              func() *imagev1.ImagePolicy { return &imagev1.ImagePolicy{} },
		Referents: []kernel.Referent{kernel.Refer(imagev1.GroupVersion.WithKind(imagev1.ImageRepositoryKind),
			func() *imagev1.ImageRepository { return &imagev1.ImageRepository{} }, published, nil)},
		SuspendedMessage: "reconciliation is suspended for this resource",
		Attempt:          kernel.Processing[*imagev1.ImagePolicy],
	}
}

// published is what a policy looks at of its repository.
func published(o *imagev1.ImageRepository) kernel.Published {
	if r := o.Status.LastScanResult; r != nil {
		return kernel.Published{Revision: o.Status.CanonicalImageName + "@" + r.Revision}
	}
	return kernel.Published{}
}

type controller struct {
	Options
	cluster interface {
		CheckNamespace(from string, ref kernel.Reference) error
	}
	objects client.Reader
	wait    time.Duration
}

// request is one pass over an ImagePolicy.
type request = kernel.Request[*imagev1.ImagePolicy]

func repositoryRef(obj *imagev1.ImagePolicy) kernel.Reference {
	ref := obj.Spec.ImageRepositoryRef
	return kernel.Reference{Group: imagev1.GroupVersion.Group, Kind: imagev1.ImageRepositoryKind, Namespace: ref.Namespace,
		Name: ref.Name, Wake: kernel.OnRevision | kernel.OnSpec}
}

// References returns the repository.
func (c *controller) References(obj *imagev1.ImagePolicy) []kernel.Reference {
	return []kernel.Reference{repositoryRef(obj)}
}

// Finalize has nothing to clean up.
func (c *controller) Finalize(context.Context, *request) kernel.Outcome { return kernel.Done("", "") }

// Reconcile makes one attempt.
func (c *controller) Reconcile(ctx context.Context, req *request) kernel.Outcome {
	obj := req.Object
	obj.Normalize()
	chosen, err := selector(obj)
	if err != nil {
		return kernel.Stalled(imagev1.InvalidPolicyReason, err)
	}
	if f := checkInterval(obj); f != nil {
		return f.outcome()
	}
	repo, f := c.repository(ctx, obj)
	if f != nil {
		return f.outcome()
	}
	list, err := c.Tags.Get(types.NamespacedName{Namespace: repo.Namespace, Name: repo.Name})
	if err != nil || len(list.Tags) == 0 {
		return kernel.Failed(imagev1.DependencyNotReadyReason, fmt.Errorf("retrying in %s error: %w", c.wait, noTags(err))).RetryAfter(c.wait)
	}
	if !scanned(repo) {
		return kernel.Waiting(imagev1.DependencyNotReadyReason,
			fmt.Sprintf("ImageRepository/%s/%s has not been scanned since its image became '%s'", repo.Namespace, repo.Name, repo.Spec.Image), c.wait)
	}
	tag, err := chosen.Latest(list.Tags)
	if err != nil {
		return kernel.Failed(imagev1.FailureReason, explain(obj, repo, len(list.Tags), err)).Backoff()
	}
	want := imagev1.ImageRef{Name: repo.Spec.Image, Tag: tag}
	return c.settle(req, repo, want)
}

// explain adds to an error about tags which they are, and what to do.
func explain(obj *imagev1.ImagePolicy, repo *imagev1.ImageRepository, tags int, err error) error {
	from := fmt.Sprintf("the %d tags of ImageRepository/%s/%s", tags, repo.Namespace, repo.Name)
	switch {
	case errors.Is(err, selection.ErrEmpty):
		return fmt.Errorf("%w: spec.filterTags.pattern passes over all of %s; correct it", err, from)
	case errors.Is(err, selection.ErrNoMatch) && obj.Spec.FilterTags != nil:
		return fmt.Errorf("%w: of %s none that spec.filterTags leaves is a version in spec.policy.semver.range '%s'; correct one of them", err, from, obj.Spec.Policy.SemVer.Range)
	case errors.Is(err, selection.ErrNoMatch):
		return fmt.Errorf("%w: of %s none is a version in spec.policy.semver.range '%s'; correct it, or wait for such a tag", err, from, obj.Spec.Policy.SemVer.Range)
	}
	return err
}

func noTags(err error) error {
	if err == nil || errors.Is(err, tags.ErrNone) {
		return tags.ErrNone
	}
	return err
}

// selector reads the policy.
func selector(obj *imagev1.ImagePolicy) (*selection.Selector, error) {
	var p selection.Policy
	choice := obj.Spec.Policy
	if s := choice.SemVer; s != nil {
		p.SemVer = s.Range
		if p.SemVer == "" {
			p.SemVer = "*"
		}
	}
	if s := choice.Alphabetical; s != nil {
		p.Alphabetical = orAscending(s.Order)
	}
	if s := choice.Numerical; s != nil {
		p.Numerical = orAscending(s.Order)
	}
	var f selection.Filter
	if t := obj.Spec.FilterTags; t != nil {
		f = selection.Filter{Pattern: t.Pattern, Extract: t.Extract}
	}
	return selection.New(f, p)
}

func orAscending(order string) string {
	if order == "" {
		return "asc"
	}
	return order
}

// finish writes what was picked into the status.
func finish(req *request, want imagev1.ImageRef) kernel.Outcome {
	st := &req.Object.Status
	message := fmt.Sprintf("Latest image tag for %s resolved to %s", want.Name, want.Tag)
	if want.Digest != "" {
		message += " with digest " + want.Digest
	}
	changed := st.LatestRef == nil || *st.LatestRef != want
	if st.LatestRef != nil && changed {
		st.ObservedPreviousRef = st.LatestRef
	}
	st.LatestRef = &want
	if old := st.ObservedPreviousRef; old != nil {
		message += fmt.Sprintf(" (previously %s)", old.String())
	}
	e := kernel.Normal(meta.SucceededReason, message, nil)
	if !changed {
		e = kernel.Trace(meta.SucceededReason, message, nil)
	}
	e.OnChange = true
	return kernel.Done(meta.SucceededReason, message).WithEvents(e)
}
