// Package update is the controller of ImageUpdateAutomations: it writes the images that policies have chosen into the
// files of a Git repository, and pushes the commit.
//
// # One run
//
// A pass checks the spec, gathers the policies and finds the GitRepository (spec.go), and starts a background job
// (run.go) that looks the branch up and, unless nothing has changed since the last run, plans the edits on its tip
// (package edits), commits and pushes (push.go). The pass that follows turns the result into status and
// events (conclude.go).
//
// # No lost update, no spurious commit
//
// A push says where the branch has to be for it; if somebody was faster, the run begins anew on the new tip. Automations
// of one process that push to the same branch take turns. Nothing is kept between runs but what the remote has, so that
// a run that was interrupted anywhere leaves either its whole commit or none, and the next run sees which. Only that a
// commit is also to reach the refspec stands in the status, before it is pushed anywhere (refspec.go).
//
// # What costs nothing
//
// A run that finds branch and policies as they were is one listing of refs. Mirrors are shared by all automations with
// the same repository and credentials, and what moves is what changed.
package update

import (
	"context"
	"errors"

	"sigs.k8s.io/controller-runtime/pkg/client"

	imagev1 "github.com/gitops-toolkit/flux/api/image/v1"
	sourcev1 "github.com/gitops-toolkit/flux/api/source/v1"
	"github.com/gitops-toolkit/flux/internal/access"
	"github.com/gitops-toolkit/flux/internal/gitrepo"
	"github.com/gitops-toolkit/flux/internal/image/edits"
	"github.com/gitops-toolkit/flux/internal/kernel"
)

// Options of the controller.
type Options struct {
	// Git keeps the mirrors. Required.
	Git *gitrepo.Store
	// Remotes builds the ways to the servers. Required.
	Remotes access.Git
	// AllBranches builds on a push branch that exists already; otherwise each run begins at the checkout branch.
	AllBranches bool
	// ForcePush lets a push branch be overwritten that the new commit does not build on.
	ForcePush bool
}

// Register adds the kind to a manager.
func Register(m *kernel.Manager, o Options) error {
	if o.Git == nil || o.Remotes.Secrets == nil || o.Remotes.Tokens == nil || o.Remotes.Clouds == nil {
		return errors.New("image update: an option is missing")
	}
	c := &controller{Options: o, cluster: m, objects: m.Client(), finder: &edits.Finder{}, turns: newTurns()}
	m.Add(o.Git.CollectUnused)
	return kernel.Register(m, kind(), c)
}

// kind describes ImageUpdateAutomations to the kernel.
func kind() kernel.Kind[*imagev1.ImageUpdateAutomation] {
	return kernel.Kind[*imagev1.ImageUpdateAutomation]{
		GroupVersionKind: imagev1.GroupVersion.WithKind(imagev1.ImageUpdateAutomationKind),
		New:              func() *imagev1.ImageUpdateAutomation { return &imagev1.ImageUpdateAutomation{} },
		Conditions:       []string{imagev1.MarkersSkippedCondition},
		Publish: func(o *imagev1.ImageUpdateAutomation) kernel.Published {
			return kernel.Published{Revision: o.Status.LastPushCommit}
		},
		Referents: []kernel.Referent{
			kernel.Refer(imagev1.GroupVersion.WithKind(imagev1.ImagePolicyKind), func() *imagev1.ImagePolicy { return &imagev1.ImagePolicy{} }, latest, nil),
			kernel.Refer(sourcev1.GroupVersion.WithKind(sourcev1.GitRepositoryKind), func() *sourcev1.GitRepository { return &sourcev1.GitRepository{} }, nil, nil),
		},
		SuspendedMessage: "reconciliation is suspended for this resource",
		Attempt:          kernel.Processing[*imagev1.ImageUpdateAutomation],
	}
}

// controller reconciles ImageUpdateAutomations.
type controller struct {
	Options
	cluster configs
	objects client.Reader
	finder  *edits.Finder
	turns   *turns
}

// configs tells versions of Secrets without a request, and reads them.
type configs interface {
	access.Secrets
	access.Versions
}

// request is one pass over an ImageUpdateAutomation.
type request = kernel.Request[*imagev1.ImageUpdateAutomation]

// References returns the repository, all policies of the namespace, and the signing key.
func (c *controller) References(obj *imagev1.ImageUpdateAutomation) []kernel.Reference {
	refs := []kernel.Reference{
		{Group: sourcev1.GroupVersion.Group, Kind: sourcev1.GitRepositoryKind, Namespace: obj.Spec.SourceRef.Namespace,
			Name: obj.Spec.SourceRef.Name, Wake: kernel.OnSpec, Restricted: true},
		{Group: imagev1.GroupVersion.Group, Kind: imagev1.ImagePolicyKind, Name: kernel.AnyName, Wake: kernel.OnRevision},
	}
	if g := obj.Spec.GitSpec; g != nil && g.Commit.SigningKey != nil {
		refs = append(refs, kernel.Secret(g.Commit.SigningKey.SecretRef.Name))
	}
	return refs
}

// Finalize has nothing to clean up.
func (c *controller) Finalize(context.Context, *request) kernel.Outcome { return kernel.Done("", "") }

// Reconcile makes one attempt: it starts the job, or concludes from its result.
func (c *controller) Reconcile(ctx context.Context, req *request) kernel.Outcome {
	if req.Job != nil {
		if r, ok := req.Job.Value.(*result); ok {
			r.recordPush(req.Object) // It may have come so far before it was overtaken.
		}
	}
	r, f := c.newRun(ctx, req)
	if f != nil {
		return f.outcome()
	}
	if req.Job != nil && !req.Job.Superseded {
		return r.conclude()
	}
	return kernel.Working(kernel.Job{Key: r.key(), Lane: r.lane(), Run: r.do})
}
