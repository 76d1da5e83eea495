package helmrepository_test

import (
	"path/filepath"
	"testing"

	"github.com/gitops-toolkit/flux/internal/charts/index"
	"github.com/gitops-toolkit/flux/internal/charts/repo"
	"github.com/gitops-toolkit/flux/internal/kernel"
	"github.com/gitops-toolkit/flux/internal/source/helmrepository"
	"github.com/gitops-toolkit/flux/internal/source/helmtest"
	"github.com/gitops-toolkit/flux/internal/source/sourcetest"
)

// start runs the controller in a lab.
func start(l *sourcetest.Lab) (stop func()) {
	l.Helper()
	return l.Start(func(m *kernel.Manager) error {
		return helmrepository.Register(m, helmrepository.Options{
			Artifacts: l.Artifacts, Connections: &repo.Pool{}, Indexes: &index.Known{}, MaxIndex: 1 << 20,
			MemoDir: filepath.Join(l.Data, ".indexes"), TempDir: l.Temp,
		})
	})
}

// lab is a lab with the controller and a Helm repository that has demo 1.0.0 and 1.1.0.
func lab(t *testing.T) (*sourcetest.Lab, *helmtest.Server) {
	t.Helper()
	l := sourcetest.New(t)
	l.Settings = helmtest.Impatient
	start(l)
	s := helmtest.Serve(t, false)
	offer(l, s, "demo-1.0.0", "demo-1.1.0")
	return l, s
}

func offer(l *sourcetest.Lab, s *helmtest.Server, names ...string) {
	charts := map[string][]byte{}
	for _, name := range names {
		charts[name] = []byte(name)
	}
	s.Offer(charts)
}
