package update

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	imagev1 "github.com/gitops-toolkit/flux/api/image/v1"
	sourcev1 "github.com/gitops-toolkit/flux/api/source/v1"
	"github.com/gitops-toolkit/flux/internal/gitrepo"
	"github.com/gitops-toolkit/flux/internal/image/spec"
	"github.com/gitops-toolkit/flux/internal/kernel"
)

// failure is why an attempt came to nothing.
type failure struct {
	reason  string
	err     error
	stalled bool
}

func (f *failure) Error() string { return f.err.Error() }
func (f *failure) Unwrap() error { return f.err }

func (f *failure) outcome() kernel.Outcome {
	if f.stalled {
		return kernel.Stalled(f.reason, f.err)
	}
	return kernel.Failed(f.reason, f.err).Backoff()
}

func stalled(reason string, err error) *failure {
	return &failure{reason: reason, err: err, stalled: true}
}

func unconfigured(err error) *failure {
	return &failure{reason: imagev1.SourceManagerFailedReason, err: fmt.Errorf("failed configuring source manager: %w", err)}
}

// latest is what an automation looks at of a policy: what it has chosen, and the labels it is selected by.
func latest(p *imagev1.ImagePolicy) kernel.Published {
	p = p.DeepCopy()
	p.Normalize()
	if p.Status.LatestRef == nil {
		return kernel.Published{}
	}
	return kernel.Published{Revision: p.Status.LatestRef.String() + " " + labels.FormatLabels(p.Labels)}
}

// checkSpec finds what no repetition would mend.
func checkSpec(obj *imagev1.ImageUpdateAutomation) (labels.Selector, *failure) {
	selector := labels.Everything()
	if s := obj.Spec.PolicySelector; s != nil {
		var err error
		if selector, err = metav1.LabelSelectorAsSelector(s); err != nil {
			return nil, stalled(imagev1.InvalidPolicySelectorReason, fmt.Errorf("failed to parse policy selector: %w; correct spec.policySelector", err))
		}
	}
	if err := obj.Spec.Interval.Err(); err != nil {
		return nil, stalled(imagev1.InvalidSourceConfigurationReason, fmt.Errorf("spec.interval: %w", err))
	}
	if kind := cmp.Or(obj.Spec.SourceRef.Kind, sourcev1.GitRepositoryKind); kind != sourcev1.GitRepositoryKind {
		return nil, stalled(imagev1.InvalidSourceConfigurationReason, fmt.Errorf("source kind '%s' not supported", kind))
	}
	if obj.Spec.GitSpec == nil {
		return nil, stalled(imagev1.InvalidSourceConfigurationReason, errors.New("source kind 'GitRepository' necessitates field .spec.git"))
	}
	strategy := imagev1.SettersStrategy
	if obj.Spec.Update != nil {
		strategy = cmp.Or(obj.Spec.Update.Strategy, strategy)
	}
	if strategy != imagev1.SettersStrategy {
		return nil, stalled(imagev1.InvalidUpdateStrategyReason, fmt.Errorf("unknown update strategy '%s'; the only one is %s", strategy, imagev1.SettersStrategy))
	}
	_, _, err := spec.Refspec(obj)
	if err == nil {
		_, err = spec.PushOptions(obj)
	}
	if err != nil {
		return nil, stalled(imagev1.InvalidSourceConfigurationReason, err)
	}
	return selector, nil
}

// repository finds the GitRepository.
func (c *controller) repository(ctx context.Context, obj *imagev1.ImageUpdateAutomation) (*sourcev1.GitRepository, *failure) {
	key := types.NamespacedName{Namespace: cmp.Or(obj.Spec.SourceRef.Namespace, obj.Namespace), Name: obj.Spec.SourceRef.Name}
	repo := &sourcev1.GitRepository{}
	if err := c.objects.Get(ctx, key, repo); err != nil {
		err = fmt.Errorf("failed to get git repository '%s': %w", key, err)
		if apierrors.IsNotFound(err) {
			err = fmt.Errorf("%w; create it, or correct spec.sourceRef", err)
		}
		return nil, unconfigured(err)
	}
	if err := gitrepo.ParseURL(repo.Spec.URL); err != nil {
		return nil, unconfigured(fmt.Errorf("GitRepository '%s': spec.url: %w", key, err))
	}
	return repo, nil
}

// policies lists those of the namespace.
func (c *controller) policies(ctx context.Context, obj *imagev1.ImageUpdateAutomation, selector labels.Selector) (map[string]imagev1.ImageRef, map[string]bool, *failure) {
	list := &imagev1.ImagePolicyList{}
	if err := c.objects.List(ctx, list, client.InNamespace(obj.Namespace)); err != nil {
		return nil, nil, &failure{reason: imagev1.UpdateFailedReason, err: fmt.Errorf("failed to apply policies: list them: %w", err)}
	}
	all := map[string]bool{}
	for i := range list.Items {
		//lint:ignore SA1019 a policy that an older controller left has only the old field
		all[list.Items[i].Name] = list.Items[i].Status.LatestRef != nil || list.Items[i].Status.LatestImage != ""
	}
	return spec.Selected(list.Items, selector), all, nil
}

// samePolicies tells whether the policies say what they said at the last run.
func samePolicies(now, then map[string]imagev1.ImageRef) bool { return maps.Equal(now, then) }
