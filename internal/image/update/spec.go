package update

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	imagev1 "github.com/gitops-toolkit/flux/api/image/v1"
	sourcev1 "github.com/gitops-toolkit/flux/api/source/v1"
	"github.com/gitops-toolkit/flux/internal/gitrepo"
	"github.com/gitops-toolkit/flux/internal/image/setters"
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
	if _, _, err := refspec(obj); err != nil {
		return nil, stalled(imagev1.InvalidSourceConfigurationReason, err)
	}
	return selector, nil
}

// Selected returns what the policies that an automation selects have chosen, by their names.
func Selected(policies []imagev1.ImagePolicy, selector labels.Selector) map[string]imagev1.ImageRef {
	out := map[string]imagev1.ImageRef{}
	for i := range policies {
		p := policies[i].DeepCopy()
		p.Normalize()
		if p.Status.LatestRef != nil && selector.Matches(labels.Set(p.Labels)) {
			out[p.Name] = *p.Status.LatestRef
		}
	}
	return out
}

// Selector reads spec.policySelector.
func Selector(obj *imagev1.ImageUpdateAutomation) (labels.Selector, error) {
	s, f := checkSpec(obj)
	if f != nil {
		return nil, f
	}
	return s, nil
}

// Lookup finds the images of policies in one namespace for setters.
func Lookup(namespace string, images map[string]imagev1.ImageRef) setters.Lookup {
	return func(ns, name string) (setters.Image, bool) {
		ref, ok := images[name]
		return setters.Image{Name: ref.Name, Tag: ref.Tag, Digest: ref.Digest}, ok && ns == namespace
	}
}

// CheckoutRef says which commit to change: that of the automation, else of the repository.
func CheckoutRef(obj *imagev1.ImageUpdateAutomation, repo *sourcev1.GitRepository) gitrepo.Reference {
	if c := obj.Spec.GitSpec.Checkout; c != nil {
		r := c.Reference
		return gitrepo.Reference{Branch: r.Branch, Tag: r.Tag, SemVer: r.SemVer, Name: r.Name, Commit: r.Commit}
	}
	if r := repo.Spec.Reference; r != nil {
		return gitrepo.Reference{Branch: r.Branch, Tag: r.Tag, SemVer: r.SemVer, Name: r.Name, Commit: r.Commit}
	}
	return gitrepo.Reference{Branch: gitrepo.DefaultBranch}
}

// checkoutBranch is the branch that a reference means, "" if it means something else.
func checkoutBranch(ref gitrepo.Reference) string {
	switch {
	case ref.Commit != "" || ref.Tag != "" || ref.SemVer != "":
		return ""
	case ref.Name != "":
		branch, ok := strings.CutPrefix(ref.Name, "refs/heads/")
		if !ok {
			return ""
		}
		return branch
	}
	return ref.Branch
}

var errNoPushBranch = errors.New("push spec not provided, and cannot be inferred from .spec.git.checkout.ref or GitRepository .spec.ref")

// pushBranch is where the commit goes.
func pushBranch(obj *imagev1.ImageUpdateAutomation, repo *sourcev1.GitRepository) (string, error) {
	if p := obj.Spec.GitSpec.Push; p != nil && p.Branch != "" {
		return p.Branch, nil
	}
	var branch string
	if c := obj.Spec.GitSpec.Checkout; c != nil {
		branch = checkoutBranch(gitrepo.Reference{Branch: c.Reference.Branch, Name: c.Reference.Name, Tag: c.Reference.Tag, SemVer: c.Reference.SemVer, Commit: c.Reference.Commit})
	} else {
		branch = checkoutBranch(CheckoutRef(obj, repo))
	}
	if branch == "" {
		return "", errNoPushBranch
	}
	return branch, nil
}

// refspec reads spec.git.push.refspec; only its destination counts, as what is pushed is the commit of the run.
func refspec(obj *imagev1.ImageUpdateAutomation) (destination string, ok bool, err error) {
	p := obj.Spec.GitSpec.Push
	if p == nil || p.Refspec == "" {
		return "", false, nil
	}
	from, to, both := strings.Cut(p.Refspec, ":")
	if !both {
		to = from
	}
	if strings.HasPrefix(p.Refspec, "+") || from == "" || !strings.HasPrefix(to, "refs/") || strings.ContainsAny(to, "*:") {
		return "", false, fmt.Errorf("spec.git.push.refspec '%s' is not supported: write it as refs/heads/<branch>:refs/..., without + or *", p.Refspec)
	}
	return to, true, nil
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
		all[list.Items[i].Name] = list.Items[i].Status.LatestRef != nil || list.Items[i].Status.LatestImage != ""
	}
	return Selected(list.Items, selector), all, nil
}

// samePolicies tells whether the policies say what they said at the last run.
func samePolicies(now, then map[string]imagev1.ImageRef) bool { return maps.Equal(now, then) }

// pushOptions are those of the spec in the form that servers know, in order.
func pushOptions(obj *imagev1.ImageUpdateAutomation) (out []string) {
	if p := obj.Spec.GitSpec.Push; p != nil {
		for _, k := range slices.Sorted(maps.Keys(p.Options)) {
			out = append(out, k+"="+p.Options[k])
		}
	}
	return out
}
