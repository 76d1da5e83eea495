package test

import (
	"crypto/sha256"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/gitops-toolkit/flux/internal/registry/registrytest"
	"github.com/gitops-toolkit/flux/internal/testenv"
	"github.com/gitops-toolkit/flux/test/harness"
)

func init() {
	apiVersions["HelmRelease"] = "helm.toolkit.fluxcd.io/v2"
	apiVersions["HelmChart"], apiVersions["HelmRepository"] = "source.toolkit.fluxcd.io/v1", "source.toolkit.fluxcd.io/v1"
}

// chartFiles is a chart that releases a ConfigMap of its values; a library in charts/ names it.
func chartFiles(at, name, version string) map[string]string {
	return map[string]string{
		at + "/Chart.yaml":                     "apiVersion: v2\nname: " + name + "\nversion: " + version + "\n",
		at + "/values.yaml":                    "key: default\narchitecture: replication\nauth: {enabled: true}\n",
		at + "/charts/lib/Chart.yaml":          "apiVersion: v2\nname: lib\ntype: library\nversion: 1.0.0\n",
		at + "/charts/lib/templates/_name.tpl": `{{- define "lib.name" -}}{{ .Release.Name }}{{- end -}}`,
		at + "/templates/config.yaml": `apiVersion: v1
kind: ConfigMap
metadata: {name: {{ include "lib.name" . }}}
data:
  key: {{ .Values.key | quote }}
  architecture: {{ .Values.architecture | quote }}
  auth: {{ .Values.auth.enabled | quote }}
  chart: {{ .Chart.Version | quote }}
`,
	}
}

const helmChartFromGit = `
apiVersion: source.toolkit.fluxcd.io/v1
kind: GitRepository
metadata: {name: fleet}
spec: {interval: 1h, url: $URL}
---
apiVersion: source.toolkit.fluxcd.io/v1
kind: HelmChart
metadata: {name: demo}
spec: {interval: 1h, chart: ./chart, sourceRef: {kind: GitRepository, name: fleet}}
`

func releaseOf(name, value string) string {
	return fmt.Sprintf(`
apiVersion: helm.toolkit.fluxcd.io/v2
kind: HelmRelease
metadata: {name: %s}
spec:
  interval: 1h
  chartRef: {kind: HelmChart, name: demo}
  values: {key: %s}
`, name, value)
}

// seed is the HelmRelease of our users' book, word for word but for its namespace.
const seed = `apiVersion: helm.toolkit.fluxcd.io/v2beta1
kind: HelmRelease
metadata:
  name: backend-redis
  namespace: $NS
spec:
  interval: 5m
  chart:
    spec:
      chart: redis
      version: '17.3.x'  # Semantic versioning supported!
      sourceRef:
        kind: HelmRepository
        name: bitnami
  values:
    # Your standard Helm values.yaml injected here
    architecture: standalone
    auth:
      enabled: false
`

// shelf is a Helm repository over HTTP.
type shelf struct {
	*httptest.Server
	mu     sync.Mutex
	charts map[string][]byte // by file
	lie    bool              // the digests of the index are wrong
}

func newShelf(t *testing.T) *shelf {
	s := &shelf{charts: map[string][]byte{}}
	s.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.mu.Lock()
		defer s.mu.Unlock()
		file := strings.TrimPrefix(r.URL.Path, "/")
		if file == "index.yaml" {
			_, _ = w.Write([]byte(s.index()))
			return
		}
		content, ok := s.charts[file]
		if !ok {
			http.NotFound(w, r)
			return
		}
		_, _ = w.Write(content)
	}))
	t.Cleanup(s.Close)
	return s
}

func (s *shelf) index() string {
	text := "apiVersion: v1\nentries:\n  redis:\n"
	for _, file := range slices.Sorted(maps.Keys(s.charts)) {
		content := s.charts[file]
		if s.lie {
			content = nil
		}
		version := strings.TrimSuffix(strings.TrimPrefix(file, "redis-"), ".tgz")
		text += fmt.Sprintf("  - {apiVersion: v2, name: redis, version: %s, digest: %x, urls: [%s]}\n", version, sha256.Sum256(content), file)
	}
	return text
}

func (s *shelf) put(t *testing.T, versions ...string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, v := range versions {
		s.charts["redis-"+v+".tgz"] = registrytest.Archive(t, chartFiles("redis", "redis", v)).Data
	}
}

// lies makes the digests of the index wrong, or right again.
func (s *shelf) lies(lie bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.lie = lie
}

// beginHelm starts source-controller and helm-controller for the namespace of the scenario alone: the HelmCharts that
// HelmReleases make carry no label by which shards could tell them.
func beginHelm(t *testing.T) *scenario {
	s := begin(t)
	dir, remove, err := harness.TempDir()
	s.must(err, "make a directory")
	t.Cleanup(remove)
	stack, err := harness.New(s.ctx, os.Getenv(testenv.KubeconfigEnv), dir)
	s.must(err, "prepare the controllers")
	stack.Runtime = s.ns
	t.Cleanup(stack.Stop)
	t.Cleanup(func() {
		for _, kind := range []string{"HelmRelease", "HelmChart", "HelmRepository", "OCIRepository"} {
			_ = s.c.DeleteAllOf(s.ctx, s.object(kind, ""), client.InNamespace(s.ns))
		}
		for _, name := range []string{"backend-redis", "registry", "git"} {
			s.gone("HelmRelease", name)
		}
	})
	for _, name := range []string{"source-controller", "helm-controller"} {
		_, err := stack.Add(s.ctx, name, "--events-addr=", "--watch-all-namespaces=false")
		s.must(err, "start "+name)
	}
	return s
}

// released waits until a HelmRelease has released a chart of a version, and returns what its ConfigMap holds.
func (s *scenario) released(name, version string) map[string]string {
	s.Helper()
	s.await("HelmRelease", name, "released as "+version, func(o *unstructured.Unstructured) bool {
		c := conditionOf(o, "Ready")
		return c.status == "True" && strings.Contains(c.message, "@"+version)
	})
	data, _, _ := unstructured.NestedStringMap(s.exists("ConfigMap", name).Object, "data")
	return data
}

// Charts of a repository, of a registry and of Git go all the way: source, HelmChart, release, upgrade, end.
func TestHelmToCluster(t *testing.T) {
	s := beginHelm(t)
	charts := newShelf(t)
	charts.put(t, "17.3.0", "17.3.5", "18.0.0")
	charts.lies(true)
	s.plain("apiVersion: source.toolkit.fluxcd.io/v1\nkind: HelmRepository\nmetadata: {name: bitnami}\nspec: {interval: 1h, url: " + charts.URL + "}\n")
	s.plain(seed)
	s.failing("HelmRelease", "backend-redis", "SourceNotReady", "the archive is not the one that the index names")
	charts.lies(false)
	s.request("HelmRepository", "bitnami")
	if data := s.released("backend-redis", "17.3.5"); data["architecture"] != "standalone" || data["auth"] != "false" || data["key"] != "default" {
		t.Errorf("the release holds %v", data)
	}
	charts.put(t, "17.3.9")
	s.request("HelmRepository", "bitnami")
	s.released("backend-redis", "17.3.9")

	registry := registrytest.Start(t, registrytest.Options{})
	push := func(version string) {
		layer := registrytest.Archive(t, chartFiles("demo", "demo", version))
		layer.MediaType = "application/vnd.cncf.helm.chart.content.v1.tar+gzip"
		registry.Push(t, s.ns+"/demo", version, nil, layer)
	}
	push("1.0.0")
	s.plain(`apiVersion: source.toolkit.fluxcd.io/v1
kind: OCIRepository
metadata: {name: demo}
spec:
  interval: 1h
  url: ` + registry.URL(s.ns+"/demo") + `
  insecure: true
  ref: {semver: 1.x}
  layerSelector: {mediaType: application/vnd.cncf.helm.chart.content.v1.tar+gzip, operation: copy}
---
apiVersion: helm.toolkit.fluxcd.io/v2
kind: HelmRelease
metadata: {name: registry}
spec: {interval: 1h, chartRef: {kind: OCIRepository, name: demo}}
`)
	s.released("registry", "1.0.0+")
	push("1.1.0")
	s.request("OCIRepository", "demo")
	s.released("registry", "1.1.0+")

	s.commit(chartFiles("charts/demo", "demo", "2.0.0"))
	s.plain(`apiVersion: source.toolkit.fluxcd.io/v1
kind: GitRepository
metadata: {name: fleet}
spec: {interval: 1h, url: $URL}
---
apiVersion: helm.toolkit.fluxcd.io/v2
kind: HelmRelease
metadata: {name: git}
spec:
  interval: 1h
  chart: {spec: {chart: ./charts/demo, sourceRef: {kind: GitRepository, name: fleet}}}
  values: {key: mine}
`)
	if data := s.released("git", "2.0.0"); data["key"] != "mine" {
		t.Errorf("the release holds %v", data)
	}
	s.commit(chartFiles("charts/demo", "demo", "2.1.0"))
	s.request("GitRepository", "fleet")
	s.released("git", "2.1.0")

	s.must(s.c.Delete(s.ctx, s.object("HelmRelease", "git")), "delete the HelmRelease")
	s.gone("HelmRelease", "git")
	s.gone("ConfigMap", "git")
	s.gone("HelmChart", s.ns+"-git")
}

// plain is apply without the label of a shard.
func (s *scenario) plain(text string) {
	s.Helper()
	s.applyWith(text, nil)
}
