package gitrepository_test

import (
	"context"
	"path/filepath"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/gitops-toolkit/flux/api/meta"
	sourcev1 "github.com/gitops-toolkit/flux/api/source/v1"
	"github.com/gitops-toolkit/flux/internal/artifact/archive"
	"github.com/gitops-toolkit/flux/internal/artifact/cache"
	"github.com/gitops-toolkit/flux/internal/artifact/fetch"
	"github.com/gitops-toolkit/flux/internal/auth/cloud"
	"github.com/gitops-toolkit/flux/internal/auth/githubapp"
	"github.com/gitops-toolkit/flux/internal/gitrepo"
	"github.com/gitops-toolkit/flux/internal/kernel"
	"github.com/gitops-toolkit/flux/internal/source/gitrepository"
	"github.com/gitops-toolkit/flux/internal/source/sourcetest"
	"github.com/gitops-toolkit/flux/test/servers/git"
)

// lab runs the controller on the sandbox, for one namespace, beside a Git server.
type lab struct {
	*sourcetest.Lab
	server *git.Server
	repo   *git.Repo
}

func newLab(t *testing.T, opts git.Options) *lab {
	t.Helper()
	l := &lab{Lab: sourcetest.New(t)}
	opts.Root = t.TempDir()
	if opts.HTTP == "" {
		opts.HTTP = git.AnyPort
	}
	var err error
	l.server, err = git.Start(opts)
	l.Must(err)
	t.Cleanup(func() { _ = l.server.Close() })
	l.repo, err = l.server.Create("fleet", "main")
	l.Must(err)
	l.commit(sourcetest.GoldenFiles, "Begin")
	return l
}

func (l *lab) commit(files map[string]string, message string) string {
	l.Helper()
	hash, err := l.repo.Commit(files, message)
	l.Must(err)
	return hash
}

// start runs the controller until stop is called, or the test ends.
func (l *lab) start() (stop func()) {
	l.Helper()
	return l.Start(func(m *kernel.Manager) error {
		mirrors, err := gitrepo.NewStore(filepath.Join(l.Data, ".git"), gitrepo.Options{})
		l.Must(err)
		l.Close(mirrors)
		members, err := archive.OpenMembers(filepath.Join(l.Data, ".members"), 64<<20)
		l.Must(err)
		unpacked, err := cache.Open(cache.Options{
			Dir: filepath.Join(l.Data, ".unpacked"), Fetcher: gitrepository.LocalFirst(l.Artifacts, fetch.New(fetch.Options{})),
		})
		l.Must(err)
		l.Close(unpacked)
		return gitrepository.Register(m, gitrepository.Options{
			Artifacts: l.Artifacts, Archives: archive.NewBuilder(archive.Options{Members: members}), Git: mirrors,
			Unpacked: unpacked, Tokens: githubapp.NewTokens(githubapp.Options{}), Clouds: cloud.New(cloud.Options{}),
		})
	})
}

// create makes a GitRepository that follows main; change adapts it.
func (l *lab) create(name string, change func(*sourcev1.GitRepository)) *sourcev1.GitRepository {
	l.Helper()
	obj := &sourcev1.GitRepository{
		ObjectMeta: metav1.ObjectMeta{Name: name},
		Spec: sourcev1.GitRepositorySpec{
			URL: l.server.HTTPURL("fleet"), Interval: meta.NewDuration(time.Hour), Reference: &sourcev1.GitRepositoryRef{Branch: "main"},
		},
	}
	if change != nil {
		change(obj)
	}
	l.Create(obj)
	return obj
}

func (l *lab) get(name string) *sourcev1.GitRepository {
	l.Helper()
	return sourcetest.Get[*sourcev1.GitRepository](l.Lab, name)
}

func (l *lab) patch(name, patch string) {
	l.Helper()
	l.Patch(&sourcev1.GitRepository{}, name, patch)
}

// request asks for a reconciliation and waits for its answer.
func (l *lab) request(name, token string) *sourcev1.GitRepository {
	l.Helper()
	return sourcetest.Request[*sourcev1.GitRepository](l.Lab, name, token)
}

// until waits for a state of the object.
func (l *lab) until(name, what string, ok func(*sourcev1.GitRepository) bool) *sourcev1.GitRepository {
	l.Helper()
	return sourcetest.Until(l.Lab, name, what, ok)
}

// ready waits until the object is Ready for its generation with an artifact of the revision.
func (l *lab) ready(name, revision string) *sourcev1.GitRepository {
	l.Helper()
	return sourcetest.Ready[*sourcev1.GitRepository](l.Lab, name, revision)
}

// failed waits until Ready is False with the reason, and returns the message.
func (l *lab) failed(name, reason string) (*sourcev1.GitRepository, string) {
	l.Helper()
	return sourcetest.Failed[*sourcev1.GitRepository](l.Lab, name, reason)
}

// files reads the stored artifact of the object.
func (l *lab) files(obj *sourcev1.GitRepository) map[string]string {
	l.Helper()
	return l.Files(obj.Status.Artifact)
}

func (l *lab) secret(name string, labels, data map[string]string) {
	l.Helper()
	l.Must(l.Client.Create(context.Background(), &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: l.Namespace, Labels: labels}, StringData: data,
	}))
}
