package image_test

import (
	"context"
	"errors"
	"net/http"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	imagev1 "github.com/gitops-toolkit/flux/api/image/v1"
	"github.com/gitops-toolkit/flux/api/meta"
	sourcev1 "github.com/gitops-toolkit/flux/api/source/v1"
	"github.com/gitops-toolkit/flux/internal/access"
	"github.com/gitops-toolkit/flux/internal/auth/cloud"
	"github.com/gitops-toolkit/flux/internal/auth/githubapp"
	"github.com/gitops-toolkit/flux/internal/gitrepo"
	imageaccess "github.com/gitops-toolkit/flux/internal/image/access"
	"github.com/gitops-toolkit/flux/internal/image/policy"
	"github.com/gitops-toolkit/flux/internal/image/repository"
	"github.com/gitops-toolkit/flux/internal/image/tags"
	"github.com/gitops-toolkit/flux/internal/image/update"
	"github.com/gitops-toolkit/flux/internal/kernel"
	"github.com/gitops-toolkit/flux/internal/registry"
	"github.com/gitops-toolkit/flux/internal/registry/registrytest"
	"github.com/gitops-toolkit/flux/internal/source/sourcetest"
	"github.com/gitops-toolkit/flux/test/servers/git"
)

const limit = sourcetest.Limit

// lab runs both controllers on the sandbox, beside a registry and a Git server. Tags are in Data, mirrors in Temp.
type lab struct {
	*sourcetest.Lab
	registry *registrytest.Server
	git      *git.Server
	repo     *git.Repo
	updates  func(*update.Options) // adapts the controller before it starts
	cloud    http.RoundTripper     // the services of clouds, nil for the network
}

type event = sourcetest.Event

func newLab(t *testing.T, registryOptions registrytest.Options, gitOptions git.Options) *lab {
	t.Helper()
	l := &lab{Lab: sourcetest.New(t)}
	l.registry = registrytest.Start(t, registryOptions)
	gitOptions.Root = t.TempDir()
	if gitOptions.HTTP == "" {
		gitOptions.HTTP = git.AnyPort
	}
	var err error
	l.git, err = git.Start(gitOptions)
	l.Must(err)
	t.Cleanup(func() { _ = l.git.Close() })
	l.repo, err = l.git.Create("fleet", "main")
	l.Must(err)
	return l
}

// start runs the controllers until stop is called, or the test ends.
func (l *lab) start() (stop func()) {
	l.Helper()
	return l.Run(func(p *kernel.Process, s kernel.Settings) error {
		s.IntervalJitterPercentage = 0
		return errors.Join(l.reflector(p.Controller("image-reflector-controller", s)), l.automation(p.Controller("image-automation-controller", s)))
	})
}

func (l *lab) reflector(m *kernel.Manager) error {
	store, err := tags.Open(tags.Options{Dir: l.Data})
	l.Must(err)
	opener := imageaccess.NewOpener(access.Registries{
		Cluster: m, Pool: registry.NewPool(registry.Options{Retries: []time.Duration{time.Millisecond}}),
		Clouds: cloud.New(cloud.Options{Transport: l.cloud, Mint: m.RequestToken}),
	})
	return errors.Join(repository.Register(m, repository.Options{Tags: store, Registries: opener}),
		policy.Register(m, policy.Options{Tags: store, Registries: opener}))
}

func (l *lab) automation(m *kernel.Manager) error {
	mirrors, err := gitrepo.NewStore(l.Temp, gitrepo.Options{})
	l.Must(err)
	l.Close(mirrors)
	options := update.Options{Git: mirrors, AllBranches: true, ForcePush: true,
		Remotes: access.Git{Foreign: true, Secrets: m, Accounts: m, Tokens: githubapp.NewTokens(githubapp.Options{}), Clouds: cloud.New(cloud.Options{})}}
	if l.updates != nil {
		l.updates(&options)
	}
	return update.Register(m, options)
}

// push gives an image tags.
func (l *lab) push(image string, names ...string) {
	l.Helper()
	for _, tag := range names {
		l.registry.Push(l.T, image, tag, nil, registrytest.Archive(l.T, map[string]string{"tag": tag}))
	}
}

func (l *lab) commit(files map[string]string, message string) string {
	l.Helper()
	hash, err := l.repo.Commit(files, message)
	l.Must(err)
	return hash
}

// gitCmd runs git in the repository on the server.
func (l *lab) gitCmd(args ...string) string {
	l.Helper()
	out, err := l.repo.Git(nil, args...)
	l.Must(err)
	return out
}

func (l *lab) meta(name string) metav1.ObjectMeta {
	return metav1.ObjectMeta{Name: name, Namespace: l.Namespace}
}

func (l *lab) image(name string) string { return l.registry.Host + "/" + name }

func (l *lab) createRepository(name string, change func(*imagev1.ImageRepository)) {
	l.Helper()
	o := &imagev1.ImageRepository{ObjectMeta: l.meta(name), Spec: imagev1.ImageRepositorySpec{Image: l.image(name), Interval: meta.NewDuration(time.Hour)}}
	if change != nil {
		change(o)
	}
	l.Create(o)
}

func (l *lab) createPolicy(name, repository string, change func(*imagev1.ImagePolicy)) {
	l.Helper()
	o := &imagev1.ImagePolicy{ObjectMeta: l.meta(name), Spec: imagev1.ImagePolicySpec{
		ImageRepositoryRef: meta.NamespacedObjectReference{Name: repository},
		Policy:             imagev1.ImagePolicyChoice{SemVer: &imagev1.SemVerPolicy{Range: "*"}},
	}}
	if change != nil {
		change(o)
	}
	l.Create(o)
}

func (l *lab) createSource(name string, change func(*sourcev1.GitRepository)) {
	l.Helper()
	o := &sourcev1.GitRepository{ObjectMeta: l.meta(name), Spec: sourcev1.GitRepositorySpec{
		URL: l.git.HTTPURL("fleet"), Interval: meta.NewDuration(time.Hour), Reference: &sourcev1.GitRepositoryRef{Branch: "main"},
	}}
	if change != nil {
		change(o)
	}
	l.Create(o)
}

func (l *lab) createUpdate(name string, change func(*imagev1.ImageUpdateAutomation)) {
	l.Helper()
	o := &imagev1.ImageUpdateAutomation{ObjectMeta: l.meta(name), Spec: imagev1.ImageUpdateAutomationSpec{
		SourceRef: imagev1.CrossNamespaceSourceReference{Kind: "GitRepository", Name: "fleet"}, Interval: meta.NewDuration(time.Hour),
		GitSpec: &imagev1.GitSpec{Commit: imagev1.CommitSpec{Author: imagev1.CommitUser{Name: "bot", Email: "bot@example.com"}}},
	}}
	if change != nil {
		change(o)
	}
	l.Create(o)
}

// patch merges into an object.
func (l *lab) patch(o client.Object, patch string) {
	l.Helper()
	l.Must(l.Client.Patch(context.Background(), o, client.RawPatch(types.MergePatchType, []byte(patch))))
}

func readyOf(o meta.Object) *metav1.Condition {
	return meta.Conditions(o.GetConditions()).Get(meta.ReadyCondition)
}

func isReady(o meta.Object) bool {
	c := readyOf(o)
	return c != nil && c.Status == metav1.ConditionTrue && o.GetObservedGeneration() == o.GetGeneration()
}

func (l *lab) repository(name, what string, ok func(*imagev1.ImageRepository) bool) *imagev1.ImageRepository {
	l.Helper()
	return sourcetest.Until[*imagev1.ImageRepository](l.Lab, name, what, ok)
}

func (l *lab) policy(name, what string, ok func(*imagev1.ImagePolicy) bool) *imagev1.ImagePolicy {
	l.Helper()
	return sourcetest.Until[*imagev1.ImagePolicy](l.Lab, name, what, ok)
}

// picked waits until a policy has chosen a tag.
func (l *lab) picked(name, tag string) *imagev1.ImagePolicy {
	l.Helper()
	return l.policy(name, "picks "+tag, func(o *imagev1.ImagePolicy) bool {
		return isReady(o) && o.Status.LatestRef != nil && o.Status.LatestRef.Tag == tag
	})
}

func (l *lab) update(name, what string, ok func(*imagev1.ImageUpdateAutomation) bool) *imagev1.ImageUpdateAutomation {
	l.Helper()
	return sourcetest.Until[*imagev1.ImageUpdateAutomation](l.Lab, name, what, ok)
}

// failed tells whether Ready is False with the reason.
func failed(o meta.Object, reason string) bool {
	c := readyOf(o)
	return c != nil && c.Status == metav1.ConditionFalse && c.Reason == reason
}
