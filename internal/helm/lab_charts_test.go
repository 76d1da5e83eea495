package helm_test

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/gitops-toolkit/flux/api/meta"
	sourcev1 "github.com/gitops-toolkit/flux/api/source/v1"
	"github.com/gitops-toolkit/flux/internal/artifact/fetch"
)

// chartServer serves artifacts by the path of their URL, as source-controller does.
type chartServer struct {
	*httptest.Server
	mu      sync.Mutex
	content map[string][]byte
}

func newChartServer(t *testing.T) *chartServer {
	s := &chartServer{content: map[string][]byte{}}
	s.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.mu.Lock()
		content, ok := s.content[r.URL.Path]
		s.mu.Unlock()
		if !ok {
			http.NotFound(w, r)
			return
		}
		_, _ = w.Write(content)
	}))
	t.Cleanup(s.Close)
	return s
}

// put serves an artifact at a URL of whatever host.
func (s *chartServer) put(t testing.TB, at string, content []byte) {
	t.Helper()
	u, err := url.Parse(at)
	if err != nil {
		t.Fatal(err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.content[u.Path] = content
}

// client downloads from the server, whatever host a URL names.
func (s *chartServer) client() *fetch.Client {
	return fetch.New(fetch.Options{SourceController: strings.TrimPrefix(s.URL, "http://"), Retries: -1})
}

// pack makes a chart archive of files.
func pack(t testing.TB, name string, files map[string]string) []byte {
	t.Helper()
	var out bytes.Buffer
	zw := gzip.NewWriter(&out)
	tw := tar.NewWriter(zw)
	for _, file := range sortedKeys(files) {
		content := files[file]
		if err := tw.WriteHeader(&tar.Header{Name: name + "/" + file, Mode: 0o644, Size: int64(len(content)), Typeflag: tar.TypeReg}); err != nil {
			t.Fatal(err)
		}
		if _, err := tw.Write([]byte(content)); err != nil {
			t.Fatal(err)
		}
	}
	if err := errors.Join(tw.Close(), zw.Close()); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func sortedKeys(m map[string]string) []string {
	var keys []string
	for k := range m {
		keys = append(keys, k)
	}
	for i := range keys {
		for j := i; j > 0 && keys[j] < keys[j-1]; j-- {
			keys[j], keys[j-1] = keys[j-1], keys[j]
		}
	}
	return keys
}

// demo is a chart with a ConfigMap; more adds or replaces files.
func demo(version string, more map[string]string) map[string]string {
	files := map[string]string{
		"Chart.yaml":  "apiVersion: v2\nname: demo\nversion: " + version + "\nappVersion: \"" + version + "\"\n",
		"values.yaml": "message: hello\nbroken: false\n",
		"templates/config.yaml": `apiVersion: v1
kind: ConfigMap
metadata:
  name: {{ .Release.Name }}
data:
  message: {{ .Values.message | quote }}
  revision: {{ .Release.Revision | quote }}
  chart: {{ .Chart.Version | quote }}
{{- if .Values.broken }}
  broken: {{ fail "broken value set" }}
{{- end }}
`,
	}
	for name, content := range more {
		files[name] = content
	}
	return files
}

// source offers a chart as the OCIRepository name.
func (l *lab) source(name, version string, files map[string]string) {
	l.t.Helper()
	content := pack(l.t, "demo", files)
	digest := fmt.Sprintf("sha256:%x", sha256.Sum256(content))
	at := "http://charts.invalid/" + digest
	if l.spoiled != nil {
		content = l.spoiled
	}
	l.charts.put(l.t, at, content)
	key := types.NamespacedName{Namespace: l.namespace, Name: name}
	repo := &sourcev1.OCIRepository{}
	if err := l.client.Get(l.t.Context(), key, repo); err != nil {
		repo = &sourcev1.OCIRepository{ObjectMeta: metav1.ObjectMeta{Namespace: l.namespace, Name: name}}
		repo.Spec.URL, repo.Spec.Interval = "oci://example.com/demo", meta.NewDuration(time.Hour)
		if err := l.client.Create(l.t.Context(), repo); err != nil {
			l.t.Fatal(err)
		}
	}
	old := repo.DeepCopy()
	repo.Status.ObservedGeneration = repo.Generation
	repo.Status.Artifact = &meta.Artifact{
		Path: "ocirepository/x", URL: at, Revision: version + "@" + digest, Digest: digest, LastUpdateTime: meta.NewTime(time.Now()),
	}
	if err := l.client.Status().Patch(l.t.Context(), repo, client.MergeFrom(old)); err != nil {
		l.t.Fatal(err)
	}
}
