package helm_test

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	helmv2 "github.com/gitops-toolkit/flux/api/helm/v2"
	"github.com/gitops-toolkit/flux/api/meta"
	sourcev1 "github.com/gitops-toolkit/flux/api/source/v1"
	"github.com/gitops-toolkit/flux/internal/kernel"
)

// Each bad input ends in a clear condition, touches no release, and its fix is all that is needed.
func TestBadInput(t *testing.T) {
	t.Parallel()
	noise := make([]byte, 2<<20)
	if _, err := rand.Read(noise); err != nil {
		t.Fatal(err)
	}
	l := newLab(t)
	l.source("demo", "1.0.0", demo("1.0.0", map[string]string{
		"values.schema.json": `{"$schema":"http://json-schema.org/draft-07/schema#","properties":{"message":{"type":"string"}}}`,
		"templates/hook.yaml": `{{ if .Values.hook }}
apiVersion: v1
kind: Service
metadata:
  name: {{ .Release.Name }}-hook
  annotations: {helm.sh/hook: pre-install}
spec: {ports: [{port: 99999}]}
{{ end }}
`,
		"templates/kind.yaml": `{{ if .Values.kind }}
apiVersion: nobody.example.com/v1
kind: Nothing
metadata: {name: {{ .Release.Name }}}
{{ end }}
`,
		"templates/away.yaml": `{{ if .Values.away }}
apiVersion: v1
kind: ConfigMap
metadata: {name: {{ .Release.Name }}-away, namespace: no-such-namespace}
{{ end }}
`,
	}))
	l.source("large", "1.0.0", demo("1.0.0", map[string]string{"files/noise": base64.StdEncoding.EncodeToString(noise)}))
	l.source("wrong", "2.0.0", demo("1.0.0", nil))
	l.source("nochart", "1.0.0", map[string]string{"README.md": "nothing"})
	for name, c := range map[string]struct {
		change        func(*helmv2.HelmReleaseSpec)
		reason, words string
	}{
		"template": {func(s *helmv2.HelmReleaseSpec) { s.Values = values(t, `{"broken":true}`) }, "InstallFailed", "demo/templates/config.yaml:10:"},
		"schema":   {func(s *helmv2.HelmReleaseSpec) { s.Values = values(t, `{"message":5}`) }, "InstallFailed", "message"},
		"depends": {func(s *helmv2.HelmReleaseSpec) {
			s.DependsOn = []meta.DependencyReference{{Name: "x", Kind: "Certificate"}}
		}, meta.DependencyNotReadyReason, "HelmReleases only"},
		"hook":  {func(s *helmv2.HelmReleaseSpec) { s.Values = values(t, `{"hook":true}`) }, "InstallFailed", "failed pre-install"},
		"kind":  {func(s *helmv2.HelmReleaseSpec) { s.Values = values(t, `{"kind":true}`) }, "InstallFailed", "ensure CRDs are installed first"},
		"away":  {func(s *helmv2.HelmReleaseSpec) { s.Values = values(t, `{"away":true}`) }, "InstallFailed", `namespaces "no-such-namespace" not found`},
		"large": {func(s *helmv2.HelmReleaseSpec) { s.ChartRef.Name = "large" }, "InstallFailed", "bytes in Helm's storage"},
		"values": {func(s *helmv2.HelmReleaseSpec) {
			s.ValuesFrom = []helmv2.ValuesReference{{Kind: "ConfigMap", Name: "absent"}}
		}, "ValuesError", "could not resolve ConfigMap chart values reference '" + l.namespace + "/absent' with key 'values.yaml': configmaps \"absent\" not found; create it, or set optional: true in spec.valuesFrom"},
		"key": {func(s *helmv2.HelmReleaseSpec) {
			s.ValuesFrom = []helmv2.ValuesReference{{Kind: "ConfigMap", Name: "kube-root-ca.crt"}}
		}, "ValuesError", "key not found; add the key, or correct valuesKey in spec.valuesFrom"},
		"source":    {func(s *helmv2.HelmReleaseSpec) { s.ChartRef.Name = "missing" }, meta.ArtifactFailedReason, "could not get Source object: "},
		"version":   {func(s *helmv2.HelmReleaseSpec) { s.ChartRef.Name = "wrong" }, "ChartMutateError", "artifact revision 2.0.0 does not match chart version 1.0.0"},
		"nochart":   {func(s *helmv2.HelmReleaseSpec) { s.ChartRef.Name = "nochart" }, meta.ArtifactFailedReason, "Could not load chart: Chart.yaml file is missing"},
		"storage":   {func(s *helmv2.HelmReleaseSpec) { s.StorageNamespace = "no-such-namespace" }, "InstallFailed", `namespaces "no-such-namespace" not found`},
		"dependent": {func(s *helmv2.HelmReleaseSpec) { s.DependsOn = []meta.DependencyReference{{Name: "nobody"}} }, meta.DependencyNotReadyReason, "unable to get '" + l.namespace + "/nobody' dependency"},
		"dependent-first": {func(s *helmv2.HelmReleaseSpec) {
			s.ChartRef.Name, s.DependsOn = "missing", []meta.DependencyReference{{Name: "nobody"}}
		}, meta.DependencyNotReadyReason, "unable to get '" + l.namespace + "/nobody' dependency"},
		"expr": {func(s *helmv2.HelmReleaseSpec) {
			s.HealthCheckExprs = []meta.CustomHealthCheck{{APIVersion: "v1", Kind: "ConfigMap", Current: "((("}}
		}, meta.InvalidCELExpressionReason, "Reconciliation failed terminally"},
		"kubeconfig": {func(s *helmv2.HelmReleaseSpec) {
			s.KubeConfig = &meta.KubeConfigReference{SecretRef: &meta.SecretKeyReference{Name: "absent"}}
		}, "RESTClientError", "unable to read KubeConfig secret"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			at := l.with(t)
			at.create(name, c.change)
			hr, message := at.failed(name, c.reason)
			if !strings.Contains(message, c.words) {
				t.Errorf("Ready says %q, want %q in it", message, c.words)
			}
			if r := condition(hr, meta.ReconcilingCondition); condition(hr, meta.StalledCondition) == nil && (r == nil || r.Reason != meta.ProgressingWithRetryReason || r.Message == "") {
				t.Errorf("Reconciling is %+v", r)
			}
			if len(hr.Status.History) > 0 && hr.Status.History[0].Status == "deployed" {
				t.Errorf("it was released: %+v", hr.Status.History[0])
			}
		})
	}
}

// An artifact that is not what its digest says is no chart; the release stays as it was until it is.
func TestWrongDigest(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	l.source("demo", "1.0.0", demo("1.0.0", nil))
	l.create("app")
	l.ready("app", 1)
	good := demo("1.1.0", nil)
	at := fmt.Sprintf("http://charts.invalid/sha256:%x", sha256.Sum256(pack(t, "demo", good)))
	l.spoiled = pack(t, "demo", demo("1.1.0", map[string]string{"templates/evil.yaml": "{{ fail \"never rendered\" }}"}))
	l.source("demo", "1.1.0", good)
	hr, message := l.failed("app", meta.ArtifactFailedReason)
	if !strings.HasPrefix(message, "Could not load chart: failed to verify archive: computed digest doesn't match provided") {
		t.Errorf("Ready says %q", message)
	}
	if h := hr.Status.History; len(h) != 1 || h[0].Status != "deployed" {
		t.Errorf("history %+v", h)
	}
	l.charts.put(t, at, pack(t, "demo", good))
	l.ready("app", 2)
}

// Why a source has no chart is told as soon as the source tells it, not when its release looks again.
func TestSourceThatFailsIsTold(t *testing.T) {
	t.Parallel()
	l := newLab(t, func(l *lab) { l.settings.RequeueDependency = time.Hour })
	l.source("demo", "1.0.0", demo("1.0.0", nil))
	l.create("app")
	l.ready("app", 1)
	repo := &sourcev1.OCIRepository{}
	if err := l.client.Get(t.Context(), types.NamespacedName{Namespace: l.namespace, Name: "demo"}, repo); err != nil {
		t.Fatal(err)
	}
	repo.Spec.URL = "oci://example.com/other"
	if err := l.client.Update(t.Context(), repo); err != nil {
		t.Fatal(err)
	}
	l.update("app", func(hr *helmv2.HelmRelease) { hr.Spec.Values = values(t, `{"message":"two"}`) })
	says := func(what string) {
		l.until("app", "that its source says: "+what, func(hr *helmv2.HelmRelease) bool {
			return strings.HasSuffix(hr.Status.Conditions.Get(meta.ReadyCondition).Message, "/demo' is not ready: "+what)
		})
	}
	says("latest generation of object has not been reconciled")
	for _, why := range []string{"no such repository", "not allowed"} {
		old := repo.DeepCopy()
		repo.Status.Conditions = meta.Conditions{{Type: meta.ReadyCondition, Status: metav1.ConditionFalse, Reason: "Failed", Message: why,
			ObservedGeneration: repo.Generation, LastTransitionTime: metav1.Now()}}
		if err := l.client.Status().Patch(t.Context(), repo, client.MergeFrom(old)); err != nil {
			t.Fatal(err)
		}
		says(why)
	}
}

func TestValuesFromFollowsLabelledObjects(t *testing.T) {
	t.Parallel()
	l := newLab(t, func(l *lab) { l.settings.WatchConfigsLabelSelector = kernel.Defaults().WatchConfigsLabelSelector })
	l.source("demo", "1.0.0", demo("1.0.0", nil))
	cm := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: l.namespace, Name: "config", Labels: map[string]string{"reconcile.fluxcd.io/watch": "Enabled"}}, Data: map[string]string{"values.yaml": "message: one"}}
	secret := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: l.namespace, Name: "secret"}, StringData: map[string]string{"one": "a,b"}}
	if err := l.client.Create(t.Context(), cm); err != nil {
		t.Fatal(err)
	}
	if err := l.client.Create(t.Context(), secret); err != nil {
		t.Fatal(err)
	}
	l.create("app", func(s *helmv2.HelmReleaseSpec) {
		s.ValuesFrom = []helmv2.ValuesReference{
			{Kind: "ConfigMap", Name: "config"}, {Kind: "Secret", Name: "absent", Optional: true},
			{Kind: "Secret", Name: "secret", ValuesKey: "one", TargetPath: "literal", Literal: true},
		}
	})
	l.ready("app", 1)
	if data := l.configMap("app"); data["message"] != "one" {
		t.Errorf("the ConfigMap holds %v", data)
	}
	cm.Data["values.yaml"] = "message: two"
	if err := l.client.Update(t.Context(), cm); err != nil {
		t.Fatal(err)
	}
	l.ready("app", 2)
	if data := l.configMap("app"); data["message"] != "two" {
		t.Errorf("the ConfigMap holds %v", data)
	}
}

func TestDependsOn(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	l.source("demo", "1.0.0", demo("1.0.0", nil))
	l.create("second", func(s *helmv2.HelmReleaseSpec) { s.DependsOn = []meta.DependencyReference{{Name: "first"}} })
	l.failed("second", meta.DependencyNotReadyReason)
	l.create("first")
	l.ready("second", 1)
	l.create("third", func(s *helmv2.HelmReleaseSpec) {
		s.DependsOn = []meta.DependencyReference{{Name: "first", ReadyExpr: "dep.status.history[0].version == self.spec.maxHistory"}}
		two := 2
		s.MaxHistory = &two
	})
	if _, message := l.failed("third", meta.DependencyNotReadyReason); !strings.Contains(message, "according to readyExpr eval") {
		t.Errorf("Ready says %q", message)
	}
	l.update("first", func(hr *helmv2.HelmRelease) { hr.Spec.Values = values(t, `{"message":"again"}`) })
	l.ready("third", 1)
}
