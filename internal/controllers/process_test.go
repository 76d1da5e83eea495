package controllers_test

import (
	"bufio"
	"net"
	"net/http"
	"os"
	"regexp"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"sigs.k8s.io/controller-runtime/pkg/client"

	kustomizev1 "github.com/gitops-toolkit/flux/api/kustomize/v1"
	sourcev1 "github.com/gitops-toolkit/flux/api/source/v1"
	"github.com/gitops-toolkit/flux/internal/controllers"
	"github.com/gitops-toolkit/flux/test/harness"
)

// TestProcesses runs the program as the cluster would, one way after the other.
func TestProcesses(t *testing.T) {
	k := newCluster(t)
	t.Run("each with its least rights", k.leastRights)
	t.Run("all in one process", k.allInOne)
	t.Run("without kinds", k.withoutKinds)
}

const deployment = `apiVersion: apps/v1
kind: Deployment
metadata:
  name: web
spec:
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec: {containers: [{name: web, image: registry.example/web:1}]}
`

// leastRights runs source and Kustomization with exactly the rights that the description of
// their controllers names, through the main job: apply, wait for health, change, prune, delete.
func (k *cluster) leastRights(t *testing.T) {
	const ns = "tenant"
	for _, name := range []string{"source-controller", "kustomize-controller"} {
		k.grant(t, name)
	}
	source := k.start(t, "source-controller", "--enable-leader-election")
	kustomize := k.start(t, "kustomize-controller", "--enable-leader-election", "--default-service-account=reconciler")
	first := k.commit(t, map[string]string{"least/web.yaml": deployment, "least/a.yaml": configMap("a", "${WHO}"), "least/b.yaml": configMap("b", "1")})
	k.fleet(t, ns, "least")
	k.tenant(t, ns)
	k.applied(t, ns, first)
	second, err := k.repo.Commit(map[string]string{"least/a.yaml": configMap("a", "2"), "least/b.yaml": "# nothing"}, "change")
	must(t, err)
	k.sync(t, ns)
	k.applied(t, ns, "main@sha1:"+second)
	apps := &kustomizev1.Kustomization{ObjectMeta: metav1.ObjectMeta{Namespace: ns, Name: "apps"}}
	must(t, k.c.Delete(k.ctx, apps))
	k.gone(t, apps)
	must(t, k.c.Delete(k.ctx, &sourcev1.GitRepository{ObjectMeta: metav1.ObjectMeta{Namespace: ns, Name: "fleet"}}))
	k.gone(t, &sourcev1.GitRepository{ObjectMeta: metav1.ObjectMeta{Namespace: ns, Name: "fleet"}})
	for _, p := range []*harness.Process{source, kustomize} {
		p.Stop()
		k.nothingForbidden(t, p)
	}
}

// grant binds the ServiceAccount of a controller to its own rules and to nothing else.
func (k *cluster) grant(t *testing.T, name string) {
	t.Helper()
	c, _ := controllers.Find(name)
	subject := []rbacv1.Subject{{Kind: "ServiceAccount", Name: name, Namespace: harness.Namespace}}
	meta, ref := metav1.ObjectMeta{Name: name, Namespace: harness.Namespace}, rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Name: name}
	binding := &rbacv1.RoleBinding{ObjectMeta: meta, RoleRef: ref, Subjects: subject}
	binding.RoleRef.Kind = "Role"
	// The harness would bind to cluster-admin under this name.
	cluster := &rbacv1.ClusterRoleBinding{ObjectMeta: metav1.ObjectMeta{Name: "harness-" + name}, RoleRef: ref, Subjects: subject}
	cluster.RoleRef.Kind = "ClusterRole"
	for _, obj := range []client.Object{
		&rbacv1.ClusterRole{ObjectMeta: metav1.ObjectMeta{Name: name}, Rules: c.Rules()}, cluster,
		&rbacv1.Role{ObjectMeta: meta, Rules: c.NamespaceRules()}, binding,
	} {
		must(t, k.c.Create(k.ctx, obj))
	}
}

// tenant lets a ServiceAccount of the namespace apply into it, and gives the Kustomization a
// variable from a Secret and something to wait for.
func (k *cluster) tenant(t *testing.T, ns string) {
	t.Helper()
	meta := metav1.ObjectMeta{Name: "reconciler", Namespace: ns}
	for _, obj := range []client.Object{
		&corev1.ServiceAccount{ObjectMeta: meta},
		&rbacv1.RoleBinding{ObjectMeta: meta, RoleRef: rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: "admin"},
			Subjects: []rbacv1.Subject{{Kind: "ServiceAccount", Name: "reconciler", Namespace: ns}}},
		&corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: "variables", Namespace: ns}, StringData: map[string]string{"WHO": "tenant"}},
	} {
		must(t, k.c.Create(k.ctx, obj))
	}
	apps := &kustomizev1.Kustomization{ObjectMeta: metav1.ObjectMeta{Namespace: ns, Name: "apps"}}
	patch := `{"spec":{"wait":true,"retryInterval":"1s","timeout":"1m","postBuild":{"substituteFrom":[{"kind":"Secret","name":"variables"}]}}}`
	must(t, k.c.Patch(k.ctx, apps, client.RawPatch("application/merge-patch+json", []byte(patch))))
}

// gone waits until an object is deleted.
func (k *cluster) gone(t *testing.T, obj client.Object) {
	t.Helper()
	eventually(t, obj.GetName()+" is not deleted", func() bool {
		return apierrors.IsNotFound(k.c.Get(k.ctx, client.ObjectKeyFromObject(obj), obj))
	})
}

// look is a list or watch of what people describe, here Deployments. The controller tries it
// itself, for metadata only; where it may not, it looks now and then as the tenant.
var look = regexp.MustCompile(`"requestURI":"/apis/apps/[^"]*","verb":"(list|watch)"`)

// nothingForbidden looks for refusals in the API server's audit log and in the process's own.
func (k *cluster) nothingForbidden(t *testing.T, p *harness.Process) {
	t.Helper()
	f, err := os.Open(k.auditLog)
	must(t, err)
	defer f.Close()
	lines := bufio.NewReader(f)
	for line, err := lines.ReadString('\n'); err == nil; line, err = lines.ReadString('\n') {
		refused := strings.Contains(line, `"username":"`+p.User+`"`) && strings.Contains(line, `"code":403`)
		if refused && !look.MatchString(line) {
			t.Errorf("%s was refused: %.600s", p.Name, line)
		}
	}
	if text := p.Tail(10_000); strings.Contains(strings.ToLower(text), "forbidden") {
		t.Errorf("%s logs that something is forbidden:\n%s", p.Name, text)
	}
}

// allInOne runs every controller in one process on one address, with all leases.
func (k *cluster) allInOne(t *testing.T) {
	const ns = "single"
	revision := k.commit(t, map[string]string{"single/a.yaml": configMap("a", "1")})
	k.fleet(t, ns, "single")
	addr := freeAddr(t)
	p := k.start(t, "flux-controller", "--enable-leader-election", "--storage-addr="+addr, "--storage-adv-addr="+addr,
		"--events-addr=http://"+addr+"/", "--notification.events-addr="+freeAddr(t), "--receiverAddr="+freeAddr(t), "--source.storage-path="+k.dir+"/single/source", "--source-watcher.storage-path="+k.dir+"/single/watcher",
		"--image-reflector.storage-path="+k.dir+"/single/tags")
	k.applied(t, ns, revision)
	leases := k.leases(t)
	for _, c := range controllers.All {
		if leases[c.Name+"-leader-election"] == "" {
			t.Errorf("nobody holds the lease of %s: %v", c.Name, leases)
		}
	}
	source := &sourcev1.GitRepository{}
	must(t, k.c.Get(k.ctx, client.ObjectKey{Namespace: ns, Name: "fleet"}, source))
	for url, want := range map[string]int{source.Status.Artifact.URL: 200, "http://" + addr + "/": 200, "http://" + addr + "/externalartifact/x/y/z": 404} {
		if got := status(t, url); got != want {
			t.Errorf("GET %s: %d, want %d", url, got, want)
		}
	}
	next := k.commit(t, map[string]string{"single/a.yaml": configMap("a", "2")})
	k.sync(t, ns)
	k.applied(t, ns, next)
	p.Stop()
	for name, holder := range k.leases(t) {
		if holder != "" {
			t.Errorf("%s still holds %s", holder, name)
		}
	}
}

// withoutKinds starts every controller that serves nothing in this version.
func (k *cluster) withoutKinds(t *testing.T) {
	for _, c := range controllers.All {
		if !c.Idle("concurrent") {
			continue
		}
		t.Run(c.Name, func(t *testing.T) {
			p := k.start(t, c.Name, "--enable-leader-election")
			eventually(t, "no lease", func() bool { return k.leases(t)[c.Name+"-leader-election"] != "" })
			eventually(t, "no word", func() bool { return strings.Contains(p.Tail(20), "serves no kinds yet") })
			if got := status(t, p.HealthURL+"/healthz"); got != http.StatusOK {
				t.Errorf("healthz: %d", got)
			}
			if p.StorageURL != "" {
				eventually(t, "no artifact server", func() bool {
					resp, err := http.Get(p.StorageURL + "/")
					return err == nil && resp.Body.Close() == nil && resp.StatusCode == http.StatusOK
				})
			}
		})
	}
}

// leases returns who holds each lease.
func (k *cluster) leases(t *testing.T) map[string]string {
	t.Helper()
	list, err := kubernetes.NewForConfigOrDie(k.stack.Config).CoordinationV1().Leases(harness.Namespace).List(k.ctx, metav1.ListOptions{})
	must(t, err)
	out := map[string]string{}
	for _, l := range list.Items {
		if l.Spec.HolderIdentity != nil {
			out[l.Name] = *l.Spec.HolderIdentity
		}
	}
	return out
}

func status(t *testing.T, url string) int {
	t.Helper()
	resp, err := http.Get(url)
	must(t, err)
	resp.Body.Close()
	return resp.StatusCode
}

func freeAddr(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	defer l.Close()
	return l.Addr().String()
}
