// Package spec reads what ImageUpdateAutomations and ImageRepositories say. It knows no cluster: the controllers and the
// command line share it.
package spec

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/labels"

	imagev1 "github.com/gitops-toolkit/flux/api/image/v1"
	sourcev1 "github.com/gitops-toolkit/flux/api/source/v1"
	"github.com/gitops-toolkit/flux/internal/gitrepo"
	"github.com/gitops-toolkit/flux/internal/image/setters"
)

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

// CheckoutBranch is the branch that a reference means, "" if it means something else.
func CheckoutBranch(ref gitrepo.Reference) string {
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

var errNoPushBranch = errors.New("push spec not provided, and cannot be inferred from .spec.git.checkout.ref or GitRepository .spec.ref; set spec.git.push.branch")

// PushBranch is where the commit goes.
func PushBranch(obj *imagev1.ImageUpdateAutomation, repo *sourcev1.GitRepository) (string, error) {
	if p := obj.Spec.GitSpec.Push; p != nil && p.Branch != "" {
		return p.Branch, nil
	}
	var branch string
	if c := obj.Spec.GitSpec.Checkout; c != nil {
		branch = CheckoutBranch(gitrepo.Reference{Branch: c.Reference.Branch, Name: c.Reference.Name, Tag: c.Reference.Tag, SemVer: c.Reference.SemVer, Commit: c.Reference.Commit})
	} else {
		branch = CheckoutBranch(CheckoutRef(obj, repo))
	}
	if branch == "" {
		return "", errNoPushBranch
	}
	return branch, nil
}

// Refspec reads spec.git.push.refspec; only its destination counts, as what is pushed is the commit of the run.
func Refspec(obj *imagev1.ImageUpdateAutomation) (destination string, ok bool, err error) {
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

// PushOptions are those of the spec in the form that servers know, in order. The protocol has a line for each.
func PushOptions(obj *imagev1.ImageUpdateAutomation) (out []string, err error) {
	p := obj.Spec.GitSpec.Push
	if p == nil {
		return nil, nil
	}
	for _, k := range slices.Sorted(maps.Keys(p.Options)) {
		option := k + "=" + strings.TrimRight(p.Options[k], "\r\n")
		if strings.ContainsAny(option, "\r\n\x00") {
			return nil, fmt.Errorf("spec.git.push.options '%s' has more than one line, which a push option cannot have: write it in one", k)
		}
		out = append(out, option)
	}
	return out, nil
}
