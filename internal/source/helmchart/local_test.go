package helmchart_test

import (
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gitops-toolkit/flux/api/meta"
	sourcev1 "github.com/gitops-toolkit/flux/api/source/v1"
	"github.com/gitops-toolkit/flux/internal/charts/chart"
	"github.com/gitops-toolkit/flux/internal/registry"
	"github.com/gitops-toolkit/flux/internal/registry/registrytest"
	"github.com/gitops-toolkit/flux/internal/source/helmtest"
	"github.com/gitops-toolkit/flux/internal/source/sourcetest"
)

const (
	firstCommit  = "main@sha1:1111111111112222222222223333333333334444"
	secondCommit = "main@sha1:5555555555556666666666667777777777778888"
)

// tree is a repository with a chart in it.
func tree(version, value string) map[string]string {
	return map[string]string{
		"charts/web/Chart.yaml": "apiVersion: v2\nname: web\nversion: " + version + "\n", "charts/web/values.yaml": "replicas: 1\n",
		"charts/web/templates/cm.yaml": value, "charts/web/.helmignore": "*.md\n", "charts/web/README.md": "no",
		"envs/prod.yaml": "replicas: 3\n", "Chart.yaml": "apiVersion: v2\nname: root\nversion: 0.0.1\n",
	}
}

func TestChartFromGit(t *testing.T) {
	t.Parallel()
	l, _ := newLab(t)
	git(l, "fleet", firstCommit, tree("1.0.0", "a"))
	create(l, "web", from("GitRepository", "fleet", "./charts/web"))
	obj := sourcetest.Ready[helmChart](l, "web", "1.0.0")
	l.Event("web", "ChartPackageSucceeded", "packaged 'web' chart with version '1.0.0'")
	if obj.Status.ObservedSourceArtifactRevision != firstCommit || obj.Status.ObservedChartName != "web" || filepath.Base(obj.Status.Artifact.Path) != "web-1.0.0.tgz" {
		t.Errorf("status %+v", obj.Status)
	}
	if _, err := stored(l, obj).ReadFile("README.md"); err == nil {
		t.Error("an ignored file was packed")
	}

	create(l, "revision", func(o helmChart) {
		from("GitRepository", "fleet", "charts/web")(o)
		o.Spec.ReconcileStrategy = sourcev1.ReconcileStrategyRevision
	})
	sourcetest.Ready[helmChart](l, "revision", "1.0.0+111111111111")
	create(l, "both", func(o helmChart) {
		from("GitRepository", "fleet", "charts/web")(o)
		o.Spec.ReconcileStrategy, o.Spec.ValuesFiles = sourcev1.ReconcileStrategyRevision, []string{"charts/web/values.yaml", "envs/prod.yaml"}
	})
	both := sourcetest.Ready[helmChart](l, "both", "1.0.0+111111111111.1")
	if got := values(l, both); got != "replicas: 3\n" {
		t.Errorf("values %s", got)
	}
	create(l, "root", from("GitRepository", "fleet", "."))
	sourcetest.Ready[helmChart](l, "root", "0.0.1")

	git(l, "fleet", secondCommit, tree("1.0.0", "b")) // the same version of the chart
	sourcetest.Ready[helmChart](l, "revision", "1.0.0+555555555555")
	seen := sourcetest.Until(l, "web", "seen the commit", func(o helmChart) bool { return o.Status.ObservedSourceArtifactRevision == secondCommit })
	if seen.Status.Artifact.Digest != obj.Status.Artifact.Digest || l.Count("web", "ChartPackageSucceeded") != 1 {
		t.Errorf("a chart of the same version was packed again: %+v", seen.Status)
	}
	git(l, "fleet", firstCommit, tree("1.1.0", "b"))
	sourcetest.Ready[helmChart](l, "web", "1.1.0")
}

func TestChartFromBucketAndArchive(t *testing.T) {
	t.Parallel()
	l, _ := newLab(t)
	files := tree("1.0.0", "a")
	packed := helmtest.Chart(t, "packed", "2.0.0", nil)
	files["packed-2.0.0.tgz"] = string(packed)
	bucket(l, "files", "sha256:99999999999900000000000000000000000000000000000000000000000000aa", files)
	create(l, "dir", func(o helmChart) {
		from("Bucket", "files", "charts/web")(o)
		o.Spec.ReconcileStrategy = sourcev1.ReconcileStrategyRevision
	})
	sourcetest.Ready[helmChart](l, "dir", "1.0.0+999999999999")
	create(l, "archive", from("Bucket", "files", "packed-2.0.0.tgz"))
	obj := sourcetest.Ready[helmChart](l, "archive", "2.0.0")
	if obj.Status.Conditions.Get("Ready").Message != "pulled 'packed' chart with version '2.0.0'" || *obj.Status.Artifact.Size != int64(len(packed)) {
		t.Errorf("status %+v", obj.Status)
	}
	create(l, "changed", func(o helmChart) {
		from("Bucket", "files", "packed-2.0.0.tgz")(o)
		o.Spec.ValuesFiles = []string{"envs/prod.yaml"}
	})
	if got := values(l, sourcetest.Ready[helmChart](l, "changed", "2.0.0+1")); got != "replicas: 3\n" {
		t.Errorf("values %s", got)
	}
}

func TestHostileTrees(t *testing.T) {
	t.Parallel()
	l, _ := newLab(t)
	files := tree("1.0.0", "a")
	files["bad/Chart.yaml"] = "apiVersion: v2\nname: ../../x\nversion: 1.0.0\n"
	files["large/Chart.yaml"], files["large/x"] = "apiVersion: v2\nname: x\nversion: 1.0.0\n", strings.Repeat("x", 40<<10)
	files["schema/Chart.yaml"], files["schema/values.schema.json"] = "apiVersion: v2\nname: x\nversion: 1.0.0\n", "{"
	for dir, repository := range map[string]string{"escape": "file://../../outside", "absolute": "file:///etc", "gone": "file://../absent", "alias": "'@stable'", "scheme": "ftp://x", "wrong": "file://../charts/web"} {
		files[dir+"/Chart.yaml"] = "apiVersion: v2\nname: x\nversion: 1.0.0\ndependencies:\n- {name: web, version: '>5', repository: " + repository + "}\n"
	}
	git(l, "fleet", firstCommit, files)
	for path, tc := range map[string]struct{ reason, says string }{
		"absent": {"InvalidChartReference", "invalid chart reference: no chart found at path 'absent' in the GitRepository 'fleet'"},
		"envs":   {"InvalidChartReference", "Chart.yaml file is missing"},
		"bad":    {"InvalidChartReference", "is not a name"},
		"large":  {"InvalidChartReference", "file 'x' has 40960 bytes"},
		"schema": {"ChartPackageError", "chart package error: values.schema.json is not valid JSON"},
		"escape": {"DependencyBuildError", "leads out of the source"}, "absolute": {"DependencyBuildError", "leads out of the source"},
		"gone": {"DependencyBuildError", "no chart found at path 'absent'"}, "alias": {"DependencyBuildError", "aliased repository dependency '@stable' is not supported"},
		"scheme": {"DependencyBuildError", `scheme "ftp" not supported`}, "wrong": {"DependencyBuildError", "has version '1.0.0', which is not in '>5'"},
		"../../etc": {"InvalidChartReference", "no chart found at path 'etc'"},
	} {
		name := strings.ReplaceAll(strings.ReplaceAll(path, "/", "-"), ".", "x")
		create(l, name, from("GitRepository", "fleet", path))
		if _, message := sourcetest.Failed[helmChart](l, name, tc.reason); !strings.Contains(message, tc.says) {
			t.Errorf("%s: %s", path, message)
		}
	}
	create(l, "values", func(o helmChart) {
		from("GitRepository", "fleet", "charts/web")(o)
		o.Spec.ValuesFiles = []string{"../../../../etc/passwd"}
	})
	if _, message := sourcetest.Failed[helmChart](l, "values", "ValuesFilesError"); !strings.Contains(message, "no values file found at path '../../../../etc/passwd'") {
		t.Error(message)
	}
}

// TestDependencies are taken from a repository by its object, one that no object names, a registry, and the same source;
// what is there already is left alone.
func TestDependencies(t *testing.T) {
	t.Parallel()
	l, s := newLab(t)
	sourcetest.Ready[repository](l, "charts", "")
	unknown := helmtest.Serve(t, false)
	unknown.Offer(map[string][]byte{"other-0.1.0": helmtest.Chart(t, "other", "0.1.0", nil), "other-0.2.0": helmtest.Chart(t, "other", "0.2.0", nil)})
	reg := registrytest.Start(t, registrytest.Options{})
	pushChart(t, reg, "charts/sidecar", "3.1.0", helmtest.Chart(t, "sidecar", "3.1.0", nil))
	pushChart(t, reg, "charts/sidecar", "3.2.0", helmtest.Chart(t, "sidecar", "3.2.0", nil))
	files := map[string]string{
		"web/Chart.yaml": "apiVersion: v2\nname: web\nversion: 1.0.0\ndependencies:\n" +
			"- {name: demo, version: 1.x, repository: '" + s.RepositoryURL() + "/'}\n- {name: other, version: '*', repository: '" + unknown.RepositoryURL() + "'}\n" +
			"- {name: sidecar, version: ~3.1, repository: 'oci://" + reg.Host + "/charts'}\n- {name: lib, version: 0.x, repository: 'file://../lib'}\n" +
			"- {name: there, version: 1.x, repository: 'https://nowhere.invalid'}\n",
		"web/charts/there/Chart.yaml": "apiVersion: v2\nname: there\nversion: 1.5.0\n",
		"lib/Chart.yaml":              "apiVersion: v2\nname: lib\nversion: 0.3.0\ntype: library\n", "lib/templates/_x.tpl": "x",
	}
	git(l, "fleet", firstCommit, files)
	create(l, "web", from("GitRepository", "fleet", "web"))
	want := []chart.Dependency{{Name: "demo", Version: "1.1.0"}, {Name: "lib", Version: "0.3.0"}, {Name: "other", Version: "0.2.0"}, {Name: "sidecar", Version: "3.1.0"}, {Name: "there", Version: "1.5.0"}}
	obj := sourcetest.Ready[helmChart](l, "web", "1.0.0")
	if got := vendored(l, obj); !slices.Equal(got, want) {
		t.Errorf("dependencies %v, want %v", got, want)
	}
	digest := obj.Status.Artifact.Digest
	create(l, "again", from("GitRepository", "fleet", "web"))
	if again := sourcetest.Ready[helmChart](l, "again", "1.0.0").Status.Artifact.Digest; again != digest {
		t.Errorf("the same chart was packed as %s and %s", digest, again)
	}

	files["web/Chart.lock"] = "dependencies:\n- {name: other, version: 0.1.0, repository: '" + unknown.RepositoryURL() + "'}\n"
	git(l, "locked", secondCommit, files)
	create(l, "locked", from("GitRepository", "locked", "web"))
	want = []chart.Dependency{{Name: "other", Version: "0.1.0"}, {Name: "there", Version: "1.5.0"}}
	if got := vendored(l, sourcetest.Ready[helmChart](l, "locked", "1.0.0")); !slices.Equal(got, want) {
		t.Errorf("locked dependencies %v, want %v", got, want)
	}
}

func vendored(l *sourcetest.Lab, o helmChart) []chart.Dependency {
	l.Helper()
	list, err := stored(l, o).Vendored(chart.Limits{})
	l.Must(err)
	slices.SortFunc(list, func(a, b chart.Dependency) int { return strings.Compare(a.Name, b.Name) })
	return list
}

func pushChart(t *testing.T, reg *registrytest.Server, repository, tag string, data []byte) string {
	t.Helper()
	return reg.Push(t, repository, tag, nil, registrytest.Layer{MediaType: registry.HelmContentMediaType, Data: data})
}

func TestChartFromRegistry(t *testing.T) {
	t.Parallel()
	l := sourcetest.New(t)
	l.Settings = helmtest.Impatient
	start(l)
	reg := registrytest.Start(t, registrytest.Options{})
	for _, v := range []string{"1.0.0", "1.1.0", "2.0.0-rc.1", "1.1.0_build.5"} {
		pushChart(t, reg, "charts/demo", v, demo(l, strings.ReplaceAll(v, "_", "+")))
	}
	reg.Push(t, "charts/image", "1.0.0", nil, registrytest.Archive(t, map[string]string{"a": "b"}))
	helmtest.Repository(l, "charts", "oci://"+reg.Host+"/charts", func(o repository) { o.Spec.Type, o.Spec.Insecure = "oci", true })
	create(l, "range", func(o helmChart) { o.Spec.Version = "1.0.x" })
	obj := sourcetest.Ready[helmChart](l, "range", "1.0.0")
	if obj.Status.ObservedSourceArtifactRevision != "" || obj.Status.Conditions.Get("Ready").Message != "pulled 'demo' chart with version '1.0.0'" {
		t.Errorf("status %+v", obj.Status)
	}
	create(l, "build", func(o helmChart) { o.Spec.Version = "1.1.0+build.5" })
	sourcetest.Ready[helmChart](l, "build", "1.1.0+build.5")
	create(l, "values", func(o helmChart) { o.Spec.Version, o.Spec.ValuesFiles = "1.1.0", []string{"values-prod.yaml"} })
	if got := values(l, sourcetest.Ready[helmChart](l, "values", "1.1.0+1")); got != "image:\n  tag: v2\nreplicas: 3\n" {
		t.Errorf("values %s", got)
	}
	for name, tc := range map[string]struct{ chart, version, says string }{
		"no-version": {"demo", ">9", "chart pull error: failed to get chart version for remote reference: no 'demo' chart with version matching '>9' found"},
		"no-tag":     {"demo", "9.9.9", "chart pull error: failed to pull chart '" + reg.Host + "/charts/demo:9.9.9'"},
		"no-chart":   {"image", "1.0.0", "it is not a chart"},
	} {
		create(l, name, func(o helmChart) { o.Spec.Chart, o.Spec.Version = tc.chart, tc.version })
		if obj, message := sourcetest.Failed[helmChart](l, name, "ChartPullError"); !strings.Contains(message, tc.says) || obj.Status.Conditions.Get("Stalled") != nil {
			t.Errorf("%s: %s", name, message)
		}
	}

	// An index may have its charts in a registry.
	s := helmtest.Serve(t, false)
	link := "oci://" + reg.Host + "/elsewhere/linked"
	for _, v := range []string{"1.0.0", "1.1.0_build.5"} {
		pushChart(t, reg, "elsewhere/linked", v, demo(l, strings.ReplaceAll(v, "_", "+")))
	}
	s.Put("/charts/index.yaml", []byte("apiVersion: v1\nentries:\n  demo:\n  - {name: demo, version: 1.1.0+build.5, urls: ['"+link+":1.1.0_build.5']}\n"+
		"  - {name: demo, version: 1.0.0, urls: ['"+link+"'], digest: "+strings.Repeat("0", 64)+"}\n"))
	helmtest.Repository(l, "links", s.RepositoryURL(), nil)
	create(l, "linked", func(o helmChart) { o.Spec.SourceRef.Name = "links" })
	sourcetest.Ready[helmChart](l, "linked", "1.1.0+build.5")
	create(l, "exchanged", func(o helmChart) { o.Spec.SourceRef.Name, o.Spec.Version = "links", "1.0.0" })
	if _, message := sourcetest.Failed[helmChart](l, "exchanged", "ChartPullError"); !strings.Contains(message, "the archive is not the one that the index names") {
		t.Error(message)
	}

	// An exact version is known, whatever the interval.
	create(l, "exact", func(o helmChart) { o.Spec.Version, o.Spec.Interval = "1.0.0", meta.NewDuration(20*time.Millisecond) })
	sourcetest.Ready[helmChart](l, "exact", "1.0.0")
	count := func() (n int) {
		for _, r := range reg.Requests() {
			if strings.HasSuffix(r.Path, "/demo/manifests/1.0.0") {
				n++
			}
		}
		return n
	}
	before := count()
	sourcetest.Request[helmChart](l, "exact", "again")
	if after := count(); after != before {
		t.Errorf("%d requests for a version that is there", after-before)
	}
}

func TestLoginAtARegistry(t *testing.T) {
	t.Parallel()
	l := sourcetest.New(t)
	l.Settings = helmtest.Impatient
	start(l)
	open := registrytest.Start(t, registrytest.Options{})
	_ = open
	reg := registrytest.Start(t, registrytest.Options{Users: map[string]string{"user": "hunter2", "aws": "cloud-token"}, Tokens: true})
	url := "oci://" + reg.Host + "/charts"
	l.Secret("basic", "username", "user", "password", "hunter2")
	l.Secret("docker", ".dockerconfigjson", `{"auths":{"`+reg.Host+`":{"username":"user","password":"hunter2"}}}`)
	l.Secret("elsewhere", ".dockerconfigjson", `{"auths":{"other.example":{"username":"user","password":"hunter2"}}}`)
	l.Secret("wrong", "username", "user", "password", "hunter3")
	for name, tc := range map[string]struct {
		secret, provider, says string
	}{
		"basic": {"basic", "", "NAME_UNKNOWN"}, "docker": {"docker", "", "NAME_UNKNOWN"}, "cloud": {"", "aws", "NAME_UNKNOWN"},
		"elsewhere": {"elsewhere", "", "no auth config for '" + reg.Host + "' in the docker-registry Secret '" + l.Namespace + "/elsewhere'"},
		"wrong":     {"wrong", "", "check the login in the Secret '" + l.Namespace + "/wrong'"},
		"nobody":    {"", "", "set spec.secretRef of the HelmRepository 'nobody'"},
		"absent":    {"absent", "", "failed to get secret '" + l.Namespace + "/absent'"},
	} {
		helmtest.Repository(l, name, url, func(o repository) {
			o.Spec.Type, o.Spec.Provider = "oci", tc.provider
			if tc.secret != "" {
				o.Spec.SecretRef = &meta.LocalObjectReference{Name: tc.secret}
			}
		})
		create(l, name, func(o helmChart) { o.Spec.SourceRef.Name = name })
		reason := "AuthenticationFailed"
		if tc.says == "NAME_UNKNOWN" { // the login was good: there are no charts
			reason = "ChartPullError"
		}
		if _, message := sourcetest.Failed[helmChart](l, name, reason); !strings.Contains(message, tc.says) || strings.Contains(message, "hunter") {
			t.Errorf("%s: %s", name, message)
		}
	}
}
