package controllers_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/gitops-toolkit/flux/api"
	kustomizev1 "github.com/gitops-toolkit/flux/api/kustomize/v1"
	"github.com/gitops-toolkit/flux/api/meta"
	sourcev1 "github.com/gitops-toolkit/flux/api/source/v1"
	"github.com/gitops-toolkit/flux/internal/testenv"
	"github.com/gitops-toolkit/flux/manifests"
	"github.com/gitops-toolkit/flux/test/harness"
	"github.com/gitops-toolkit/flux/test/servers/git"
)

// patience bounds every wait; reaching it is a failure, never a measurement.
const patience = 90 * time.Second

// cluster is a sandbox of the test's own, because its controllers serve all namespaces, with a
// Git server and a repository beside it.
type cluster struct {
	ctx   context.Context
	c     client.WithWatch
	stack *harness.Stack
	git   *git.Server
	repo  *git.Repo
	// dir holds everything; auditLog is the file in which the API server notes each request.
	dir, auditLog string
}

// newCluster starts one; without the shared sandbox of a test run the test is skipped.
func newCluster(t *testing.T) *cluster {
	t.Helper()
	testenv.Kubeconfig(t)
	ctx, cancel := context.WithTimeout(context.Background(), 8*time.Minute)
	t.Cleanup(cancel)
	dir, remove, err := harness.TempDir()
	must(t, err)
	t.Cleanup(remove)
	k := &cluster{ctx: ctx, dir: dir}
	kubeconfig := ""
	kubeconfig, k.auditLog = k.sandbox(t)
	k.stack, err = harness.New(ctx, kubeconfig, dir)
	must(t, err)
	scheme := runtime.NewScheme()
	must(t, errors.Join(corev1.AddToScheme(scheme), rbacv1.AddToScheme(scheme), api.AddToScheme(scheme)))
	k.c, err = client.NewWithWatch(k.stack.Config, client.Options{Scheme: scheme})
	must(t, err)
	crds, err := manifests.CRDs()
	must(t, err)
	for _, crd := range crds {
		must(t, k.c.Create(ctx, crd))
	}
	k.git, err = git.Start(git.Options{Root: dir + "/git", HTTP: git.AnyPort, AnonymousRead: true})
	must(t, err)
	t.Cleanup(func() { k.git.Close() })
	k.repo, err = k.git.Create("fleet", "main")
	must(t, err)
	return k
}

// sandbox brings the control plane up and returns its kubeconfig and audit log.
func (k *cluster) sandbox(t *testing.T) (kubeconfig, audit string) {
	t.Helper()
	binary, err := harness.Binary("flux-sandbox")
	must(t, err)
	run := func(args ...string) []byte {
		t.Helper()
		cmd := exec.Command(binary, append(args, "--name", filepath.Base(k.dir))...)
		cmd.Env = append(os.Environ(), "FLUX_SANDBOX_HOME="+k.dir+"/sandbox")
		out, err := cmd.Output()
		if err != nil {
			t.Fatalf("flux-sandbox %v: %v", args, err)
		}
		return out
	}
	t.Cleanup(func() { run("down") })
	run("up")
	var status struct{ Kubeconfig, AuditLog string }
	must(t, json.Unmarshal(run("status", "-o", "json"), &status))
	return status.Kubeconfig, status.AuditLog
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// start runs a controller as a process under its own ServiceAccount until the test ends.
func (k *cluster) start(t *testing.T, name string, flags ...string) *harness.Process {
	t.Helper()
	ctx, cancel := context.WithTimeout(k.ctx, patience)
	defer cancel()
	p, err := k.stack.Add(ctx, name, flags...)
	must(t, err)
	t.Cleanup(func() {
		p.Stop()
		if t.Failed() {
			t.Logf("%s:\n%s", name, p.Tail(30))
		}
	})
	return p
}

// fleet creates a source, and a Kustomization that applies a directory of it, in a namespace.
func (k *cluster) fleet(t *testing.T, namespace, path string) {
	t.Helper()
	must(t, k.c.Create(k.ctx, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: namespace}}))
	source := &sourcev1.GitRepository{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "fleet"}}
	source.Spec.URL, source.Spec.Interval = k.git.HTTPURL("fleet"), meta.NewDuration(time.Hour)
	source.Spec.Reference = &sourcev1.GitRepositoryRef{Branch: "main"}
	must(t, k.c.Create(k.ctx, source))
	apps := &kustomizev1.Kustomization{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "apps"}}
	apps.Spec.Interval, apps.Spec.Path, apps.Spec.Prune = meta.NewDuration(time.Hour), path, true
	apps.Spec.TargetNamespace = namespace
	apps.Spec.SourceRef = kustomizev1.CrossNamespaceSourceReference{Kind: sourcev1.GitRepositoryKind, Name: "fleet"}
	must(t, k.c.Create(k.ctx, apps))
}

// commit changes the repository and returns the revision.
func (k *cluster) commit(t *testing.T, files map[string]string) string {
	t.Helper()
	hash, err := k.repo.Commit(files, "change")
	must(t, err)
	return "main@sha1:" + hash
}

func configMap(name, value string) string {
	return fmt.Sprintf("apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: %s\ndata:\n  key: %q\n", name, value)
}

// sync asks for a look at the source.
func (k *cluster) sync(t *testing.T, namespace string) {
	t.Helper()
	source := &sourcev1.GitRepository{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "fleet"}}
	patch := fmt.Sprintf(`{"metadata":{"annotations":{%q:%q}}}`, meta.ReconcileRequestAnnotation, time.Now().Format(time.RFC3339Nano))
	must(t, k.c.Patch(k.ctx, source, client.RawPatch("application/merge-patch+json", []byte(patch))))
}

// applied waits until the Kustomization of a namespace is Ready at a revision.
func (k *cluster) applied(t *testing.T, namespace, revision string) {
	t.Helper()
	k.until(t, namespace, "Ready at "+revision, func(o *kustomizev1.Kustomization) bool {
		ready := o.Status.Conditions.Get(meta.ReadyCondition)
		return o.Status.LastAppliedRevision == revision && ready != nil && ready.Status == metav1.ConditionTrue
	})
}

func (k *cluster) until(t *testing.T, namespace, what string, wanted func(*kustomizev1.Kustomization) bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(k.ctx, patience)
	defer cancel()
	w, err := k.c.Watch(ctx, &kustomizev1.KustomizationList{}, client.InNamespace(namespace))
	must(t, err)
	defer w.Stop()
	var last any
	for ev := range w.ResultChan() {
		if o, ok := ev.Object.(*kustomizev1.Kustomization); ok && wanted(o) {
			return
		}
		last = ev.Object
	}
	t.Fatalf("the Kustomization in %s was never %s; it is %+v", namespace, what, last)
}

// eventually asks again until the answer is yes.
func eventually(t *testing.T, not string, ask func() bool) {
	t.Helper()
	for deadline := time.Now().Add(patience); !ask(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal(not)
		}
	}
}
