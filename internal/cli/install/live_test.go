package install_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/gitops-toolkit/flux/internal/cli"
	"github.com/gitops-toolkit/flux/internal/install"
	"github.com/gitops-toolkit/flux/internal/version"
	"github.com/gitops-toolkit/flux/test/harness"
	"github.com/gitops-toolkit/flux/test/servers/git"
)

const namespace = "flux-system"

// lab is a sandbox of its own, whose node runs the controllers as processes: what is installed
// here serves the whole cluster and would meddle with the objects of other tests.
type lab struct {
	*testing.T
	kubeconfig string
	client     kubernetes.Interface
	dynamic    dynamic.Interface
	audit      *harness.Audit
	repo       *git.Repo
	url        string
	// sandbox runs a command of flux-sandbox.
	sandbox func(args ...string) []byte
}

func newLab(t *testing.T) *lab {
	t.Helper()
	if os.Getenv("FLUX_TEST_BIN") == "" {
		t.Skip("no programs: run `make test`, or `make build` and set FLUX_TEST_BIN to bin")
	}
	sandbox, err := harness.Binary("flux-sandbox")
	if err != nil {
		t.Fatal(err)
	}
	home := t.TempDir()
	run := func(args ...string) []byte {
		t.Helper()
		cmd := exec.Command(sandbox, append(args, "--name", "install")...)
		cmd.Env = append(os.Environ(), "FLUX_SANDBOX_HOME="+home)
		var stderr bytes.Buffer
		cmd.Stderr = &stderr
		out, err := cmd.Output()
		if err != nil {
			t.Fatalf("flux-sandbox %v: %v\n%s", args, err, &stderr)
		}
		return out
	}
	t.Cleanup(func() { run("down") })
	run("up")
	var status struct{ Kubeconfig, AuditLog string }
	if err := json.Unmarshal(run("status", "-o", "json"), &status); err != nil {
		t.Fatal(err)
	}
	l := &lab{T: t, kubeconfig: status.Kubeconfig, sandbox: run}
	config, err := clientcmd.BuildConfigFromFlags("", status.Kubeconfig)
	if err != nil {
		t.Fatal(err)
	}
	config.QPS = -1
	if l.client, err = kubernetes.NewForConfig(config); err != nil {
		t.Fatal(err)
	}
	if l.dynamic, err = dynamic.NewForConfig(config); err != nil {
		t.Fatal(err)
	}
	if l.audit, err = harness.NewAudit(status.AuditLog); err != nil {
		t.Fatal(err)
	}
	l.serveGit()
	return l
}

func (l *lab) serveGit() {
	l.Helper()
	server, err := git.Start(git.Options{Root: filepath.Join(l.TempDir(), "git"), HTTP: git.AnyPort, AnonymousRead: true})
	if err != nil {
		l.Fatal(err)
	}
	l.Cleanup(func() { server.Close() })
	if l.repo, err = server.Create("app", "main"); err != nil {
		l.Fatal(err)
	}
	l.url = server.HTTPURL("app")
}

// flux runs the command line and returns what it prints for people.
func (l *lab) flux(args ...string) (stdout, stderr string) {
	l.Helper()
	var out, progress bytes.Buffer
	args = append(args, "--kubeconfig", l.kubeconfig, "--timeout", "3m")
	if code := cli.Main(l.Context(), args, strings.NewReader(""), &out, &progress); code != 0 {
		l.Fatalf("flux %v: exit %d\n%s", args, code, &progress)
	}
	return out.String(), progress.String()
}

// web is of a kind that no controller may list under the least rights.
const web = `{apiVersion: apps/v1, kind: Deployment, metadata: {name: web}, spec: {
  selector: {matchLabels: {app: web}},
  template: {metadata: {labels: {app: web}}, spec: {containers: [{name: web, image: registry.example.com/web}]}}}}
`

// commit changes what the repository holds.
func (l *lab) commit(value string) {
	l.Helper()
	files := map[string]string{
		"deploy/hello.yaml": fmt.Sprintf("{apiVersion: v1, kind: ConfigMap, metadata: {name: hello}, data: {value: %q}}\n", value),
		"deploy/web.yaml":   web,
	}
	if _, err := l.repo.Commit(files, "say "+value); err != nil {
		l.Fatal(err)
	}
}

// applied tells what the cluster holds of it.
func (l *lab) applied() string {
	l.Helper()
	cm, err := l.client.CoreV1().ConfigMaps("demo").Get(l.Context(), "hello", metav1.GetOptions{})
	if err != nil {
		l.Fatal(err)
	}
	return cm.Data["value"]
}

// deployments are those of the installation.
func (l *lab) deployments() []appsv1.Deployment {
	l.Helper()
	list, err := l.client.AppsV1().Deployments(namespace).List(l.Context(), metav1.ListOptions{LabelSelector: "app.kubernetes.io/part-of=flux"})
	if err != nil {
		l.Fatal(err)
	}
	return list.Items
}

// inspect looks for refusals: in what the controllers log and in what the API server recorded.
func (l *lab) inspect(accounts []string, minimal bool) {
	l.Helper()
	var users []string
	for _, a := range accounts {
		users = append(users, "system:serviceaccount:"+namespace+":"+a)
	}
	requests, err := l.audit.Since(users...)
	if err != nil {
		l.Fatal(err)
	}
	active := map[string]bool{}
	for _, r := range requests {
		active[r.User] = true
		// The tracker of drift asks whether it may watch what tenants have applied; where it may
		// not, it looks at the interval instead.
		if r.Code == 403 && !(minimal && r.Namespace == "" && (r.Verb == "list" || r.Verb == "watch") && (r.Resource == "configmaps" || r.Resource == "deployments")) {
			l.Errorf("forbidden: %s %s %s/%s", r.User, r, r.Namespace, r.Name)
		}
	}
	for _, user := range users {
		// Controllers whose kinds are not served yet ask for nothing but their lease.
		if strings.Contains(user, "source-controller") || strings.Contains(user, "kustomize") || strings.HasSuffix(user, "flux-controller") {
			if !active[user] {
				l.Errorf("%s has made no request: whose account does it use?", user)
			}
		}
	}
	pods, err := l.client.CoreV1().Pods(namespace).List(l.Context(), metav1.ListOptions{})
	if err != nil {
		l.Fatal(err)
	}
	for _, pod := range pods.Items {
		text, err := l.client.CoreV1().Pods(namespace).GetLogs(pod.Name, &corev1.PodLogOptions{}).DoRaw(l.Context())
		if err != nil {
			l.Errorf("logs of %s: %v", pod.Name, err)
		}
		for line := range strings.Lines(string(text)) {
			if strings.Contains(strings.ToLower(line), "forbidden") || strings.Contains(line, `"level":"error"`) {
				l.Errorf("%s logs %s", pod.Name, line)
			}
		}
	}
}

// leases waits until every component's lease is held.
func (l *lab) leases(components []string) {
	l.Helper()
	for _, name := range components {
		err := wait.PollUntilContextTimeout(l.Context(), 100*time.Millisecond, 2*time.Minute, true, func(ctx context.Context) (bool, error) {
			lease, err := l.client.CoordinationV1().Leases(namespace).Get(ctx, name+"-leader-election", metav1.GetOptions{})
			if apierrors.IsNotFound(err) {
				return false, nil
			}
			return err == nil && lease.Spec.HolderIdentity != nil && *lease.Spec.HolderIdentity != "", err
		})
		if err != nil {
			l.Errorf("the lease of %s is not held: %v", name, err)
		}
	}
}

// intrude has somebody who may write Kustomizations in a namespace of a tenant, but was given no
// account there, apply to another namespace. It must fail as an account that has no rights.
func (l *lab) intrude() {
	l.Helper()
	kustomizations := l.dynamic.Resource(schema.GroupVersionResource{Group: "kustomize.toolkit.fluxcd.io", Version: "v1", Resource: "kustomizations"}).Namespace("demo")
	intruder := &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "kustomize.toolkit.fluxcd.io/v1", "kind": "Kustomization", "metadata": map[string]any{"name": "intruder"},
		"spec": map[string]any{
			"interval": "1h", "path": "./deploy", "prune": true, "targetNamespace": "default",
			"sourceRef": map[string]any{"kind": "GitRepository", "name": "app", "namespace": namespace},
		},
	}}
	if _, err := kustomizations.Create(l.Context(), intruder, metav1.CreateOptions{}); err != nil {
		l.Fatal(err)
	}
	message := ""
	err := wait.PollUntilContextTimeout(l.Context(), 100*time.Millisecond, time.Minute, true, func(ctx context.Context) (bool, error) {
		live, err := kustomizations.Get(ctx, "intruder", metav1.GetOptions{})
		if err != nil {
			return false, err
		}
		conditions, _, _ := unstructured.NestedSlice(live.Object, "status", "conditions")
		for _, c := range conditions {
			if c := c.(map[string]any); c["type"] == "Ready" && c["status"] != "Unknown" {
				message = fmt.Sprint(c["status"], ": ", c["message"])
				return true, nil
			}
		}
		return false, nil
	})
	if err != nil || !strings.HasPrefix(message, "False: ") || !strings.Contains(message, "system:serviceaccount:demo:flux-reconciler") {
		l.Errorf("a tenant without an account: %q, %v", message, err)
	}
	if _, err := l.client.CoreV1().ConfigMaps("default").Get(l.Context(), "hello", metav1.GetOptions{}); !apierrors.IsNotFound(err) {
		l.Errorf("a tenant without an account has applied to another namespace: %v", err)
	}
	if err := kustomizations.Delete(l.Context(), "intruder", metav1.DeleteOptions{}); err != nil {
		l.Fatal(err)
	}
	err = wait.PollUntilContextTimeout(l.Context(), 100*time.Millisecond, time.Minute, true, func(ctx context.Context) (bool, error) {
		_, err := kustomizations.Get(ctx, "intruder", metav1.GetOptions{})
		return apierrors.IsNotFound(err), nil
	})
	if err != nil {
		l.Errorf("the tenant's Kustomization does not go away: %v", err)
	}
}

// restricted creates, as dry-runs, the pods in a namespace that enforces the strictest standard.
func (l *lab) restricted() {
	l.Helper()
	ns := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{GenerateName: "strict-", Labels: map[string]string{"pod-security.kubernetes.io/enforce": "restricted"}}}
	ns, err := l.client.CoreV1().Namespaces().Create(l.Context(), ns, metav1.CreateOptions{})
	if err != nil {
		l.Fatal(err)
	}
	for _, d := range l.deployments() {
		account := &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Name: d.Spec.Template.Spec.ServiceAccountName}}
		if _, err := l.client.CoreV1().ServiceAccounts(ns.Name).Create(l.Context(), account, metav1.CreateOptions{}); err != nil {
			l.Fatal(err)
		}
		pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: d.Name}, Spec: d.Spec.Template.Spec}
		if _, err := l.client.CoreV1().Pods(ns.Name).Create(l.Context(), pod, metav1.CreateOptions{DryRun: []string{metav1.DryRunAll}}); err != nil {
			l.Errorf("pod security restricted: %v", err)
		}
	}
	pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: "careless"}, Spec: corev1.PodSpec{Containers: []corev1.Container{{Name: "c", Image: "c"}}}}
	if _, err := l.client.CoreV1().Pods(ns.Name).Create(l.Context(), pod, metav1.CreateOptions{DryRun: []string{metav1.DryRunAll}}); !apierrors.IsForbidden(err) {
		l.Errorf("the namespace enforces nothing: %v", err)
	}
}

// useVersionOfBinaries makes this process install what the node maps to the built flux-controller:
// images of that program's own version.
func useVersionOfBinaries(t *testing.T) {
	t.Helper()
	dir := os.Getenv("FLUX_TEST_BIN")
	if dir == "" {
		return
	}
	out, err := exec.Command(filepath.Join(dir, "flux-controller"), "--version").Output()
	if err != nil {
		t.Fatalf("ask flux-controller for its version: %v", err)
	}
	before := version.Version
	version.Version = strings.TrimSpace(string(out))
	t.Cleanup(func() { version.Version = before })
}

// TestInstallOnAProcessNode installs in every topology with all rights and with the least, has a
// Git repository applied each time, and takes everything away again. Each choice replaces the
// one before in place.
func TestInstallOnAProcessNode(t *testing.T) {
	useVersionOfBinaries(t)
	l := newLab(t)
	all := slices.Concat(install.DefaultComponents, install.ExtraComponents)
	extra := "--components-extra=" + strings.Join(install.ExtraComponents, ",")
	if _, err := l.client.CoreV1().Namespaces().Create(l.Context(), &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "demo"}}, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	denied := false // under the choice before, whose controllers ask until they are replaced
	for i, choice := range [][]string{
		{"--topology=multi", "--rbac=full"},
		{"--topology=multi", "--rbac=minimal"},
		{"--topology=single", "--rbac=minimal"},
		{"--topology=single", "--rbac=full"},
		{"--topology=multi", "--rbac=minimal", "--watch-all-namespaces=false"},
	} {
		value := strings.Join(choice, " ")
		_, said := l.flux(append([]string{"install", extra}, choice...)...)
		if !strings.HasSuffix(said, "✔ install finished\n") {
			t.Errorf("%s: install says\n%s", value, said)
		}
		accounts := all
		if choice[0] == "--topology=single" {
			accounts = []string{"flux-controller"}
		}
		if got := len(l.deployments()); got != len(accounts) {
			t.Errorf("%s: %d Deployments, want %d", value, got, len(accounts))
		}
		l.leases(all)
		l.commit(value)
		if i == 0 {
			l.flux("create", "source", "git", "app", "--url="+l.url, "--branch=main")
			l.flux("create", "kustomization", "app", "--source=GitRepository/app", "--path=./deploy", "--prune", "--target-namespace=demo")
		} else {
			l.flux("reconcile", "kustomization", "app", "--with-source")
		}
		if got := l.applied(); got != value {
			t.Errorf("%s: the cluster still holds what %q had applied", value, got)
		}
		minimal := slices.Contains(choice, "--rbac=minimal")
		l.inspect(accounts, minimal || denied)
		denied = minimal
		l.restricted()
		if slices.Equal(choice, []string{"--topology=multi", "--rbac=minimal"}) {
			l.intrude()
		}
		_, said = l.flux(append([]string{"install", extra}, choice...)...)
		if strings.Contains(said, " created\n") || strings.Contains(said, " configured\n") || strings.Contains(said, " deleted\n") {
			t.Errorf("%s: a second installation changes something:\n%s", value, said)
		}
		if out, _ := l.flux("logs", "-A", "--kind=Kustomization", "--name=app"); !strings.Contains(out, "Kustomization/app.flux-system") {
			t.Errorf("%s: flux logs prints\n%s", value, out)
		}
		if _, said := l.flux("check"); !strings.HasSuffix(said, "✔ all checks passed\n") || strings.Contains(said, "⚠️") {
			t.Errorf("%s: flux check says\n%s", value, said)
		}
		if i == 1 {
			l.doctor()
		}
	}
	l.uninstall()
}

// uninstall takes everything away but what had been applied.
func (l *lab) uninstall() {
	l.Helper()
	before := l.applied()
	l.flux("uninstall", "--silent", "--keep-namespace")
	quotas, err := l.client.CoreV1().ResourceQuotas(namespace).List(l.Context(), metav1.ListOptions{})
	if err != nil || len(quotas.Items) > 0 || len(l.deployments()) > 0 {
		l.Errorf("in the namespace that is kept are left %d quotas and %d Deployments, %v", len(quotas.Items), len(l.deployments()), err)
	}
	l.flux("uninstall", "--silent")
	err = wait.PollUntilContextTimeout(l.Context(), 100*time.Millisecond, 2*time.Minute, true, func(ctx context.Context) (bool, error) {
		_, err := l.client.CoreV1().Namespaces().Get(ctx, namespace, metav1.GetOptions{})
		return apierrors.IsNotFound(err), nil
	})
	if err != nil {
		l.Errorf("the namespace is still there: %v", err)
	}
	if got := l.applied(); got != before {
		l.Errorf("uninstall touched what was applied: %q", got)
	}
	roles, err := l.client.RbacV1().ClusterRoles().List(l.Context(), metav1.ListOptions{LabelSelector: "app.kubernetes.io/part-of=flux"})
	if err != nil || len(roles.Items) > 0 {
		l.Errorf("%d roles are left, %v", len(roles.Items), err)
	}
}
