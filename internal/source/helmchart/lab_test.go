package helmchart_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/gitops-toolkit/flux/api/meta"
	sourcev1 "github.com/gitops-toolkit/flux/api/source/v1"
	"github.com/gitops-toolkit/flux/internal/artifact/archive"
	"github.com/gitops-toolkit/flux/internal/artifact/cache"
	"github.com/gitops-toolkit/flux/internal/artifact/fetch"
	"github.com/gitops-toolkit/flux/internal/artifact/store"
	"github.com/gitops-toolkit/flux/internal/auth"
	"github.com/gitops-toolkit/flux/internal/charts/chart"
	"github.com/gitops-toolkit/flux/internal/charts/index"
	"github.com/gitops-toolkit/flux/internal/charts/repo"
	"github.com/gitops-toolkit/flux/internal/kernel"
	"github.com/gitops-toolkit/flux/internal/registry"
	"github.com/gitops-toolkit/flux/internal/source/gitrepository"
	"github.com/gitops-toolkit/flux/internal/source/helmchart"
	"github.com/gitops-toolkit/flux/internal/source/helmrepository"
	"github.com/gitops-toolkit/flux/internal/source/helmtest"
	"github.com/gitops-toolkit/flux/internal/source/sourcetest"
)

type (
	helmChart  = *sourcev1.HelmChart
	repository = *sourcev1.HelmRepository
)

// limits of charts in tests.
var limits = chart.Limits{Packed: 64 << 10, File: 32 << 10}

// start runs the controllers of HelmRepositories and HelmCharts in a lab.
func start(l *sourcetest.Lab) (stop func()) {
	l.Helper()
	var unpacked *cache.Cache
	inner := l.Start(func(m *kernel.Manager) (err error) {
		connections, indexes := &repo.Pool{}, &index.Known{}
		fetcher := gitrepository.LocalFirst(l.Artifacts, fetch.New(fetch.Options{Retries: -1}))
		if unpacked, err = cache.Open(cache.Options{Dir: filepath.Join(l.Data, ".unpacked"), Fetcher: fetcher}); err != nil {
			return err
		}
		return errors.Join(
			helmrepository.Register(m, helmrepository.Options{Artifacts: l.Artifacts, Connections: connections, Indexes: indexes, TempDir: l.Temp}),
			helmchart.Register(m, helmchart.Options{
				Artifacts: l.Artifacts, Fetcher: fetcher, Unpacked: unpacked, Connections: connections, Indexes: indexes, Limits: limits, TempDir: l.Temp,
				Registries: registry.NewPool(registry.Options{Retries: []time.Duration{time.Millisecond}}),
				Cloud: func(_ context.Context, provider, host string) (auth.Login, time.Time, error) {
					return auth.Login{Username: provider, Password: "cloud-token"}, time.Now().Add(time.Hour), nil
				},
			}),
		)
	})
	stop = func() {
		inner()
		_ = unpacked.Close()
	}
	l.Cleanup(stop)
	return stop
}

// newLab is a lab with the controllers, and a Helm repository `charts` that has demo 1.0.0, 1.1.0 and 2.0.0-rc.1.
func newLab(t *testing.T) (*sourcetest.Lab, *helmtest.Server) {
	t.Helper()
	l := sourcetest.New(t)
	l.Settings = helmtest.Impatient
	start(l)
	s := helmtest.Serve(t, false)
	offer(l, s, "1.0.0", "1.1.0", "2.0.0-rc.1")
	helmtest.Repository(l, "charts", s.RepositoryURL(), nil)
	return l, s
}

// offer makes these versions of demo the content of the repository.
func offer(l *sourcetest.Lab, s *helmtest.Server, versions ...string) {
	charts := map[string][]byte{}
	for _, v := range versions {
		charts["demo-"+v] = demo(l, v)
	}
	s.Offer(charts)
}

func demo(l *sourcetest.Lab, version string) []byte {
	return helmtest.Chart(l, "demo", version, map[string]string{
		"values.yaml": "replicas: 1\nimage: {name: demo, tag: v1}\n", "values-prod.yaml": "replicas: 3\nimage: {tag: v2}\n",
		"templates/cm.yaml": "kind: ConfigMap\n",
	})
}

// create makes a HelmChart of demo from the repository; change adapts it.
func create(l *sourcetest.Lab, name string, change func(helmChart)) {
	l.Helper()
	obj := &sourcev1.HelmChart{ObjectMeta: metav1.ObjectMeta{Name: name}, Spec: sourcev1.HelmChartSpec{
		Chart: "demo", Interval: meta.NewDuration(time.Hour),
		SourceRef: sourcev1.LocalHelmChartSourceReference{Kind: sourcev1.HelmRepositoryKind, Name: "charts"},
	}}
	if change != nil {
		change(obj)
	}
	l.Create(obj)
}

// from changes the source of a chart.
func from(kind, name, path string) func(helmChart) {
	return func(o helmChart) {
		o.Spec.SourceRef.Kind, o.Spec.SourceRef.Name, o.Spec.Chart = kind, name, path
	}
}

// git stores files as the artifact of a GitRepository, as its controller would, which does not run here.
func git(l *sourcetest.Lab, name, revision string, files map[string]string) {
	l.Helper()
	publish(l, &sourcev1.GitRepository{}, "gitrepository", name, revision, files)
}

// bucket does so for a Bucket.
func bucket(l *sourcetest.Lab, name, revision string, files map[string]string) {
	l.Helper()
	publish(l, &sourcev1.Bucket{}, "bucket", name, revision, files)
}

func publish(l *sourcetest.Lab, obj client.Object, kind, name, revision string, files map[string]string) {
	l.Helper()
	key := types.NamespacedName{Namespace: l.Namespace, Name: name}
	if err := l.Client.Get(context.Background(), key, obj); client.IgnoreNotFound(err) == nil && err != nil {
		obj.SetName(name)
		switch o := obj.(type) {
		case *sourcev1.GitRepository:
			o.Spec.URL, o.Spec.Interval = "https://git.example/x.git", meta.NewDuration(time.Hour)
		case *sourcev1.Bucket:
			o.Spec.Endpoint, o.Spec.BucketName, o.Spec.Interval = "s3.example", "x", meta.NewDuration(time.Hour)
		}
		l.Create(obj)
	}
	ref := put(l, kind, name, revision, files)
	a := &meta.Artifact{Path: ref.Path, URL: ref.URL, Revision: ref.Revision, Digest: string(ref.Digest), Size: &ref.Size, LastUpdateTime: meta.NewTime(ref.LastUpdateTime)}
	switch o := obj.(type) {
	case *sourcev1.GitRepository:
		o.Status.Artifact = a
	case *sourcev1.Bucket:
		o.Status.Artifact = a
	}
	l.Must(l.Client.Status().Update(context.Background(), obj))
}

func put(l *sourcetest.Lab, kind, name, revision string, files map[string]string) artifactRef {
	l.Helper()
	dir := l.TempDir()
	for file, data := range files {
		full := filepath.Join(dir, filepath.FromSlash(file))
		l.Must(os.MkdirAll(filepath.Dir(full), 0o700))
		l.Must(os.WriteFile(full, []byte(data), 0o600))
	}
	tree, err := archive.OpenDir(dir)
	l.Must(err)
	defer tree.Close()
	digest := revision[max(0, len(revision)-12):]
	ref, err := l.Artifacts.Put(context.Background(), store.Name{Kind: kind, Namespace: l.Namespace, Name: name, File: digest + ".tar.gz"}, revision, nil,
		archiver(tree))
	l.Must(err)
	return ref
}

// stored reads the artifact of a chart.
func stored(l *sourcetest.Lab, o helmChart) *chart.Chart {
	l.Helper()
	f, err := os.Open(filepath.Join(l.Data, filepath.FromSlash(o.Status.Artifact.Path)))
	l.Must(err)
	defer f.Close()
	c, err := chart.LoadArchive(f, chart.Limits{})
	l.Must(err)
	return c
}

// values of the stored chart.
func values(l *sourcetest.Lab, o helmChart) string {
	l.Helper()
	data, err := stored(l, o).ReadFile("values.yaml")
	l.Must(err)
	return string(data)
}
