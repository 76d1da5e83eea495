package diff_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"helm.sh/helm/v4/pkg/chart/v2/loader"

	helmv2 "github.com/gitops-toolkit/flux/api/helm/v2"
	"github.com/gitops-toolkit/flux/api/meta"
	"github.com/gitops-toolkit/flux/internal/apply"
	"github.com/gitops-toolkit/flux/internal/helm/action"
	"github.com/gitops-toolkit/flux/internal/helm/kube"
	"github.com/gitops-toolkit/flux/internal/helm/store"
	"github.com/gitops-toolkit/flux/internal/testenv"
)

const shopTemplates = `apiVersion: v1
kind: ConfigMap
metadata: {name: shop}
data:
  colour: {{ .Values.colour }}
{{- if .Values.old }}
  only: before
{{- end }}
  url: https://user:{{ .Values.password }}@example.com
---
apiVersion: v1
kind: Secret
metadata: {name: shop}
stringData: {password: {{ .Values.password | quote }}}
{{- if .Values.old }}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: old}
{{- end }}
{{- if .Values.fresh }}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: fresh}
{{- end }}
---
apiVersion: v1
kind: ConfigMap
metadata:
  name: before
  annotations: {helm.sh/hook: "pre-install,pre-upgrade", helm.sh/hook-weight: "1"}
data:
  colour: {{ .Values.colour }}
  login: {{ .Values.password }}
{{- if .Values.old }}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: try, annotations: {helm.sh/hook: test}}
{{- end }}
`

// release writes the files of a HelmRelease, with values and a Secret, below a directory.
func (l *lab) release(dir, values, password string) {
	l.write(dir+"/release.yaml", strings.NewReplacer("VALUES", values, "PASSWORD", password).Replace(`apiVersion: helm.toolkit.fluxcd.io/v2beta1
kind: HelmRelease
metadata: {name: shop}
spec:
  interval: 1h
  chart:
    spec: {chart: ./charts/shop, sourceRef: {kind: GitRepository, name: fleet}}
  valuesFrom: [{kind: Secret, name: shop-values, valuesKey: password, targetPath: password}]
  values: VALUES
---
apiVersion: v1
kind: Secret
metadata: {name: shop-values}
stringData: {password: PASSWORD}
`))
}

func (l *lab) chartFiles() {
	l.write("charts/shop/Chart.yaml", "apiVersion: v2\nname: shop\nversion: 1.0.0\n")
	l.write("charts/shop/values.yaml", "colour: red\nold: true\nfresh: false\npassword: none\n")
	l.write("charts/shop/templates/all.yaml", shopTemplates)
}

func (l *lab) at(path string) string { return filepath.Join(l.dir, path) }

func TestHelmReleaseOffline(t *testing.T) {
	t.Parallel()
	l := &lab{T: t, ns: "shop", dir: t.TempDir()}
	l.chartFiles()
	l.release("old", "{colour: blue}", "first-secret")
	l.release("new", "{colour: green, old: false, fresh: true}", "second-secret")
	offline := func(args ...string) (string, string, int) {
		return l.flux(append([]string{"diff", "hr", "shop", "--path", l.at("new"), "--against", l.at("old"), "--root", l.dir}, args...)...)
	}
	out, said, code := offline()
	for _, want := range []string{"► ConfigMap/shop drifted", "data.colour\n± value change\n- blue\n+ green", "► Secret/shop drifted", "► ConfigMap/fresh created", "► ConfigMap/old deleted",
		"► ConfigMap/before drifted (hook: pre-install, pre-upgrade)", "► ConfigMap/try deleted (hook: test)",
	} {
		if !strings.Contains(out, want) {
			t.Errorf("%q is missing in\n%s", want, out)
		}
	}
	if code != 1 || strings.Contains(out+said, "-secret") {
		t.Errorf("exit %d, said %s\n%s", code, said, out)
	}
	out, _, _ = offline("--output", "json")
	var reports []struct {
		HelmRelease string
		Changes     []struct{ Object, Action, Diff, Hook string }
	}
	if err := json.Unmarshal([]byte(out), &reports); err != nil || len(reports) != 1 || reports[0].HelmRelease != "HelmRelease/shop/shop" || len(reports[0].Changes) != 6 ||
		reports[0].Changes[4].Hook != "pre-install, pre-upgrade" || !strings.Contains(reports[0].Changes[4].Diff, "+ green") {
		t.Errorf("%v in %s", err, out)
	}
	if out, _, _ = offline("--output", "markdown"); !strings.Contains(out, "1 created, 3 changed, 2 deleted") || !strings.Contains(out, "`ConfigMap/try` deleted (hook: test)") || !strings.Contains(out, "```diff") || strings.Contains(out, "-secret") {
		t.Errorf("markdown:\n%s", out)
	}
	if out, said, code := l.flux("diff", "hr", "shop", "--path", l.at("old"), "--against", l.at("old"), "--root", l.dir); code != 0 || out != "" {
		t.Errorf("equal sides: exit %d\n%s%s", code, out, said)
	}
	if err := os.WriteFile(l.at("charts/shop/templates/bad.yaml"), []byte("{{ fail \"colour is missing\" }}"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, said, code := offline(); code != 2 || !strings.Contains(said, "shop/templates/bad.yaml:1") || !strings.Contains(said, "colour is missing") {
		t.Errorf("a broken template: exit %d, %s", code, said)
	}
	if _, said, code := l.flux("diff", "hr", "shop", "--path", l.at("new"), "--against", l.at("old")); code != 2 || !strings.Contains(said, "--root") {
		t.Errorf("without the source: exit %d, %s", code, said)
	}
}

func TestHelmReleaseLive(t *testing.T) {
	t.Parallel()
	for name, serverSide := range map[string]bool{"applied on the server": true, "applied from the client's side": false} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			testLive(t, serverSide)
		})
	}
}

func testLive(t *testing.T, serverSide bool) {
	l := newLab(t)
	l.chartFiles()
	l.release("files", "{colour: blue}", "first-secret")
	diff := func() (string, string, int) {
		return l.flux("diff", "helmrelease", "shop", "--path", l.at("files"), "--root", l.dir)
	}
	if out, said, code := diff(); code != 1 || strings.Count(out, " created\n") != 3 {
		t.Fatalf("before the install: exit %d\n%s%s", code, out, said)
	}
	l.install(serverSide, map[string]any{"colour": "blue", "password": "first-secret"})
	if out, said, code := diff(); code != 0 || out != "" {
		t.Fatalf("after the install: exit %d\n%s%s", code, out, said)
	}
	l.release("files", "{colour: green, old: false, fresh: true}", "second-secret")
	out, said, code := diff()
	for _, want := range []string{"► ConfigMap/" + l.ns + "/shop drifted", "- blue\n+ green", "- one map entry removed:\n  only: before", "► Secret/" + l.ns + "/shop drifted", "/fresh created", "/old deleted",
		"► ConfigMap/" + l.ns + "/before drifted (hook: pre-install, pre-upgrade)", "► ConfigMap/" + l.ns + "/try deleted (hook: test)",
	} {
		if !strings.Contains(out, want) {
			t.Errorf("%q is missing in\n%s", want, out)
		}
	}
	if code != 1 || strings.Contains(out+said, "-secret") {
		t.Errorf("exit %d, said %s\n%s", code, said, out)
	}
	// Nothing was written.
	l.release("files", "{colour: blue}", "first-secret")
	if out, said, code := diff(); code != 0 || out != "" {
		t.Errorf("afterwards: exit %d\n%s%s", code, out, said)
	}
}

// install releases the chart as the controller does.
func (l *lab) install(serverSide bool, values map[string]any) {
	l.Helper()
	pool := &kube.Pool{Clients: &apply.ClientPool{}}
	cluster, err := pool.Get(testenv.Config(l), "")
	if err != nil {
		l.Fatal(err)
	}
	hr := &helmv2.HelmRelease{}
	hr.Namespace, hr.Name = l.ns, "shop"
	hr.Spec.Interval, hr.Spec.Install = meta.NewDuration(0), &helmv2.Install{ServerSideApply: &serverSide}
	c, err := loader.Load(l.at("charts/shop"))
	if err != nil {
		l.Fatal(err)
	}
	r := &action.Runner{Object: hr, Cluster: cluster, Name: "shop", Namespace: l.ns, Storage: store.New(cluster.Core().Secrets(l.ns), "shop", nil)}
	if _, err := r.InstallWith(l.Context(), c, values, false); err != nil {
		l.Fatal(err)
	}
}
