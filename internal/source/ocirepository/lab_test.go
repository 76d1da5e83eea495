package ocirepository_test

import (
	"path/filepath"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/gitops-toolkit/flux/api/meta"
	sourcev1 "github.com/gitops-toolkit/flux/api/source/v1"
	"github.com/gitops-toolkit/flux/internal/artifact/archive"
	"github.com/gitops-toolkit/flux/internal/auth/cloud"
	"github.com/gitops-toolkit/flux/internal/kernel"
	"github.com/gitops-toolkit/flux/internal/registry"
	"github.com/gitops-toolkit/flux/internal/registry/registrytest"
	"github.com/gitops-toolkit/flux/internal/source/ocirepository"
	"github.com/gitops-toolkit/flux/internal/source/sourcetest"
)

// lab runs the controller on the sandbox, for one namespace, beside a registry.
type lab struct {
	*sourcetest.Lab
	server *registrytest.Server
	// clouds of the controller; set before start.
	clouds *cloud.Clouds
}

func newLab(t *testing.T, opts registrytest.Options) *lab {
	t.Helper()
	return &lab{Lab: sourcetest.New(t), server: registrytest.Start(t, opts)}
}

// start runs the controller until stop is called, or the test ends.
func (l *lab) start() (stop func()) {
	l.Helper()
	return l.Start(func(m *kernel.Manager) error {
		members, err := archive.OpenMembers(filepath.Join(l.Data, ".members"), 64<<20)
		l.Must(err)
		return ocirepository.Register(m, ocirepository.Options{
			Artifacts: l.Artifacts, Archives: archive.NewBuilder(archive.Options{Members: members}),
			Registries: registry.NewPool(registry.Options{Retries: []time.Duration{time.Millisecond}}), TempDir: l.Temp, Clouds: l.clouds,
		})
	})
}

// create makes a OCIRepository that follows the tag v1; change adapts it.
func (l *lab) create(name string, change func(*sourcev1.OCIRepository)) *sourcev1.OCIRepository {
	l.Helper()
	obj := &sourcev1.OCIRepository{
		ObjectMeta: metav1.ObjectMeta{Name: name},
		Spec: sourcev1.OCIRepositorySpec{
			URL: l.server.URL("app"), Interval: meta.NewDuration(time.Hour), Reference: &sourcev1.OCIRepositoryRef{Tag: "v1"},
		},
	}
	if change != nil {
		change(obj)
	}
	l.Create(obj)
	return obj
}

func (l *lab) get(name string) *sourcev1.OCIRepository {
	l.Helper()
	return sourcetest.Get[*sourcev1.OCIRepository](l.Lab, name)
}

func (l *lab) patch(name, patch string) {
	l.Helper()
	l.Patch(&sourcev1.OCIRepository{}, name, patch)
}

// request asks for a reconciliation and waits for its answer.
func (l *lab) request(name, token string) *sourcev1.OCIRepository {
	l.Helper()
	return sourcetest.Request[*sourcev1.OCIRepository](l.Lab, name, token)
}

// until waits for a state of the object.
func (l *lab) until(name, what string, ok func(*sourcev1.OCIRepository) bool) *sourcev1.OCIRepository {
	l.Helper()
	return sourcetest.Until(l.Lab, name, what, ok)
}

// ready waits until the object is Ready for its generation with an artifact of the revision.
func (l *lab) ready(name, revision string) *sourcev1.OCIRepository {
	l.Helper()
	return sourcetest.Ready[*sourcev1.OCIRepository](l.Lab, name, revision)
}

// failed waits until Ready is False with the reason, and returns the message.
func (l *lab) failed(name, reason string) (*sourcev1.OCIRepository, string) {
	l.Helper()
	return sourcetest.Failed[*sourcev1.OCIRepository](l.Lab, name, reason)
}

// files reads the stored artifact of the object.
func (l *lab) files(obj *sourcev1.OCIRepository) map[string]string {
	l.Helper()
	return l.Files(obj.Status.Artifact)
}
