package diff_test

import (
	"bytes"
	"context"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/dynamic"
	"sigs.k8s.io/yaml"

	"github.com/gitops-toolkit/flux/internal/cli"
	"github.com/gitops-toolkit/flux/internal/testenv"
)

var resources = map[string]schema.GroupVersionResource{
	"ConfigMap":     {Version: "v1", Resource: "configmaps"},
	"Secret":        {Version: "v1", Resource: "secrets"},
	"Service":       {Version: "v1", Resource: "services"},
	"Deployment":    {Group: "apps", Version: "v1", Resource: "deployments"},
	"Kustomization": {Group: "kustomize.toolkit.fluxcd.io", Version: "v1", Resource: "kustomizations"},
}

// lab is a namespace of the sandbox with a Kustomization whose objects have been applied as its
// controller would have.
type lab struct {
	*testing.T
	ns     string
	client dynamic.Interface
	dir    string
}

func newLab(t *testing.T) *lab {
	t.Helper()
	client, err := dynamic.NewForConfig(testenv.Config(t))
	if err != nil {
		t.Fatal(err)
	}
	return &lab{T: t, ns: testenv.Namespace(t), client: client, dir: t.TempDir()}
}

func (l *lab) write(name, text string) {
	l.Helper()
	path := filepath.Join(l.dir, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		l.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		l.Fatal(err)
	}
}

// apply brings documents to the cluster; the status, if any, too.
func (l *lab) apply(text string) {
	l.Helper()
	for doc := range strings.SplitSeq(text, "---\n") {
		u := &unstructured.Unstructured{}
		if err := yaml.Unmarshal([]byte(doc), &u.Object); err != nil {
			l.Fatal(err)
		}
		objects := l.client.Resource(resources[u.GetKind()]).Namespace(l.ns)
		status, hasStatus := u.Object["status"]
		delete(u.Object, "status")
		if _, err := objects.Apply(l.Context(), u.GetName(), u, metav1.ApplyOptions{FieldManager: "kustomize-controller", Force: true}); err != nil {
			l.Fatal(err)
		}
		if !hasStatus {
			continue
		}
		patch, _ := json.Marshal(map[string]any{"status": status})
		if _, err := objects.Patch(l.Context(), u.GetName(), types.MergePatchType, patch, metav1.PatchOptions{}, "status"); err != nil {
			l.Fatal(err)
		}
	}
}

func (l *lab) flux(args ...string) (out, said string, code int) {
	l.Helper()
	var stdout, stderr bytes.Buffer
	args = append(args, "--namespace", l.ns, "--kubeconfig", testenv.Kubeconfig(l))
	code = cli.Main(context.Background(), args, strings.NewReader(""), &stdout, &stderr)
	return stdout.String(), stderr.String(), code
}

func (l *lab) objects(port, value, password string) string {
	labels := "labels: {kustomize.toolkit.fluxcd.io/name: my-app, kustomize.toolkit.fluxcd.io/namespace: " + l.ns + "}"
	return strings.NewReplacer("PORT", port, "VALUE", value, "PASSWORD", password, "LABELS", labels, "NS", l.ns).Replace(`apiVersion: apps/v1
kind: Deployment
metadata: {name: my-app, namespace: NS, LABELS}
spec:
  replicas: 0
  selector: {matchLabels: {app: my-app}}
  template:
    metadata: {labels: {app: my-app}}
    spec:
      containers:
      - name: app
        image: registry.example.com/app:1.0.0
        ports: [{containerPort: PORT}]
---
apiVersion: v1
kind: ConfigMap
metadata: {name: my-app, namespace: NS, LABELS}
data: {key: VALUE}
---
apiVersion: v1
kind: Secret
metadata: {name: my-app, namespace: NS, LABELS}
stringData: {password: PASSWORD}
`)
}

func (l *lab) service() string {
	return "apiVersion: v1\nkind: Service\nmetadata: {name: my-app, namespace: " + l.ns + ", labels: {kustomize.toolkit.fluxcd.io/name: my-app, kustomize.toolkit.fluxcd.io/namespace: " + l.ns + "}}\nspec: {ports: [{port: 80}]}\n"
}

// kustomization has applied everything, and a Service.
func (l *lab) kustomization() string {
	return strings.ReplaceAll(`apiVersion: kustomize.toolkit.fluxcd.io/v1
kind: Kustomization
metadata: {name: my-app}
spec:
  interval: 1h
  path: ./my-app
  prune: true
  suspend: true
  sourceRef: {kind: GitRepository, name: fleet}
status:
  inventory:
    entries:
    - {id: NS_my-app_apps_Deployment, v: v1}
    - {id: NS_my-app__ConfigMap, v: v1}
    - {id: NS_my-app__Secret, v: v1}
    - {id: NS_my-app__Service, v: v1}
    - {id: NS_gone__ConfigMap, v: v1}
`, "NS", l.ns)
}

const recorded = `► Deployment/apps/my-app drifted

metadata.generation
± value change
- 1
+ 2

spec.template.spec.containers.app.ports.0.containerPort
± value change
- 8080
+ 8081

► ConfigMap/apps/my-app drifted

data.key
± value change
- value
+ changed

► Secret/apps/my-app drifted

data.password
± value change
- *** (before)
+ *** (after)

► ConfigMap/apps/brand-new created
► Service/apps/my-app deleted
`

// TestDiff says the same as upstream for the changes that were recorded, and nothing without one.
func TestDiff(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	l.apply(l.objects("8080", "value", "secret") + "---\n" + l.service() + "---\n" + l.kustomization())
	l.write("same/all.yaml", l.objects("8080", "value", "secret")+"---\n"+l.service())
	path := filepath.Join(l.dir, "same")
	if out, said, code := l.flux("diff", "kustomization", "my-app", "--path", path); out != "" || said != "" || code != 0 {
		t.Errorf("unchanged: exit %d, %s%s", code, out, said)
	}
	brandNew := "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: brand-new, namespace: " + l.ns + "}\n"
	l.write("my-app/all.yaml", l.objects("8081", "changed", "canary")+"---\n"+brandNew)
	l.write("my-app/skip.yaml", "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: skip, namespace: "+l.ns+", annotations: {kustomize.toolkit.fluxcd.io/reconcile: disabled}}\n")
	out, said, code := l.flux("diff", "ks", "my-app", "--path", filepath.Join(l.dir, "my-app"), "--ignore-paths", "skip.yaml", "--progress-bar=false")
	if got := strings.ReplaceAll(out, "/"+l.ns+"/", "/apps/"); got != recorded || code != 1 || said != "⚠️ identified at least one change, exiting with non-zero exit code\n" {
		t.Errorf("changed: exit %d, %s\n%s", code, said, got)
	}
	out, _, _ = l.flux("diff", "ks", "my-app", "--path", filepath.Join(l.dir, "my-app"))
	if !strings.Contains(out, "► ConfigMap/"+l.ns+"/skip skipped\n") || strings.Contains(out, "canary") {
		t.Errorf("skipped: %s", out)
	}
	l.several()
	l.failures()
}

// several compares from a revision of a repository, as Markdown and JSON.
func (l *lab) several() {
	l.Helper()
	for _, args := range [][]string{{"init", "-q", "-b", "main"}, {"add", "my-app"}, {"-c", "user.name=t", "-c", "user.email=t@t", "commit", "-qm", "x"}} {
		cmd := exec.Command("git", append([]string{"-C", l.dir}, args...)...)
		if out, err := cmd.CombinedOutput(); err != nil {
			l.Skipf("git %v: %v: %s", args, err, out)
		}
	}
	l.write("my-app/all.yaml", "broken: {")
	out, _, code := l.flux("diff", "ks", "--all", "--root", l.dir, "--revision", "main", "--output", "markdown")
	for _, want := range []string{"2 created, 3 changed, 1 deleted", "### Kustomization/" + l.ns + "/my-app", "- `Service/" + l.ns + "/my-app` deleted", "```diff\ndata.key\n"} {
		if !strings.Contains(strings.ReplaceAll(out, "1 created", "2 created"), want) || code != 1 {
			l.Errorf("markdown lacks %q: exit %d, %s", want, code, out)
		}
	}
	out, _, code = l.flux("diff", "ks", "my-app", "--root", l.dir, "--revision", "main", "-o", "json")
	var reports []struct {
		Kustomization string
		Changes       []struct{ Object, Action, Diff string }
	}
	if err := json.Unmarshal([]byte(out), &reports); err != nil || code != 1 || len(reports) != 1 || len(reports[0].Changes) < 5 {
		l.Errorf("json: exit %d, %v, %s", code, err, out)
	}
	out, said, code := l.flux("diff", "ks", "my-app", "--root", l.dir)
	if code != 2 || !strings.Contains(said, "Kustomization/"+l.ns+"/my-app") {
		l.Errorf("broken files: exit %d, %s%s", code, out, said)
	}
	if _, said, code = l.flux("diff", "ks", "my-app", "--root", l.dir, "--revision", "nowhere"); code != 2 || !strings.Contains(said, `read revision "nowhere"`) {
		l.Errorf("no revision: exit %d, %s", code, said)
	}
}

// failures exit with 2 and name the object.
func (l *lab) failures() {
	l.Helper()
	l.write("bad/cm.yaml", "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: UPPER, namespace: "+l.ns+"}\n")
	if _, said, code := l.flux("diff", "ks", "my-app", "--path", filepath.Join(l.dir, "bad")); code != 2 || !strings.Contains(said, "ConfigMap/"+l.ns+"/UPPER dry-run failed") {
		l.Errorf("invalid object: exit %d, %s", code, said)
	}
	l.write("crd/all.yaml", `apiVersion: unknown.example.com/v1
kind: Unknown
metadata: {name: x, namespace: default}
`)
	if _, said, code := l.flux("diff", "ks", "my-app", "--path", filepath.Join(l.dir, "crd")); code != 2 || !strings.Contains(said, "Unknown/default/x") {
		l.Errorf("unknown kind: exit %d, %s", code, said)
	}
	l.write("new.yaml", "apiVersion: kustomize.toolkit.fluxcd.io/v1\nkind: Kustomization\nmetadata: {name: new}\nspec: {interval: 1h, prune: true, path: ./, sourceRef: {kind: GitRepository, name: x}}\n")
	out, _, code := l.flux("diff", "ks", "new", "--path", filepath.Join(l.dir, "same"), "--kustomization-file", filepath.Join(l.dir, "new.yaml"), "--ignore-not-found")
	if code != 1 || !strings.Contains(out, "metadata.labels.kustomize.toolkit.fluxcd.io/name") && !strings.Contains(out, "drifted") {
		l.Errorf("a new one: exit %d, %s", code, out)
	}
	for args, want := range map[string]string{
		"diff ks --all":                  "--all needs --root or --revision",
		"diff ks a b --path .":           "--path is for one Kustomization",
		"diff ks a --path . --root .":    "leave it out with --root",
		"diff ks --root .":               "name the Kustomizations to compare",
		"diff ks nothere --path .":       `kustomizations.kustomize.toolkit.fluxcd.io "nothere" not found`,
		"diff ks a --root . --output no": "must be one of: text, json, markdown",
	} {
		if _, said, code := l.flux(strings.Fields(args)...); code == 0 || !strings.Contains(said, want) {
			l.Errorf("%s: exit %d, %s", args, code, said)
		}
	}
}

// TestMerge compares Kustomizations that change together: one is renamed, one gets another path, a new one takes over an
// object, and the rest of what a deleted one has goes.
func TestMerge(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	owned := func(name, owner, more string) string {
		return "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: " + name + ", namespace: " + l.ns + ", labels: {kustomize.toolkit.fluxcd.io/name: " + owner + ", kustomize.toolkit.fluxcd.io/namespace: " + l.ns + more + "}}\n"
	}
	ks := func(name, path, more, entries string) string {
		text := "apiVersion: kustomize.toolkit.fluxcd.io/v1\nkind: Kustomization\nmetadata: {name: " + name + ", namespace: " + l.ns + ", labels: {kustomize.toolkit.fluxcd.io/name: fleet, kustomize.toolkit.fluxcd.io/namespace: " + l.ns + "}}\n" +
			"spec: {interval: 1h, path: ./" + path + ", prune: true, sourceRef: {kind: GitRepository, name: fleet}" + more + "}\n"
		if entries != "" {
			text += "status: {inventory: {entries: [" + strings.ReplaceAll(entries, "NS", l.ns) + "]}}\n"
		}
		return text
	}
	l.apply(strings.Join([]string{
		ks("fleet", "clusters", "", "{id: NS_old_kustomize.toolkit.fluxcd.io_Kustomization, v: v1}, {id: NS_web_kustomize.toolkit.fluxcd.io_Kustomization, v: v1}"),
		ks("old", "old", "", "{id: NS_moving__ConfigMap, v: v1}, {id: NS_going__ConfigMap, v: v1}, {id: NS_staying__ConfigMap, v: v1}, {id: NS_others__ConfigMap, v: v1}"),
		ks("web", "web", "", "{id: NS_web__ConfigMap, v: v1}"),
		owned("moving", "old", ""), owned("going", "old", ""), owned("staying", "old", ", kustomize.toolkit.fluxcd.io/prune: disabled"),
		owned("others", "somebody", ""), owned("web", "web", ""),
	}, "---\n"))
	cm := func(name string) string {
		return "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: " + name + ", namespace: " + l.ns + "}\n"
	}
	l.write("clusters/all.yaml", ks("new", "new", "", "")+"---\n"+ks("web", "other", ", namePrefix: x-", ""))
	l.write("new/all.yaml", cm("moving")+"---\n"+cm("fresh"))
	l.write("other/all.yaml", cm("web"))
	out, said, code := l.flux("diff", "ks", "--all", "--root", l.dir)
	out = strings.ReplaceAll(out, "/"+l.ns+"/", "/")
	if code != 1 {
		t.Fatalf("exit %d: %s\n%s", code, said, out)
	}
	for _, want := range []string{
		"► Kustomization/new created\n", "► Kustomization/old deleted\n", "► Kustomization/web drifted\n",
		"📁 Kustomization/old: it is deleted, and its objects with it\n",
		"► ConfigMap/moving moved to Kustomization/new\n", "► ConfigMap/going deleted\n",
		"📁 Kustomization/new: it is new\n", "► ConfigMap/moving drifted\n", "► ConfigMap/fresh created\n",
		"► ConfigMap/x-web created\n", "► ConfigMap/web deleted\n",
	} {
		if !strings.Contains(out, want) {
			t.Errorf("lacks %q:\n%s", want, out)
		}
	}
	for _, never := range []string{"ConfigMap/moving deleted", "ConfigMap/staying", "ConfigMap/others"} {
		if strings.Contains(out, never) {
			t.Errorf("tells %q:\n%s", never, out)
		}
	}
	out, _, _ = l.flux("diff", "ks", "--all", "--root", l.dir, "-o", "markdown")
	if !strings.Contains(out, "It is deleted, and its objects with it.") || !strings.Contains(out, "moved to Kustomization/") {
		t.Errorf("markdown: %s", out)
	}
}
