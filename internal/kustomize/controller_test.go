package kustomize_test

import (
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	kustomizev1 "github.com/gitops-toolkit/flux/api/kustomize/v1"
	"github.com/gitops-toolkit/flux/api/meta"
)

func TestHappyPath(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	l.source("repo", "main@sha1:1", map[string]string{"a.yaml": configMap("a", "1"), "sub/b.yaml": configMap("b", "1"), "sub/c.yaml": configMap("c", "1"), "d.yaml": configMap("d", "1")})
	l.create("app")
	k := l.ready("app", "main@sha1:1")
	if got, want := condition(k, meta.ReadyCondition).Message, "Applied revision: main@sha1:1"; got != want {
		t.Errorf("Ready message %q, want %q", got, want)
	}
	if condition(k, meta.ReconcilingCondition) != nil || condition(k, meta.StalledCondition) != nil || condition(k, meta.HealthyCondition) != nil {
		t.Errorf("conditions beside Ready are left: %s", describe(k))
	}
	if k.Status.LastAttemptedRevision != "main@sha1:1" || len(k.Status.Inventory.Entries) != 4 {
		t.Errorf("status = %+v", k.Status)
	}
	if len(k.Status.History) != 1 || k.Status.History[0].LastReconciledStatus != "ReconciliationSucceeded" || k.Status.History[0].Metadata["revision"] != "main@sha1:1" {
		t.Errorf("history = %+v", k.Status.History)
	}
	cm := &corev1.ConfigMap{}
	if err := l.client.Get(t.Context(), types.NamespacedName{Namespace: l.namespace, Name: "a"}, cm); err != nil {
		t.Fatal(err)
	}
	if cm.Labels[kustomizev1.OwnerNameLabel] != "app" || cm.Labels[kustomizev1.OwnerNamespaceLabel] != l.namespace {
		t.Errorf("owner labels = %v", cm.Labels)
	}
	changes := l.event("app", func(e posted) bool { return strings.Contains(e.Message, "created") })
	if changes.Reason != "Progressing" || changes.Severity != "info" || strings.Count(changes.Message, "created") != 4 {
		t.Errorf("change event = %+v", changes)
	}
	finish := l.event("app", func(e posted) bool { return strings.HasPrefix(e.Message, "Reconciliation finished in ") })
	if finish.Reason != "ReconciliationSucceeded" || !strings.HasSuffix(finish.Message, ", next run in 1h0m0s") ||
		finish.Metadata["kustomize.toolkit.fluxcd.io/revision"] != "main@sha1:1" || finish.Metadata["kustomize.toolkit.fluxcd.io/commit_status"] != "update" {
		t.Errorf("finish event = %+v", finish)
	}
}

// TestBudgets counts what each kind of change costs.
func TestBudgets(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	files := map[string]string{"app/a.yaml": configMap("a", "1"), "app/b.yaml": configMap("b", "1"), "app/c.yaml": configMap("c", "1"), "app/d.yaml": configMap("d", "1")}
	l.source("repo", "main@sha1:1", files)
	l.create("app", func(s *kustomizev1.KustomizationSpec) { s.Path = "./app" })
	l.ready("app", "main@sha1:1")
	finished := func(revision string) {
		l.ready("app", revision)
		l.event("app", func(e posted) bool {
			return strings.HasPrefix(e.Message, "Reconciliation finished") && e.Metadata["kustomize.toolkit.fluxcd.io/revision"] == revision
		})
	}
	finished("main@sha1:1")
	l.proxy.take()
	l.artifacts.fetches()

	files["app/a.yaml"] = configMap("a", "2")
	l.source("repo", "main@sha1:2", files)
	finished("main@sha1:2")
	seen := l.proxy.take()
	if d, a, s := count(seen, "dry-run"), count(seen, "apply"), count(seen, "status"); d != 1 || a != 1 || s > 2 || len(seen) > 6 {
		t.Errorf("one of four objects changed: %d dry-runs, %d applies, %d status patches in %v", d, a, s, seen)
	}
	if n := l.artifacts.fetches(); n != 1 {
		t.Errorf("%d fetches, want 1", n)
	}

	files["other/x.yaml"] = configMap("x", "1")
	l.source("repo", "main@sha1:3", files)
	finished("main@sha1:3")
	seen = l.proxy.take()
	if s := count(seen, "status"); s != 1 || len(seen)-count(seen, "event") != 1 {
		t.Errorf("a revision that changes nothing here: want a status patch and an event, got %v", seen)
	}

	l.artifacts.fetches()
	at := l.request("app")
	l.until("app", "answered", func(k *kustomizev1.Kustomization) bool { return k.Status.LastHandledReconcileAt == at })
	seen = l.proxy.take()
	if d, a := count(seen, "dry-run"), count(seen, "apply"); d != 4 || a != 0 {
		t.Errorf("a request looks at every object: %d dry-runs, %d applies in %v", d, a, seen)
	}
	if n := l.artifacts.fetches(); n != 0 {
		t.Errorf("a request for the same revision fetched %d times, want 0", n)
	}
}

func TestPrune(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	files := map[string]string{"a.yaml": configMap("a", "1"), "b.yaml": configMap("b", "1")}
	l.source("repo", "r1", files)
	l.create("app")
	l.ready("app", "r1")
	delete(files, "b.yaml")
	l.source("repo", "r2", files)
	k := l.ready("app", "r2")
	if l.exists("b") || !l.exists("a") {
		t.Error("b must be deleted and a kept")
	}
	if len(k.Status.Inventory.Entries) != 1 {
		t.Errorf("inventory = %+v", k.Status.Inventory)
	}
	e := l.event("app", func(e posted) bool { return strings.HasSuffix(e.Message, "deleted") })
	if want := "ConfigMap/" + l.namespace + "/b deleted"; e.Message != want || e.Reason != "Progressing" {
		t.Errorf("event = %+v, want %q", e, want)
	}
	l.source("repo", "r3", nil)
	if k := l.ready("app", "r3"); l.exists("a") || len(k.Status.Inventory.Entries) != 0 {
		t.Errorf("an empty path prunes everything; inventory %+v", k.Status.Inventory)
	}
}

func TestNoPruneOrphans(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	l.source("repo", "r1", map[string]string{"a.yaml": configMap("a", "1"), "b.yaml": configMap("b", "1")})
	l.create("app", func(s *kustomizev1.KustomizationSpec) { s.Prune = false })
	l.ready("app", "r1")
	l.source("repo", "r2", map[string]string{"a.yaml": configMap("a", "1")})
	if k := l.ready("app", "r2"); !l.exists("b") || len(k.Status.Inventory.Entries) != 1 {
		t.Errorf("b must stay and be forgotten; inventory %+v", k.Status.Inventory)
	}
}

func TestFailures(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	l.source("repo", "r1", map[string]string{
		"yaml/cm.yaml":               "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: x\n",
		"invalid/one.yaml":           "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: invalid-one}\ndata: {n: [1, 2]}\n",
		"invalid/two.yaml":           "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: Invalid_Two}\n",
		"invalid/good.yaml":          configMap("good", "1"),
		"unknown/svc.yaml":           "apiVersion: v1\nkind: Service\nmetadata: {name: svc}\nspec: {ports: [{prot: 80}]}\n",
		"numeric/d.yaml":             "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: numeric}\nspec: {replicas: \"3\"}\n",
		"number/cm.yaml":             configMap("number", "${v}"),
		"undeclared/cr.yaml":         "apiVersion: source.toolkit.fluxcd.io/v1\nkind: GitRepository\nmetadata: {name: x}\nspec: {interval: 1h, url: 'https://h/r', brnch: x}\n",
		"missing/cm.yaml":            "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: x, namespace: does-not-exist-anywhere}\n",
		"nokind/cr.yaml":             "apiVersion: example.com/v1\nkind: Nothing\nmetadata: {name: x}\n",
		"outside/kustomization.yaml": "resources: [../../etc/passwd]\n",
		"remote/kustomization.yaml":  "resources: ['https://remote.invalid/x.yaml']\n",
		"half/cm.yaml":               "apiVersion: v1\nmetadata: {name: half}\n",
		"good/cm.yaml":               configMap("good", "1"),
		"subst/cm.yaml":              configMap("s", "${undefined}"),
	})
	weak := &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Name: "weak", Namespace: l.namespace}}
	if err := l.client.Create(t.Context(), weak); err != nil {
		t.Fatal(err)
	}
	retry := func(s *kustomizev1.KustomizationSpec) { d := meta.NewDuration(time.Hour); s.RetryInterval = &d }
	t.Run("each", func(t *testing.T) {
		for name, c := range map[string]struct {
			path, reason string
			want         []string
			change       func(*kustomizev1.KustomizationSpec)
		}{
			"path":    {path: "./absent", reason: "ArtifactFailed", want: []string{"kustomization path not found: stat ", "/absent: no such file or directory; correct spec.path, or add the directory to GitRepository/" + l.namespace + "/"}},
			"yaml":    {path: "./yaml", reason: "BuildFailed", want: []string{"failed to decode Kubernetes YAML from ", "/yaml/cm.yaml: MalformedYAMLError: yaml: line "}},
			"outside": {path: "./outside", reason: "BuildFailed", want: []string{"leads out of the artifact"}},
			"remote":  {path: "./remote", reason: "BuildFailed", want: []string{"remote.invalid", "not allowed"}},
			"subst": {path: "./subst", reason: "BuildFailed", want: []string{"post build failed for 'ConfigMap.v1.[noGrp]/s': envsubst error: variable substitution failed: variable not set (strict mode): \"undefined\""},
				change: func(s *kustomizev1.KustomizationSpec) {
					s.PostBuild = &kustomizev1.PostBuild{Substitute: map[string]string{"a": "b"}}
				}},
			"from": {path: "./subst", reason: "BuildFailed", want: []string{"substitute from 'ConfigMap/absent' error: ", "; create it, or set optional: true in spec.postBuild.substituteFrom"},
				change: func(s *kustomizev1.KustomizationSpec) {
					s.PostBuild = &kustomizev1.PostBuild{SubstituteFrom: []kustomizev1.SubstituteReference{{Kind: "ConfigMap", Name: "absent"}}}
				}},
			"invalid": {path: "./invalid", reason: "ReconciliationFailed", want: []string{"/invalid-one dry-run failed", "Invalid_Two", "invalid/one.yaml", "invalid/two.yaml"}},
			"unknown": {path: "./unknown", reason: "ReconciliationFailed", want: []string{"Service/", "/svc dry-run failed", "\n  in unknown/svc.yaml\n  unknown field spec.ports[0].prot was ignored: correct or remove it\n"}},
			"number": {path: "./number", reason: "ReconciliationFailed", want: []string{"/number dry-run failed", ": expected string, got ", "\n  in number/cm.yaml\n  put the value of data.value in quotes, so that it is a string; one that spec.postBuild fills in brings them along"},
				change: func(s *kustomizev1.KustomizationSpec) {
					s.PostBuild = &kustomizev1.PostBuild{Substitute: map[string]string{"v": "1"}}
				}},
			"numeric":    {path: "./numeric", reason: "ReconciliationFailed", want: []string{".spec.replicas: expected numeric (int or float), got string\n  in numeric/d.yaml\n  write spec.replicas as a number, without quotes\n"}},
			"undeclared": {path: "./undeclared", reason: "ReconciliationFailed", want: []string{"/x dry-run failed", ".spec.brnch: field not declared in schema\n  in undeclared/cr.yaml\n  correct or remove the field spec.brnch\n"}},
			"missing": {path: "./missing", reason: "ReconciliationFailed", want: []string{"ConfigMap/does-not-exist-anywhere/x not found: namespaces \"does-not-exist-anywhere\" not found\n  in missing/cm.yaml\n  add the Namespace 'does-not-exist-anywhere' to this source", "or correct metadata.namespace\n"},
				change: func(s *kustomizev1.KustomizationSpec) { s.TargetNamespace = "" }},
			"nokind": {path: "./nokind", reason: "ReconciliationFailed", want: []string{"Nothing", "\n  correct apiVersion and kind, or install the CustomResourceDefinition first"}},
			"half":   {path: "./half", reason: "BuildFailed", want: []string{"/half/cm.yaml: missing kind in object with apiVersion 'v1', metadata.name 'half'; add it"}},
			"nobody": {path: "./good", reason: "ReconciliationFailed", want: []string{" dry-run failed (Forbidden): ", "/ghost' of spec.serviceAccountName does not exist: create it, or correct the name\n"},
				change: func(s *kustomizev1.KustomizationSpec) { s.ServiceAccountName = "ghost" }},
			"weak": {path: "./good", reason: "ReconciliationFailed", want: []string{" dry-run failed (Forbidden): ", "\n  grant the right to the ServiceAccount '", "/weak' of spec.serviceAccountName with a RoleBinding"},
				change: func(s *kustomizev1.KustomizationSpec) { s.ServiceAccountName = "weak" }},
			"cel": {path: "./", reason: "InvalidCELExpression", want: []string{"Reconciliation failed terminally due to configuration error: ", "'status.('"},
				change: func(s *kustomizev1.KustomizationSpec) {
					s.HealthCheckExprs = []meta.CustomHealthCheck{{APIVersion: "v1", Kind: "ConfigMap", Current: "status.("}}
				}},
			"decrypt": {path: "./", reason: "BuildFailed", want: []string{"/absent': ", "create it, or correct spec.decryption.secretRef"},
				change: func(s *kustomizev1.KustomizationSpec) {
					s.Decryption = &kustomizev1.Decryption{Provider: "sops", SecretRef: &meta.LocalObjectReference{Name: "absent"}}
				}},
			"nosource": {path: "./", reason: "ArtifactFailed", want: []string{`GitRepository.source.toolkit.fluxcd.io "absent" not found; create it, or correct spec.sourceRef`},
				change: func(s *kustomizev1.KustomizationSpec) { s.SourceRef.Name = "absent" }},
		} {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				l := l.with(t)
				change := []func(*kustomizev1.KustomizationSpec){retry, func(s *kustomizev1.KustomizationSpec) { s.Path = c.path }}
				if c.change != nil {
					change = append(change, c.change)
				}
				l.create(name, change...)
				k, message := l.failed(name, c.reason)
				for _, want := range c.want {
					if !strings.Contains(message, want) {
						t.Errorf("the message does not tell %q:\n%s", want, message)
					}
				}
				if k.Status.LastAppliedRevision != "" {
					t.Errorf("something counts as applied: %+v", k.Status)
				}
				stalled := condition(k, meta.StalledCondition) != nil
				if want := name == "cel"; stalled != want {
					t.Errorf("stalled = %v, want %v", stalled, want)
				}
				if name == "nosource" {
					return // an event would come for every start in the wrong order
				}
				e := l.event(name, func(e posted) bool { return e.Severity == "error" })
				if e.Reason != c.reason || e.Message != message {
					t.Errorf("event = %+v\nwant the message of Ready:\n%s", e, message)
				}
			})
		}
	})
	if l.exists("good") {
		t.Error("a valid object was applied although others of its stage are not")
	}
}

// TestRecovery mends what was wrong and expects no help to be needed.
func TestRecovery(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	l.source("repo", "r1", map[string]string{"a.yaml": "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\ndata: {n: [1]}\n"})
	l.create("app")
	l.failed("app", "ReconciliationFailed")
	l.source("repo", "r2", map[string]string{"a.yaml": configMap("a", "1")})
	if k := l.ready("app", "r2"); condition(k, meta.ReconcilingCondition) != nil {
		t.Errorf("conditions are left: %s", describe(k))
	}
}

func TestDependsOn(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	l.source("repo", "r1", map[string]string{"a/a.yaml": configMap("a", "1"), "b/b.yaml": configMap("b", "1")})
	needs := func(path, dep string) func(*kustomizev1.KustomizationSpec) {
		return func(s *kustomizev1.KustomizationSpec) {
			s.Path, s.DependsOn = path, []meta.DependencyReference{{Name: dep}}
		}
	}
	l.create("second", needs("./b", "first"))
	_, message := l.failed("second", "DependencyNotReady")
	if want := "dependency '" + l.namespace + "/first' not found: "; !strings.HasPrefix(message, want) {
		t.Errorf("message = %q, want %q…", message, want)
	}
	e := l.event("second", func(e posted) bool { return e.Reason == "DependencyNotReady" })
	if e.Message != "Dependencies do not meet ready condition, retrying in 30s" || e.Severity != "info" {
		t.Errorf("event = %+v", e)
	}
	begun := time.Now()
	l.create("first", func(s *kustomizev1.KustomizationSpec) { s.Path = "./a" })
	first, second := l.ready("first", "r1"), l.ready("second", "r1")
	if time.Since(begun) > 25*time.Second {
		t.Error("the dependent waited for its timer")
	}
	if second.Status.History[0].LastReconciled.Time.Before(&first.Status.History[0].FirstReconciled.Time) {
		t.Error("the dependent was applied before its dependency")
	}
	l.source("repo", "r2", map[string]string{"a/a.yaml": configMap("a", "2"), "b/b.yaml": configMap("b", "2")})
	l.ready("second", "r2")
	if k := l.get("first"); k.Status.LastAppliedRevision != "r2" {
		t.Error("the dependent was applied at a newer revision than its dependency")
	}
}

func TestDependencyCycleStalls(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	l.source("repo", "r1", map[string]string{"a.yaml": configMap("a", "1")})
	needs := func(dep string) func(*kustomizev1.KustomizationSpec) {
		return func(s *kustomizev1.KustomizationSpec) { s.DependsOn = []meta.DependencyReference{{Name: dep}} }
	}
	l.create("one", needs("two"))
	l.create("two", needs("one"))
	k := l.until("one", "stalled", func(k *kustomizev1.Kustomization) bool { return condition(k, meta.StalledCondition) != nil })
	message := condition(k, meta.StalledCondition).Message
	if !strings.Contains(message, l.namespace+"/one -> ") || !strings.Contains(message, l.namespace+"/two") {
		t.Errorf("message = %q, want the path of the circle", message)
	}
	l.update("two", func(k *kustomizev1.Kustomization) { k.Spec.DependsOn = nil })
	l.ready("two", "r1")
	l.ready("one", "r1")
}

func TestReadyExpr(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	l.source("repo", "r1", map[string]string{"a/a.yaml": configMap("a", "1"), "b/b.yaml": configMap("b", "1")})
	l.create("first", func(s *kustomizev1.KustomizationSpec) { s.Path = "./absent" })
	l.failed("first", "ArtifactFailed")
	l.create("second", func(s *kustomizev1.KustomizationSpec) {
		s.Path = "./b"
		s.DependsOn = []meta.DependencyReference{{Name: "first", ReadyExpr: "self.spec.prune && dep.spec.path == './a'"}}
	})
	_, message := l.failed("second", "DependencyNotReady")
	if want := "dependency '" + l.namespace + "/first' is not ready according to readyExpr eval"; message != want {
		t.Errorf("message = %q, want %q", message, want)
	}
	l.update("first", func(k *kustomizev1.Kustomization) { k.Spec.Path = "./a" })
	l.ready("second", "r1")
}

func TestCrossNamespaceIsForbidden(t *testing.T) {
	t.Parallel()
	l := newLab(t, func(s *setup) { s.settings.NoCrossNamespaceRefs = true })
	l.create("app", func(s *kustomizev1.KustomizationSpec) { s.SourceRef.Namespace = "elsewhere" })
	k, message := l.failed("app", "AccessDenied")
	if want := "can't access 'GitRepository/elsewhere/repo', cross-namespace references have been blocked; refer to a GitRepository in the namespace '" + l.namespace + "'"; message != want {
		t.Errorf("message = %q, want %q", message, want)
	}
	if condition(k, meta.StalledCondition) == nil || k.Status.ObservedGeneration == k.Generation {
		t.Errorf("want Stalled with observedGeneration left alone: %s", describe(k))
	}
	l.event("app", func(e posted) bool { return e.Severity == "error" && e.Reason == "AccessDenied" })
}

func TestSuspend(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	l.source("repo", "r1", map[string]string{"a.yaml": configMap("a", "1")})
	l.create("app", func(s *kustomizev1.KustomizationSpec) { s.Suspend = true })
	at := l.request("app")
	k := l.until("app", "answered", func(k *kustomizev1.Kustomization) bool { return k.Status.LastHandledReconcileAt == at })
	if l.exists("a") || condition(k, meta.ReadyCondition) != nil {
		t.Errorf("a suspended Kustomization was reconciled: %s", describe(k))
	}
	l.update("app", func(k *kustomizev1.Kustomization) { k.Spec.Suspend = false })
	l.ready("app", "r1")
}
