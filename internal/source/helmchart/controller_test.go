package helmchart_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/gitops-toolkit/flux/api/meta"
	sourcev1 "github.com/gitops-toolkit/flux/api/source/v1"
	"github.com/gitops-toolkit/flux/internal/source/helmtest"
	"github.com/gitops-toolkit/flux/internal/source/sourcetest"
)

func TestLifeOfAChart(t *testing.T) {
	t.Parallel()
	l, s := newLab(t)
	create(l, "demo", nil)
	obj := sourcetest.Ready[helmChart](l, "demo", "1.1.0")
	a := obj.Status.Artifact
	path := "helmchart/" + l.Namespace + "/demo/demo-1.1.0.tgz"
	if want := fmt.Sprintf("sha256:%x", sha256.Sum256(demo(l, "1.1.0"))); a.Path != path || a.URL != "http://"+sourcetest.Advertised+"/"+path || a.Digest != want {
		t.Errorf("artifact %+v, want the digest %s", a, want)
	}
	if want := "http://" + sourcetest.Advertised + "/helmchart/" + l.Namespace + "/demo/latest.tar.gz"; obj.Status.URL != want {
		t.Errorf("status.url %s, want %s", obj.Status.URL, want)
	}
	source := sourcetest.Ready[repository](l, "charts", "").Status.Artifact
	if obj.Status.ObservedChartName != "demo" || obj.Status.ObservedSourceArtifactRevision != source.Revision || obj.Status.ObservedValuesFiles != nil {
		t.Errorf("status %+v", obj.Status)
	}
	pulled := "pulled 'demo' chart with version '1.1.0'"
	for _, kind := range []string{"Ready", "ArtifactInStorage"} {
		if c := obj.Status.Conditions.Get(kind); c == nil || c.Reason != "ChartPullSucceeded" || c.Message != pulled || len(obj.Status.Conditions) != 2 {
			t.Errorf("conditions %+v", obj.Status.Conditions)
		}
	}
	e := l.Event("demo", "ChartPullSucceeded", pulled)
	if e.Severity != "info" || e.Metadata["source.toolkit.fluxcd.io/revision"] != "1.1.0" || e.Metadata["source.toolkit.fluxcd.io/digest"] != a.Digest {
		t.Errorf("event %+v", e)
	}

	offer(l, s, "1.0.0", "1.1.0", "1.2.0")
	sourcetest.Request[repository](l, "charts", "two")
	sourcetest.Ready[helmChart](l, "demo", "1.2.0") // woken by its source, long before its interval
	l.Event("demo", "ChartPullSucceeded", "pulled 'demo' chart with version '1.2.0'")
	if target, err := os.Readlink(filepath.Join(l.Data, "helmchart", l.Namespace, "demo", "latest.tar.gz")); err != nil || filepath.Base(target) != "demo-1.2.0.tgz" {
		t.Errorf("latest leads to %s, %v", target, err)
	}
	l.Must(l.Client.Delete(context.Background(), obj))
	sourcetest.Gone[helmChart](l, "demo")
	if left, err := filepath.Glob(filepath.Join(l.Data, "helmchart", l.Namespace, "demo", "*")); err != nil || len(left) != 0 {
		t.Errorf("files of the deleted object: %v, %v", left, err)
	}
}

// TestUnchangedChartCostsNothing is a budget: no download, no write, though the index is new.
func TestUnchangedChartCostsNothing(t *testing.T) {
	t.Parallel()
	l := sourcetest.New(t)
	l.Settings = helmtest.Impatient
	stop := start(l)
	s := helmtest.Serve(t, false)
	offer(l, s, "1.0.0")
	helmtest.Repository(l, "charts", s.RepositoryURL(), nil)
	create(l, "demo", func(o helmChart) {
		o.Spec.Version = "1.0.0"
		o.Spec.Interval = meta.NewDuration(100 * time.Millisecond)
	})
	before := sourcetest.Ready[helmChart](l, "demo", "1.0.0")
	s.Reset()
	offer(l, s, "1.0.0", "3.0.0")
	sourcetest.Request[repository](l, "charts", "two")
	newer := sourcetest.Ready[repository](l, "charts", "").Status.Artifact.Revision
	obj := sourcetest.Until(l, "demo", "seen the new index", func(o helmChart) bool { return o.Status.ObservedSourceArtifactRevision == newer })
	if obj.Status.Artifact.Digest != before.Status.Artifact.Digest {
		t.Errorf("artifact %+v", obj.Status.Artifact)
	}
	stop()
	start(l)
	sourcetest.Request[helmChart](l, "demo", "after the restart")
	for _, r := range s.Requests() {
		if strings.HasSuffix(r.Path, ".tgz") {
			t.Errorf("an unchanged chart cost %+v", r)
		}
	}
	if n := l.Count("demo", "ChartPullSucceeded"); n != 1 {
		t.Errorf("%d events", n)
	}
}

func TestVersions(t *testing.T) {
	t.Parallel()
	l, _ := newLab(t)
	for i, tc := range []struct{ want, found string }{{"*", "1.1.0"}, {"~1.0", "1.0.0"}, {"2.0.0-rc.1", "2.0.0-rc.1"}, {">=2.0.0-0", "2.0.0-rc.1"}} {
		name := fmt.Sprintf("v%d", i)
		create(l, name, func(o helmChart) { o.Spec.Version = tc.want })
		sourcetest.Ready[helmChart](l, name, tc.found)
	}
}

// TestWrongReferences stall, and a change of the source or the spec mends them.
func TestWrongReferences(t *testing.T) {
	t.Parallel()
	l, s := newLab(t)
	for name, tc := range map[string]struct {
		change       func(helmChart)
		reason, says string
		stalled      bool
	}{
		"version": {func(o helmChart) { o.Spec.Version = ">9" }, "InvalidChartReference",
			"invalid chart reference: failed to get chart version for remote reference: no 'demo' chart with version matching '>9' found; the newest in the index is '2.0.0-rc.1': correct the version, or fetch the index anew with 'flux reconcile source helm charts -n ", true},
		"chart":  {func(o helmChart) { o.Spec.Chart = "absent" }, "InvalidChartReference", "invalid chart reference: failed to get chart version for remote reference: no chart name found; the index has no chart 'absent': correct the name, or fetch the index anew", true},
		"range":  {func(o helmChart) { o.Spec.Version = "one" }, "InvalidChartReference", "version 'one'", true},
		"name":   {func(o helmChart) { o.Spec.Chart = "../demo" }, "InvalidChartReference", "invalid chart name '../demo', a valid name must be", true},
		"source": {func(o helmChart) { o.Spec.SourceRef.Name = "later" }, "SourceUnavailable", "failed to get source: ", false},
		"values": {func(o helmChart) { o.Spec.ValuesFiles = []string{"absent.yaml"} }, "ValuesFilesError", "values files merge error: no values file found at path 'absent.yaml'", true},
		"verify": {func(o helmChart) { o.Spec.Verify = &sourcev1.HelmChartVerification{Provider: "cosign"} }, "ChartVerificationError", "type oci only", true},
	} {
		create(l, name, tc.change)
		obj, message := sourcetest.Failed[helmChart](l, name, tc.reason)
		if c := obj.Status.Conditions.Get("Stalled"); !strings.Contains(message, tc.says) || (c != nil) != tc.stalled {
			t.Errorf("%s: %s, %+v", name, message, c)
		}
	}
	offer(l, s, "1.0.0", "10.1.0")
	sourcetest.Request[repository](l, "charts", "nine")
	sourcetest.Ready[helmChart](l, "version", "10.1.0")
	helmtest.Repository(l, "later", s.RepositoryURL(), nil)
	sourcetest.Ready[helmChart](l, "source", "10.1.0") // its appearance, and then its artifact, act at once
}

// TestWrongDigest: an archive that is not the one of the index is refused, and the index that has it is all that is needed.
func TestWrongDigest(t *testing.T) {
	t.Parallel()
	l, s := newLab(t)
	index := func(digest string) {
		s.Put("/charts/index.yaml", []byte("apiVersion: v1\nentries:\n  demo:\n  - {apiVersion: v2, name: demo, version: 3.0.0, digest: \""+digest+"\", urls: [demo-3.0.0.tgz]}\n"))
		sourcetest.Request[repository](l, "charts", digest)
	}
	offer(l, s, "3.0.0")
	index(strings.Repeat("0f", sha256.Size))
	create(l, "demo", nil)
	if obj, message := sourcetest.Failed[helmChart](l, "demo", "ChartPullError"); !strings.Contains(message, "the archive is not the one that the index names") || obj.Status.Artifact != nil {
		t.Errorf("%s, %+v", message, obj.Status.Artifact)
	}
	index(fmt.Sprintf("sha256:%x", sha256.Sum256(demo(l, "3.0.0"))))
	sourcetest.Ready[helmChart](l, "demo", "3.0.0")
}

// TestSourceWithoutArtifact waits, quietly.
func TestSourceWithoutArtifact(t *testing.T) {
	t.Parallel()
	l, s := newLab(t)
	s.Respond(http.NotFound)
	helmtest.Repository(l, "late", s.RepositoryURL(), nil)
	create(l, "demo", func(o helmChart) { o.Spec.SourceRef.Name = "late" })
	obj, message := sourcetest.Failed[helmChart](l, "demo", "NoSourceArtifact")
	if message != "no artifact available for HelmRepository source 'late'" || obj.Status.Conditions.Get("FetchFailed") == nil {
		t.Errorf("%s, %+v", message, obj.Status.Conditions)
	}
	s.Respond(nil)
	obj = sourcetest.Ready[helmChart](l, "demo", "1.1.0")
	if len(obj.Status.Conditions) != 2 || l.Count("demo", "NoSourceArtifact") != 0 {
		t.Errorf("conditions %+v", obj.Status.Conditions)
	}
}

// TestLostIndex: after a restart without a volume a chart may look before its repository has made its index anew. That is
// no failure to tell people of.
func TestLostIndex(t *testing.T) {
	t.Parallel()
	l, s := newLab(t)
	create(l, "one", nil)
	sourcetest.Ready[helmChart](l, "one", "1.1.0")
	repo := sourcetest.Ready[repository](l, "charts", "")
	l.Must(os.Remove(filepath.Join(l.Data, repo.Status.Artifact.Path)))
	old := repo.DeepCopy()
	repo.Status.Artifact.URL = s.RepositoryURL() + "/nothing-here.yaml"
	l.Must(l.Client.Status().Patch(t.Context(), repo, client.MergeFrom(old)))
	create(l, "two", nil)
	sourcetest.Failed[helmChart](l, "two", "NoSourceArtifact")
	sourcetest.Request[repository](l, "charts", "anew")
	sourcetest.Ready[helmChart](l, "two", "1.1.0")
	if n := l.Count("two", "ChartPullError") + l.Count("two", "NoSourceArtifact"); n != 0 {
		t.Errorf("%d events about it", n)
	}
}

func TestValuesFiles(t *testing.T) {
	t.Parallel()
	l, _ := newLab(t)
	create(l, "own", func(o helmChart) { o.Spec.ValuesFiles = []string{"values.yaml"} })
	sourcetest.Ready[helmChart](l, "own", "1.1.0") // those are the chart's already
	create(l, "prod", func(o helmChart) { o.Spec.ValuesFiles = []string{"values.yaml", "values-prod.yaml"} })
	obj := sourcetest.Ready[helmChart](l, "prod", "1.1.0+1")
	l.Event("prod", "ChartPackageSucceeded", "packaged 'demo' chart with version '1.1.0+1' and merged values files [values.yaml values-prod.yaml]")
	if got, want := values(l, obj), "image:\n  name: demo\n  tag: v2\nreplicas: 3\n"; got != want {
		t.Errorf("values\n%s\nwant\n%s", got, want)
	}
	if c := stored(l, obj); c.Version != "1.1.0+1" || filepath.Base(obj.Status.Artifact.Path) != "demo-1.1.0+1.tgz" {
		t.Errorf("version %s in %s", c.Version, obj.Status.Artifact.Path)
	}
	l.Patch(&sourcev1.HelmChart{}, "prod", `{"spec":{"valuesFiles":["./values-prod.yaml","absent.yaml"],"ignoreMissingValuesFiles":true}}`)
	obj = sourcetest.Ready[helmChart](l, "prod", "1.1.0+2")
	if !slices.Equal(obj.Status.ObservedValuesFiles, []string{"./values-prod.yaml"}) || values(l, obj) != "image:\n  tag: v2\nreplicas: 3\n" {
		t.Errorf("status %+v, values\n%s", obj.Status, values(l, obj))
	}
	l.Patch(&sourcev1.HelmChart{}, "prod", `{"spec":{"valuesFiles":null,"ignoreMissingValuesFiles":null}}`)
	if obj = sourcetest.Ready[helmChart](l, "prod", "1.1.0"); obj.Status.ObservedValuesFiles != nil {
		t.Errorf("status %+v", obj.Status)
	}
}

// TestHostileDownloads end in an error; the last good chart stays.
func TestHostileDownloads(t *testing.T) {
	t.Parallel()
	l, s := newLab(t)
	create(l, "demo", nil)
	good := sourcetest.Ready[helmChart](l, "demo", "1.1.0").Status.Artifact
	outside := helmtest.Chart(t, "demo", "1.2.0", map[string]string{"../../etc/passwd": "x"})
	large := helmtest.Chart(t, "demo", "1.2.0", map[string]string{"large.txt": strings.Repeat("x", 40<<10)})
	for i, tc := range []struct {
		data []byte
		says string
	}{
		{outside, "chart illegally references parent directory"},
		{large, "file 'large.txt' has 40960 bytes, 32768 are allowed"},
		{make([]byte, 100<<10), "chart exceeds the maximum size of 65536 bytes; raise --helm-chart-max-size"},
		{[]byte("<html>Sign in</html>          "), "failed to load the chart that was downloaded: not a chart"},
	} {
		offer(l, s, "1.1.0", "1.2.0")
		s.Put("/charts/demo-1.2.0.tgz", tc.data)
		sourcetest.Request[repository](l, "charts", fmt.Sprint(i))
		obj := sourcetest.Until(l, "demo", tc.says, func(o helmChart) bool {
			c := o.Status.Conditions.Get("Ready")
			return c.Reason == "ChartPullError" && strings.HasPrefix(c.Message, "chart pull error: ") && strings.Contains(c.Message, tc.says)
		})
		if obj.Status.Artifact == nil || obj.Status.Artifact.Digest != good.Digest || obj.Status.Conditions.Get("ArtifactOutdated") == nil {
			t.Errorf("%s: %+v", tc.says, obj.Status)
		}
	}
	if n := l.Count("demo", "ChartPullSucceeded"); n != 1 {
		t.Errorf("%d events of success", n)
	}
}

func TestCredentialsOfTheRepository(t *testing.T) {
	t.Parallel()
	l, s := newLab(t)
	s.Login("user:hunter2")
	l.Secret("login", "username", "user", "password", "hunter2")
	helmtest.Repository(l, "private", s.RepositoryURL(), func(o repository) { o.Spec.SecretRef = &meta.LocalObjectReference{Name: "login"} })
	create(l, "demo", func(o helmChart) { o.Spec.SourceRef.Name = "private" })
	sourcetest.Ready[helmChart](l, "demo", "1.1.0")
	s.Login("user:changed")
	create(l, "refused", func(o helmChart) { o.Spec.SourceRef.Name, o.Spec.Version = "private", "1.0.0" })
	_, message := sourcetest.Failed[helmChart](l, "refused", "AuthenticationFailed")
	if !strings.HasPrefix(message, "failed to authenticate with the Helm repository: ") || strings.Contains(message, "hunter2") ||
		!strings.Contains(message, "check the login in the Secret '"+l.Namespace+"/login'") {
		t.Error(message)
	}

	// A chart on another host gets them only when the object says so.
	elsewhere := helmtest.Serve(t, false)
	elsewhere.Put("/demo.tgz", demo(l, "1.0.0"))
	elsewhere.Login("user:hunter2")
	home := helmtest.Serve(t, false)
	home.Put("/charts/index.yaml", []byte("apiVersion: v1\nentries:\n  demo:\n  - {name: demo, version: 1.0.0, urls: ["+elsewhere.URL+"/demo.tgz]}\n"))
	offered := func(name string, pass bool) {
		helmtest.Repository(l, name, home.RepositoryURL(), func(o repository) {
			o.Spec.SecretRef, o.Spec.PassCredentials = &meta.LocalObjectReference{Name: "login"}, pass
		})
		create(l, name, func(o helmChart) { o.Spec.SourceRef.Name = name })
	}
	offered("keeps", false)
	sourcetest.Failed[helmChart](l, "keeps", "AuthenticationFailed")
	for _, r := range elsewhere.Requests() {
		if r.User != "" {
			t.Errorf("credentials went to another host: %+v", r)
		}
	}
	offered("passes", true)
	sourcetest.Ready[helmChart](l, "passes", "1.0.0")
}

// TestLostChartIsFetchedAgain raises no event: consumers have it.
func TestLostChartIsFetchedAgain(t *testing.T) {
	t.Parallel()
	l, _ := newLab(t)
	create(l, "demo", nil)
	a := sourcetest.Ready[helmChart](l, "demo", "1.1.0").Status.Artifact
	file := filepath.Join(l.Data, filepath.FromSlash(a.Path))
	l.Must(os.Remove(file))
	sourcetest.Request[helmChart](l, "demo", "again")
	if data, err := os.ReadFile(file); err != nil || !bytes.Equal(data, demo(l, "1.1.0")) {
		t.Errorf("the chart is not there again: %v", err)
	}
	if n := l.Count("demo", "ChartPullSucceeded"); n != 1 {
		t.Errorf("%d events", n)
	}
}

// TestIndexOfAnotherProcess is fetched by its URL when the store does not have it.
func TestIndexOfAnotherProcess(t *testing.T) {
	t.Parallel()
	l, s := newLab(t)
	a := sourcetest.Ready[repository](l, "charts", "").Status.Artifact
	stored, err := os.ReadFile(filepath.Join(l.Data, filepath.FromSlash(a.Path)))
	l.Must(err)
	served := helmtest.Serve(t, false)
	served.Respond(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.Copy(w, bytes.NewReader(stored)) })
	helmtest.Repository(l, "remote", s.RepositoryURL(), func(o repository) { o.Spec.Suspend = true })
	obj := sourcetest.Get[repository](l, "remote")
	obj.Status.Artifact = a.DeepCopy()
	obj.Status.Artifact.Path, obj.Status.Artifact.URL = "helmrepository/elsewhere/remote/index.yaml", served.URL+"/index.yaml"
	l.Must(l.Client.Status().Update(context.Background(), obj))
	create(l, "demo", func(o helmChart) { o.Spec.SourceRef.Name = "remote" })
	sourcetest.Ready[helmChart](l, "demo", "1.1.0")
	if left, err := os.ReadDir(l.Temp); err != nil || len(left) != 0 {
		t.Errorf("left in the temporary directory: %v, %v", left, err)
	}
}

func TestSuspended(t *testing.T) {
	t.Parallel()
	l, _ := newLab(t)
	create(l, "demo", func(o helmChart) { o.Spec.Suspend = true })
	obj := sourcetest.Request[helmChart](l, "demo", "one")
	if obj.Status.Artifact != nil || obj.Status.Conditions.Get("Ready") != nil {
		t.Errorf("status of a suspended object %+v", obj.Status)
	}
	l.Patch(&sourcev1.HelmChart{}, "demo", `{"spec":{"suspend":false}}`)
	sourcetest.Ready[helmChart](l, "demo", "1.1.0")
	if c := obj.Status.Conditions.Get("Ready"); c != nil && c.Status == metav1.ConditionTrue {
		t.Error("a suspended object was reconciled")
	}
}
