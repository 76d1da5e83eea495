package helm_test

import (
	"context"
	"encoding/json"
	"errors"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	helmv2 "github.com/gitops-toolkit/flux/api/helm/v2"
	"github.com/gitops-toolkit/flux/internal/helm/release"
)

// recording is a run of upstream that is kept beside the repository.
const recording = "../../../shared/recorded"

// swapped are HelmReleases of the recording: released, tested, with drift detection, and given up.
var swapped = []string{"hr-oci", "hr-chart", "hr-drift", "hr-ocirepo", "hr-valuesfrom", "hr-fail-health", "hr-fail-upgrade"}

// move brings objects of the recording into the cluster, as upstream left them.
type move struct {
	*lab
	// written are the objects and records that must stay as they are, with their versions.
	written map[string]string
}

func (m *move) read(file string) *unstructured.Unstructured {
	m.t.Helper()
	text, err := os.ReadFile(filepath.Join(recording, "objects", file))
	if err != nil {
		m.t.Fatal(err)
	}
	u := &unstructured.Unstructured{}
	if err := yaml.Unmarshal(text, &u.Object); err != nil {
		m.t.Fatal(err)
	}
	u.SetManagedFields(nil)
	u.SetUID("")
	u.SetResourceVersion("")
	u.SetCreationTimestamp(metav1.Time{})
	return u
}

// bring creates an object with its status; generations begin anew.
func (m *move) bring(file string) *unstructured.Unstructured {
	m.t.Helper()
	u := m.read(file)
	status, has := u.Object["status"]
	generation, _, _ := unstructured.NestedFieldNoCopy(u.Object, "metadata", "generation")
	if n, ok := asInt(generation); ok {
		renumber(status, n)
	}
	m.clear(u)
	created := u.DeepCopy()
	if err := m.client.Create(m.t.Context(), created); err != nil {
		m.t.Fatal(err)
	}
	if has {
		patch, err := json.Marshal(map[string]any{"status": status})
		if err != nil {
			m.t.Fatal(err)
		}
		if err := m.client.Status().Patch(m.t.Context(), created, mergePatch(string(patch))); err != nil {
			m.t.Fatal(err)
		}
	}
	return created
}

// clear removes an object that an earlier run left, and later this one's.
func (m *move) clear(u *unstructured.Unstructured) {
	m.t.Helper()
	remove := func() error {
		old := u.DeepCopy()
		_ = m.client.Patch(context.Background(), old, mergePatch(`{"metadata":{"finalizers":null}}`))
		return client.IgnoreNotFound(m.client.Delete(context.Background(), u.DeepCopy()))
	}
	if err := remove(); err != nil {
		m.t.Fatal(err)
	}
	m.t.Cleanup(func() { _ = remove() })
}

// renumber makes every generation that was the object's own the first.
func renumber(status any, generation int64) {
	switch v := status.(type) {
	case map[string]any:
		for key, value := range v {
			if n, ok := asInt(value); ok && strings.HasSuffix(key, "Generation") && n == generation {
				v[key] = int64(1)
			}
			renumber(value, generation)
		}
	case []any:
		for _, value := range v {
			renumber(value, generation)
		}
	}
}

func asInt(v any) (int64, bool) {
	switch n := v.(type) {
	case int64:
		return n, true
	case float64:
		return int64(n), true
	}
	return 0, false
}

// release brings a HelmRelease with its chart, its records, and what was released.
func (m *move) release(name string) {
	m.t.Helper()
	hr := &helmv2.HelmRelease{}
	u := m.read("HelmRelease_" + name + ".yaml")
	text, _ := json.Marshal(u.Object)
	if err := json.Unmarshal(text, hr); err != nil {
		m.t.Fatal(err)
	}
	m.namespaces(hr.Spec.TargetNamespace, hr.Status.StorageNamespace)
	if chart := "HelmChart_flux-system-" + name + ".yaml"; hr.Spec.Chart != nil {
		m.offer(m.bring(chart))
	} else {
		m.offer(m.bring("OCIRepository_" + hr.Spec.ChartRef.Name + ".yaml"))
	}
	files, err := filepath.Glob(filepath.Join(recording, "objects", "Secret_*_sh.helm.release.v1."+hr.Status.History.Latest().Name+".v*.yaml"))
	if err != nil || len(files) == 0 {
		m.t.Fatalf("no records of %s: %v", name, err)
	}
	for _, file := range files {
		m.keep(m.bring(filepath.Base(file)))
	}
	m.manifest(hr)
	m.bring("HelmRelease_" + name + ".yaml")
}

// namespaces makes namespaces that are not there.
func (m *move) namespaces(names ...string) {
	m.t.Helper()
	for _, name := range names {
		ns := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name}}
		if err := m.client.Create(m.t.Context(), ns); name != "" && err != nil && !apierrors.IsAlreadyExists(err) {
			m.t.Fatal(err)
		}
	}
}

// manifest applies what was released, as upstream applied it.
func (m *move) manifest(hr *helmv2.HelmRelease) {
	m.t.Helper()
	for _, s := range hr.Status.History {
		if s.Status != "deployed" {
			continue
		}
		at := &lab{t: m.t, namespace: hr.Status.StorageNamespace, client: m.client, config: m.config}
		objects, err := release.Objects(at.readRevision(m.t, s.Name, s.Version).Manifest)
		if err != nil {
			m.t.Fatal(err)
		}
		for _, o := range objects {
			release.Own(o, s.Name, s.Namespace)
			if o.GetNamespace() == "" {
				o.SetNamespace(s.Namespace)
			}
			m.clear(o)
			if err := m.client.Apply(m.t.Context(), client.ApplyConfigurationFromUnstructured(o), client.FieldOwner("helm-controller"), client.ForceOwnership); err != nil {
				m.t.Fatal(err)
			}
			m.keep(o)
		}
		return
	}
}

// keep notes the version of an object.
func (m *move) keep(u *unstructured.Unstructured) {
	m.t.Helper()
	now := u.DeepCopy()
	if err := m.client.Get(m.t.Context(), client.ObjectKeyFromObject(u), now); err != nil {
		m.t.Fatal(err)
	}
	m.written[now.GetKind()+"/"+now.GetNamespace()+"/"+now.GetName()] = string(now.GetUID()) + "/" + contentOf(now)
}

// contentOf is what a write would change: other controllers write the status.
func contentOf(u *unstructured.Unstructured) string {
	c := u.DeepCopy()
	delete(c.Object, "status")
	for _, field := range []string{"resourceVersion", "managedFields", "annotations"} {
		unstructured.RemoveNestedField(c.Object, "metadata", field)
	}
	text, _ := json.Marshal(c.Object)
	return string(text)
}

// offer serves the artifact of a chart.
func (m *move) offer(chart *unstructured.Unstructured) {
	m.t.Helper()
	at, _, _ := unstructured.NestedString(chart.Object, "status", "artifact", "url")
	path, _, _ := unstructured.NestedString(chart.Object, "status", "artifact", "path")
	content, err := os.ReadFile(filepath.Join(recording, "artifacts/files/source-controller", path))
	if err != nil {
		m.t.Fatal(err)
	}
	m.charts.put(m.t, at, content)
}

// A cluster that upstream looked after goes on as it was: no revision, no apply, equal status.
func TestSwap(t *testing.T) {
	if _, err := os.Stat(recording); errors.Is(err, os.ErrNotExist) {
		t.Skip("the recorded run of upstream is not here: ../shared/recorded")
	}
	t.Parallel()
	m := &move{written: map[string]string{}}
	before := map[string]string{}
	l := newLab(t, func(l *lab) {
		l.namespace, l.settings.RuntimeNamespace = "flux-system", "flux-system"
		m.lab = l
		m.namespaces(l.namespace)
		for _, file := range []string{"ConfigMap_flux-system_hr-values.yaml", "Secret_flux-system_hr-values.yaml"} {
			if _, err := os.Stat(filepath.Join(recording, "objects", file)); err == nil {
				m.bring(file)
			}
		}
		for _, name := range swapped {
			m.release(name)
			before[name] = statusOf(t, l.get(name))
		}
	})
	for _, name := range swapped {
		l.request(name)
		if after := statusOf(t, l.get(name)); after != before[name] {
			t.Errorf("%s: the status was\n%s\nand is\n%s", name, before[name], after)
		}
	}
	was := maps.Clone(m.written)
	for _, name := range swapped {
		hr := l.get(name)
		for _, s := range hr.Status.History {
			at := &lab{t: t, namespace: hr.Status.StorageNamespace, client: l.client, config: l.config}
			for version := range at.storedRevisions(s.Name) {
				if _, ok := was["Secret/"+hr.Status.StorageNamespace+"/sh.helm.release.v1."+s.Name+".v"+version]; !ok {
					t.Errorf("%s: v%s is new", name, version)
				}
			}
		}
	}
	for _, r := range l.requests() {
		method, path, _ := strings.Cut(r, " ")
		if method != "get" && !strings.Contains(path, "/helmreleases/") && !strings.Contains(path, "/helmcharts/") && !strings.Contains(path, "/events") &&
			!strings.Contains(path, "/leases") && !strings.Contains(path, "dryRun=All") {
			t.Errorf("a write: %s", r)
		}
	}
}

// statusOf is the status but for the token of the last request.
func statusOf(t *testing.T, hr *helmv2.HelmRelease) string {
	t.Helper()
	status := hr.Status.DeepCopy()
	status.LastHandledReconcileAt = ""
	text, err := json.MarshalIndent(status, "", " ")
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}
