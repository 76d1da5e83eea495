package policy

import (
	"cmp"
	"context"
	"errors"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/types"

	imagev1 "github.com/gitops-toolkit/flux/api/image/v1"
	"github.com/gitops-toolkit/flux/api/meta"
	"github.com/gitops-toolkit/flux/internal/image/spec"
	"github.com/gitops-toolkit/flux/internal/kernel"
)

// failure is why an attempt came to nothing.
type failure struct {
	reason  string
	err     error
	stalled bool
}

func (f *failure) outcome() kernel.Outcome {
	if f.stalled {
		return kernel.Stalled(f.reason, f.err)
	}
	return kernel.Failed(f.reason, f.err).Backoff()
}

// unreferable is a failure about the reference.
func unreferable(reason string, err error) *failure {
	return &failure{reason: reason, err: fmt.Errorf("failed to get the referred ImageRepository: %w", err)}
}

// repository finds the ImageRepository, and out whether the policy may read it.
func (c *controller) repository(ctx context.Context, obj *imagev1.ImagePolicy) (*imagev1.ImageRepository, *failure) {
	ref := repositoryRef(obj)
	ref.Namespace = cmp.Or(ref.Namespace, obj.Namespace)
	if c.cluster.CheckNamespace(obj.Namespace, ref) != nil {
		return nil, unreferable(meta.AccessDeniedReason, fmt.Errorf("cannot access '%s', cross-namespace references have been blocked", ref))
	}
	repo := &imagev1.ImageRepository{}
	err := c.objects.Get(ctx, types.NamespacedName{Namespace: ref.Namespace, Name: ref.Name}, repo)
	switch {
	case apierrors.IsNotFound(err):
		return nil, unreferable(imagev1.DependencyNotReadyReason, fmt.Errorf("referenced ImageRepository does not exist: %w", err))
	case err != nil:
		return nil, unreferable(imagev1.FailureReason, err)
	}
	if ref.Namespace != obj.Namespace {
		if f := c.allowed(ctx, obj, repo); f != nil {
			return nil, f
		}
	}
	if _, err := spec.CheckImage(repo.Spec.Image); err != nil {
		return nil, &failure{reason: imagev1.ImageURLInvalidReason, err: err, stalled: true}
	}
	return repo, nil
}

// scanned tells whether the tags in the database are of the image that the spec names: until the scan that follows a
// change they are of the one before, and together with the new name they would make an image that nobody has built.
func scanned(repo *imagev1.ImageRepository) bool {
	canonical, err := spec.CheckImage(repo.Spec.Image)
	return err == nil && repo.Status.CanonicalImageName == canonical
}

// allowed holds the labels of the policy's namespace against what the repository says.
func (c *controller) allowed(ctx context.Context, obj *imagev1.ImagePolicy, repo *imagev1.ImageRepository) *failure {
	denied := fmt.Errorf("access denied: ImageRepository/%s/%s does not let the namespace '%s' read it; its spec.accessFrom has to select that namespace by labels",
		repo.Namespace, repo.Name, obj.Namespace)
	if repo.Spec.AccessFrom == nil {
		return unreferable(meta.AccessDeniedReason, denied)
	}
	ns := &corev1.Namespace{}
	if err := c.objects.Get(ctx, types.NamespacedName{Name: obj.Namespace}, ns); err != nil {
		return unreferable(imagev1.FailureReason, fmt.Errorf("read the labels of the namespace '%s': %w", obj.Namespace, err))
	}
	for _, s := range repo.Spec.AccessFrom.NamespaceSelectors {
		if labels.SelectorFromSet(s.MatchLabels).Matches(labels.Set(ns.Labels)) {
			return nil
		}
	}
	return unreferable(meta.AccessDeniedReason, denied)
}

// checkInterval enforces what the rules of the API say, for objects that are older than these.
func checkInterval(obj *imagev1.ImagePolicy) *failure {
	always := obj.Spec.DigestReflectionPolicy == imagev1.ReflectAlways
	if err := obj.Spec.Interval.Err(); err != nil {
		return &failure{reason: imagev1.IntervalNotConfiguredReason, err: fmt.Errorf("spec.interval: %w", err), stalled: true}
	}
	switch {
	case always && obj.GetInterval() == 0:
		return &failure{reason: imagev1.IntervalNotConfiguredReason, stalled: true,
			err: errors.New("spec.interval must be set when spec.digestReflectionPolicy is set to 'Always'")}
	case !always && obj.Spec.Interval != nil:
		return &failure{reason: imagev1.InvalidPolicyReason, stalled: true,
			err: errors.New("spec.interval is only accepted when spec.digestReflectionPolicy is set to 'Always'")}
	}
	return nil
}
