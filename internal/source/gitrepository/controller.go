// Package gitrepository is the controller of GitRepositories: it looks at a Git repository at an interval and offers
// the files of one revision as an artifact.
//
// # One attempt
//
// A pass checks the spec and starts one background job (poll.go): make sure that the stored artifact is there, build
// the remote from spec and Secrets (remote.go), look up the reference, and, only if it means something else than the
// artifact does, fetch the commit into the shared mirror and archive its tree (store.go). What goes into the archive
// is composed in tree.go: the commit's files, or some of them (sparse.go), those of submodules (submodules.go), and
// included artifacts (include.go), a change of which wakes the object. Signatures are checked before anything is
// stored (verify.go). The job returns what it
// found; the pass that follows turns that into conditions, status and events (conclude.go). Deletion is in
// finalize.go.
//
// # What costs nothing
//
// A look that finds nothing new is one listing of refs: no object moves, no file is written, no request goes to the
// API server. Credentials are read again only when their Secret has changed. A reference to a commit is not even
// looked up once its artifact is stored.
//
// # Logins
//
// Passwords, tokens, keys, GitHub Apps and identities at clouds are the package access; a token that is renewed leads to
// the same mirror.
package gitrepository

import (
	"context"
	"errors"

	sourcev1 "github.com/gitops-toolkit/flux/api/source/v1"
	"github.com/gitops-toolkit/flux/internal/access"
	"github.com/gitops-toolkit/flux/internal/artifact/archive"
	"github.com/gitops-toolkit/flux/internal/artifact/cache"
	"github.com/gitops-toolkit/flux/internal/artifact/store"
	"github.com/gitops-toolkit/flux/internal/auth/cloud"
	"github.com/gitops-toolkit/flux/internal/auth/githubapp"
	"github.com/gitops-toolkit/flux/internal/gitrepo"
	"github.com/gitops-toolkit/flux/internal/kernel"
	"github.com/gitops-toolkit/flux/internal/source/attempt"
)

// Options of the controller. All are shared by the process, and all but Clouds required.
type Options struct {
	// Artifacts is where archives are kept and served from.
	Artifacts *store.Store
	// Archives writes them.
	Archives *archive.Builder
	// Git keeps the mirrors; its directory should outlive a restart, as that of the artifacts does.
	Git *gitrepo.Store
	// Unpacked holds the artifacts that are included in others; its fetcher should be LocalFirst.
	Unpacked *cache.Cache
	// Tokens are those of GitHub Apps.
	Tokens *githubapp.Tokens
	// Clouds logs in at the Git hosts of clouds; one of our own when nil.
	Clouds access.GitClouds
}

// Register adds the kind to a manager.
func Register(m *kernel.Manager, o Options) error {
	if o.Artifacts == nil || o.Archives == nil || o.Git == nil || o.Unpacked == nil || o.Tokens == nil {
		return errors.New("gitrepository: an option is missing")
	}
	if o.Clouds == nil {
		o.Clouds = cloud.New(cloud.Options{Mint: m.RequestToken})
	}
	c := &controller{Options: o, configs: m, accounts: m, objects: m.Client(), fallback: m.Settings().DefaultServiceAccount}
	m.Add(o.Git.CollectUnused)
	return kernel.Register(m, kind(), c)
}

// kind describes GitRepositories to the kernel.
func kind() kernel.Kind[*sourcev1.GitRepository] {
	return kernel.Kind[*sourcev1.GitRepository]{
		GroupVersionKind: sourcev1.GroupVersion.WithKind(sourcev1.GitRepositoryKind),
		New:              func() *sourcev1.GitRepository { return &sourcev1.GitRepository{} },
		Conditions: []string{
			sourcev1.StorageOperationFailedCondition, sourcev1.FetchFailedCondition, sourcev1.IncludeUnavailableCondition,
			sourcev1.ArtifactOutdatedCondition, sourcev1.ArtifactInStorageCondition, sourcev1.SourceVerifiedCondition,
		},
		Annotations:      []string{largeAnnotation},
		Publish:          published,
		DependsField:     "spec.include",
		SuspendedMessage: "reconciliation is suspended for this object",
		Attempt:          attempt.Describe[*sourcev1.GitRepository],
	}
}

// controller reconciles GitRepositories.
type controller struct {
	Options
	configs  configs
	accounts access.Accounts
	objects  reader
	// fallback is --default-service-account.
	fallback string
	// made is what archives came to.
	made attempt.Once
}

// request is one pass over a GitRepository.
type request = kernel.Request[*sourcev1.GitRepository]

// References returns what the object reads: Secrets, and the objects that it includes.
func (c *controller) References(obj *sourcev1.GitRepository) (refs []kernel.Reference) {
	for _, name := range secretNames(obj) {
		refs = append(refs, kernel.Secret(name))
	}
	return append(refs, includes(obj)...)
}

// Reconcile makes one attempt: it starts the job, or concludes from its result.
func (c *controller) Reconcile(ctx context.Context, req *request) kernel.Outcome {
	if f := checkSpec(req.Object); f != nil {
		return f.Outcome(req, failConditions)
	}
	if account := req.Object.Spec.ServiceAccountName; account != "" {
		if err := c.accounts.CheckCloudAccount(account, "spec.serviceAccountName", "provider"); err != nil {
			return attempt.GateDisabled(err).Outcome(req, failConditions)
		}
	}
	if req.Job != nil && !req.Job.Superseded {
		return conclude(req)
	}
	p, f := c.newPoll(ctx, req)
	if f != nil {
		return f.Outcome(req, failConditions)
	}
	return kernel.Working(kernel.Job{Key: p.key(), Lane: p.lane(), Run: p.run})
}
