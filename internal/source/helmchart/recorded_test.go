package helmchart_test

import (
	"cmp"
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/yaml"

	"github.com/gitops-toolkit/flux/api/meta"
	sourcev1 "github.com/gitops-toolkit/flux/api/source/v1"
	"github.com/gitops-toolkit/flux/internal/source/helmtest"
	"github.com/gitops-toolkit/flux/internal/source/sourcetest"
)

const recordedHost = "http://127.0.0.1:19500"

// TestRecorded serves the recorded repository, applies the specs of recorded objects, and compares what comes of them with
// what upstream made: conditions, revisions, paths, digests, events. The recording is data beside the checkout; without it
// the test is skipped.
func TestRecorded(t *testing.T) {
	t.Parallel()
	dir := cmp.Or(os.Getenv("FLUX_RECORDED"), "/work/shared/recorded")
	if _, err := os.Stat(dir); errors.Is(err, fs.ErrNotExist) {
		t.Skipf("no recording in %s; set FLUX_RECORDED to its directory", dir)
	}
	l := sourcetest.New(t)
	l.Settings = helmtest.Impatient
	start(l)
	s := helmtest.Serve(t, false)
	packed, err := filepath.Glob(filepath.Join(dir, "inputs", "charts-packed", "*"))
	l.Must(err)
	for _, file := range packed {
		data, err := os.ReadFile(file)
		l.Must(err)
		s.Put("/charts/"+filepath.Base(file), data)
	}
	for _, name := range []string{"charts", "charts-missing"} {
		recorded := &sourcev1.HelmRepository{}
		load(l, filepath.Join(dir, "objects", "HelmRepository_"+name+".yaml"), recorded)
		l.Create(&sourcev1.HelmRepository{ObjectMeta: metav1.ObjectMeta{Name: name}, Spec: func() sourcev1.HelmRepositorySpec {
			spec := *recorded.Spec.DeepCopy()
			spec.URL = strings.Replace(spec.URL, recordedHost, s.URL, 1)
			return spec
		}()})
		obj := sourcetest.Until(l, name, "as recorded", func(o repository) bool { return same(o.Status.Conditions, recorded.Status.Conditions, s.URL) })
		compare(l, name, obj.Status.Artifact, recorded.Status.Artifact)
		if obj.Status.ObservedGeneration != recorded.Status.ObservedGeneration {
			t.Errorf("%s: observedGeneration %d, want %d", name, obj.Status.ObservedGeneration, recorded.Status.ObservedGeneration)
		}
	}
	git(l, "fleet", "main@sha1:591cf67c8668fc0fd3c4a94a0a2d278d32c4f3bf", readDir(l, filepath.Join(dir, "inputs", "fleet")))
	for _, name := range []string{"demo-bad", "demo-git", "flux-system-hr-chart", "flux-system-hr-fail-chart"} {
		recorded := &sourcev1.HelmChart{}
		load(l, filepath.Join(dir, "objects", "HelmChart_"+name+".yaml"), recorded)
		l.Create(&sourcev1.HelmChart{ObjectMeta: metav1.ObjectMeta{Name: name}, Spec: *recorded.Spec.DeepCopy()})
		obj := sourcetest.Until(l, name, "as recorded", func(o helmChart) bool { return same(o.Status.Conditions, recorded.Status.Conditions, s.URL) })
		if name == "demo-git" { // upstream packs with the time of the day
			recorded.Status.Artifact.Digest, recorded.Status.Artifact.Size = obj.Status.Artifact.Digest, obj.Status.Artifact.Size
		}
		compare(l, name, obj.Status.Artifact, recorded.Status.Artifact)
		if obj.Status.ObservedSourceArtifactRevision != recorded.Status.ObservedSourceArtifactRevision || obj.Status.ObservedChartName != recorded.Status.ObservedChartName {
			t.Errorf("%s: status %+v, want %+v", name, obj.Status, recorded.Status)
		}
	}
	l.Event("charts", "NewArtifact", "stored fetched index of size 1.155kB from '"+s.URL+"/charts'")
	l.Event("demo-git", "ChartPackageSucceeded", "packaged 'demo' chart with version '1.0.0+591cf67c8668'")
}

func load(l *sourcetest.Lab, file string, into any) {
	l.Helper()
	data, err := os.ReadFile(file)
	l.Must(err)
	l.Must(yaml.Unmarshal(data, into))
}

func readDir(l *sourcetest.Lab, dir string) map[string]string {
	l.Helper()
	files := map[string]string{}
	l.Must(fs.WalkDir(os.DirFS(dir), ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		data, err := os.ReadFile(filepath.Join(dir, name))
		files[name] = string(data)
		return err
	}))
	return files
}

// nextStep is what we add to the recorded messages about a chart or a version that the index lacks.
var nextStep = regexp.MustCompile(`; (the newest in the index is '[0-9.]+': correct the version|the index has no chart 'absent': correct the name), ` +
	`or fetch the index anew with 'flux reconcile source helm charts -n [-a-z0-9]+'$`)

// same compares conditions, but for their order, times and generations, and what we add.
func same(got, want meta.Conditions, url string) bool {
	describe := func(list meta.Conditions) (out []string) {
		for _, c := range list {
			message := strings.ReplaceAll(strings.ReplaceAll(c.Message, url, recordedHost), "404 Not Found", "404 File not found")
			message = nextStep.ReplaceAllString(message, "")
			out = append(out, strings.Join([]string{c.Type, string(c.Status), c.Reason, message}, " | "))
		}
		slices.Sort(out)
		return out
	}
	return slices.Equal(describe(got), describe(want))
}

func compare(l *sourcetest.Lab, name string, got, want *meta.Artifact) {
	l.Helper()
	if got == nil || want == nil {
		if got != want {
			l.Errorf("%s: artifact %+v, want %+v", name, got, want)
		}
		return
	}
	path := strings.Replace(got.Path, "/"+l.Namespace+"/", "/flux-system/", 1)
	if path != want.Path || got.Revision != want.Revision || got.Digest != want.Digest || *got.Size != *want.Size {
		l.Errorf("%s: artifact %+v, want %+v", name, got, want)
	}
}

// TestSwap takes over the status that upstream wrote: nothing is fetched, and nobody is told.
func TestSwap(t *testing.T) {
	t.Parallel()
	dir := cmp.Or(os.Getenv("FLUX_RECORDED"), "/work/shared/recorded")
	if _, err := os.Stat(dir); errors.Is(err, fs.ErrNotExist) {
		t.Skipf("no recording in %s; set FLUX_RECORDED to its directory", dir)
	}
	l := sourcetest.New(t)
	l.Settings = helmtest.Impatient
	s := helmtest.Serve(t, false)
	recorded := &sourcev1.HelmChart{}
	load(l, filepath.Join(dir, "objects", "HelmChart_flux-system-hr-chart.yaml"), recorded)
	repo := &sourcev1.HelmRepository{}
	load(l, filepath.Join(dir, "objects", "HelmRepository_charts.yaml"), repo)
	files := filepath.Join(dir, "artifacts", "files", "source-controller")
	for _, a := range []*meta.Artifact{recorded.Status.Artifact, repo.Status.Artifact} {
		data, err := os.ReadFile(filepath.Join(files, filepath.FromSlash(a.Path)))
		l.Must(err)
		a.Path = strings.Replace(a.Path, "/flux-system/", "/"+l.Namespace+"/", 1)
		l.Must(os.MkdirAll(filepath.Dir(filepath.Join(l.Data, a.Path)), 0o700))
		l.Must(os.WriteFile(filepath.Join(l.Data, a.Path), data, 0o600))
	}
	index, err := os.ReadFile(filepath.Join(dir, "inputs", "charts-packed", "index.yaml"))
	l.Must(err)
	s.Put("/charts/index.yaml", index)
	l.Create(&sourcev1.HelmRepository{ObjectMeta: metav1.ObjectMeta{Name: "charts"}, Spec: sourcev1.HelmRepositorySpec{URL: s.RepositoryURL(), Interval: repo.Spec.Interval}})
	l.Create(&sourcev1.HelmChart{ObjectMeta: metav1.ObjectMeta{Name: "flux-system-hr-chart"}, Spec: recorded.Spec})
	obj, source := sourcetest.Get[helmChart](l, "flux-system-hr-chart"), sourcetest.Get[repository](l, "charts")
	obj.Status, source.Status = recorded.Status, repo.Status
	obj.Status.ObservedGeneration, source.Status.ObservedGeneration = obj.Generation, source.Generation
	for i := range obj.Status.Conditions {
		obj.Status.Conditions[i].ObservedGeneration = obj.Generation
	}
	l.Must(l.Client.Status().Update(context.Background(), source))
	l.Must(l.Client.Status().Update(context.Background(), obj))
	start(l)
	after := sourcetest.Request[helmChart](l, "flux-system-hr-chart", "swapped")
	if a := after.Status.Artifact; a.Digest != recorded.Status.Artifact.Digest || !a.LastUpdateTime.Time.Time.Equal(recorded.Status.Artifact.LastUpdateTime.Time.Time) {
		t.Errorf("artifact %+v, want %+v", a, recorded.Status.Artifact)
	}
	if a := sourcetest.Request[repository](l, "charts", "swapped").Status.Artifact; a.Digest != repo.Status.Artifact.Digest || a.Revision != repo.Status.Artifact.Revision {
		t.Errorf("artifact %+v, want %+v", a, repo.Status.Artifact)
	}
	if n := l.Count("charts", "NewArtifact") + l.Count("flux-system-hr-chart", "ChartPullSucceeded"); n != 0 {
		t.Errorf("%d events of something new", n)
	}
}
