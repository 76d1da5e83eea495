package helm_test

import (
	"bytes"
	"compress/gzip"
	"encoding/base64"
	"encoding/json"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	helmv2 "github.com/gitops-toolkit/flux/api/helm/v2"
	"github.com/gitops-toolkit/flux/internal/testenv"
)

// record3 is a release as the program helm 3 keeps it, written down here from its format and not from any library, so that
// it reads what we store independently of it.
type record3 struct {
	Name string `json:"name"`
	Info struct {
		FirstDeployed time.Time `json:"first_deployed"`
		LastDeployed  time.Time `json:"last_deployed"`
		Deleted       string    `json:"deleted"`
		Description   string    `json:"description"`
		Status        string    `json:"status"`
	} `json:"info"`
	Chart struct {
		Metadata struct {
			Name       string `json:"name"`
			Version    string `json:"version"`
			AppVersion string `json:"appVersion"`
			APIVersion string `json:"apiVersion"`
		} `json:"metadata"`
		Templates []file3        `json:"templates"`
		Values    map[string]any `json:"values"`
		Files     []file3        `json:"files"`
	} `json:"chart"`
	Config    map[string]any `json:"config"`
	Manifest  string         `json:"manifest"`
	Version   int            `json:"version"`
	Namespace string         `json:"namespace"`
}

type file3 struct {
	Name string `json:"name"`
	Data []byte `json:"data"`
}

// helm3Reads returns a revision of a release, as helm 3 finds it.
func (l *lab) helm3Reads(name string, version int) record3 {
	l.t.Helper()
	secret := l.secret(l.t, name, version)
	if secret.Type != "helm.sh/release.v1" || secret.Labels["owner"] != "helm" || secret.Labels["status"] == "" {
		l.t.Errorf("helm 3 does not find v%d: type %s, labels %v", version, secret.Type, secret.Labels)
	}
	zipped, err := base64.StdEncoding.DecodeString(string(secret.Data["release"]))
	if err != nil {
		l.t.Fatal(err)
	}
	zr, err := gzip.NewReader(bytes.NewReader(zipped))
	if err != nil {
		l.t.Fatal(err)
	}
	text, err := io.ReadAll(zr)
	if err != nil {
		l.t.Fatal(err)
	}
	var r record3
	if err := json.Unmarshal(text, &r); err != nil {
		l.t.Fatalf("helm 3 cannot read v%d: %v", version, err)
	}
	return r
}

// helm3Writes stores a revision as helm 3 does.
func (l *lab) helm3Writes(r record3) {
	l.t.Helper()
	text, err := json.Marshal(r)
	if err != nil {
		l.t.Fatal(err)
	}
	var b bytes.Buffer
	zw := gzip.NewWriter(&b)
	if _, err := zw.Write(text); err != nil {
		l.t.Fatal(err)
	}
	if err := zw.Close(); err != nil {
		l.t.Fatal(err)
	}
	secret := &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: r.Namespace, Name: "sh.helm.release.v1." + r.Name + ".v1",
			Labels: map[string]string{"owner": "helm", "name": r.Name, "status": r.Info.Status, "version": "1"},
		},
		Type: "helm.sh/release.v1",
		Data: map[string][]byte{"release": []byte(base64.StdEncoding.EncodeToString(b.Bytes()))},
	}
	if err := l.client.Create(l.t.Context(), secret); err != nil {
		l.t.Fatal(err)
	}
}

// A release that helm 3 made is taken over from the client's side, and what we store of it helm 3 can read, list, and go
// back to.
func TestTakeoverFromHelm3AndBack(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	l.source("demo", "1.0.0", demo("1.0.0", nil))
	var old record3
	old.Name, old.Namespace, old.Version = "old", l.namespace, 1
	old.Info.Status, old.Info.Description = "deployed", "Install complete"
	old.Info.FirstDeployed = time.Date(2020, 1, 2, 3, 4, 5, 6, time.UTC)
	old.Info.LastDeployed = old.Info.FirstDeployed
	old.Chart.Metadata.Name, old.Chart.Metadata.Version, old.Chart.Metadata.APIVersion = "demo", "0.9.0", "v2"
	old.Chart.Templates = []file3{{"templates/config.yaml", []byte("# as it was")}}
	old.Config = map[string]any{"message": "by helm 3"}
	old.Manifest = "---\n# Source: demo/templates/config.yaml\napiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: old\ndata:\n  message: by helm 3\n  gone: with the upgrade\n"
	l.helm3Writes(old)
	live := &corev1.ConfigMap{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: l.namespace, Name: "old", Labels: map[string]string{"app.kubernetes.io/managed-by": "Helm"},
			Annotations: map[string]string{"meta.helm.sh/release-name": "old", "meta.helm.sh/release-namespace": l.namespace},
		},
		Data: map[string]string{"message": "by helm 3", "gone": "with the upgrade"},
	}
	if err := l.client.Create(t.Context(), live, client.FieldOwner("helm")); err != nil {
		t.Fatal(err)
	}
	l.create("old", func(s *helmv2.HelmReleaseSpec) { s.Values = values(t, `{"message":"by flux"}`) })
	l.ready("old", 2)
	if data := l.configMap("old"); data["message"] != "by flux" || data["gone"] != "" {
		t.Errorf("the ConfigMap holds %v", data)
	}
	first, second := l.helm3Reads("old", 1), l.helm3Reads("old", 2)
	if first.Info.Status != "superseded" || !first.Info.FirstDeployed.Equal(old.Info.FirstDeployed) || first.Manifest != old.Manifest {
		t.Errorf("v1 is %+v", first.Info)
	}
	if second.Info.Status != "deployed" || second.Version != 2 || second.Name != "old" || second.Namespace != l.namespace ||
		second.Chart.Metadata.Name != "demo" || second.Config["message"] != "by flux" || second.Info.LastDeployed.IsZero() ||
		!second.Info.FirstDeployed.Equal(old.Info.FirstDeployed) || len(second.Chart.Templates) == 0 {
		t.Errorf("v2 is %+v of chart %+v with %v", second.Info, second.Chart.Metadata, second.Config)
	}
	if !bytes.Contains([]byte(second.Manifest), []byte("message: by flux")) {
		t.Errorf("the manifest of v2 is %s", second.Manifest)
	}
}

// helm3Env names the program helm 3; `hack/test-tool.sh helm3` builds it.
const helm3Env = "FLUX_TEST_HELM3"

// helm3 runs the program in the lab's namespace.
func (l *lab) helm3(args ...string) string {
	l.t.Helper()
	program := os.Getenv(helm3Env)
	if program == "" {
		l.t.Skipf("no helm 3: run `make test`, or set %s to what `hack/test-tool.sh helm3` prints", helm3Env)
	}
	cmd := exec.CommandContext(l.t.Context(), program, append(args, "--namespace", l.namespace, "--kubeconfig", testenv.Kubeconfig(l.t))...)
	cmd.Env = append(os.Environ(), "HOME="+l.t.TempDir())
	out, err := cmd.CombinedOutput()
	if err != nil {
		l.t.Fatalf("helm %v: %v\n%s", args, err, out)
	}
	return string(out)
}

// statuses is what `helm history` of helm 3 shows, oldest first.
func (l *lab) statuses(name string) string {
	l.t.Helper()
	var list []struct{ Status string }
	if err := json.Unmarshal([]byte(l.helm3("history", name, "-o", "json")), &list); err != nil {
		l.t.Fatal(err)
	}
	var out []string
	for _, one := range list {
		out = append(out, one.Status)
	}
	return strings.Join(out, " ")
}

// The program itself: a release that it makes is taken over, it reads, rolls back and removes what we made, and we see what
// it did.
func TestTheProgramHelm3(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	l.helm3("version")
	file := filepath.Join(t.TempDir(), "demo-1.0.0.tgz")
	if err := os.WriteFile(file, pack(t, "demo", demo("1.0.0", nil)), 0o600); err != nil {
		t.Fatal(err)
	}
	l.source("demo", "1.0.0", demo("1.0.0", nil))
	l.helm3("install", "app", file, "--set", "message=three")
	l.create("app", func(s *helmv2.HelmReleaseSpec) { s.Values = values(t, `{"message":"by flux"}`) })
	l.ready("app", 2)
	if got := l.configMap("app")["message"]; got != "by flux" {
		t.Errorf("after the takeover the ConfigMap holds %q", got)
	}
	if got := l.statuses("app"); got != "superseded deployed" {
		t.Errorf("helm 3 shows %s", got)
	}
	if got := l.helm3("get", "values", "app"); !strings.Contains(got, "message: by flux") {
		t.Errorf("helm 3 shows the values %s", got)
	}
	if got := l.helm3("list", "-o", "json"); !strings.Contains(got, `"chart":"demo-1.0.0+`) || !strings.Contains(got, `"status":"deployed"`) {
		t.Errorf("helm 3 lists %s", got)
	}
	l.helm3("rollback", "app", "1")
	if got := l.configMap("app")["message"]; got != "three" {
		t.Errorf("after helm rollback the ConfigMap holds %q", got)
	}
	l.request("app")
	l.ready("app", 4)
	if got := l.configMap("app")["message"]; got != "by flux" {
		t.Errorf("after a look the ConfigMap holds %q", got)
	}
	// One that we made from the start, server-side.
	l.create("ours")
	l.ready("ours", 1)
	l.helm3("upgrade", "ours", file, "--set", "message=three")
	if got := l.configMap("ours")["message"]; got != "three" {
		t.Errorf("after helm upgrade the ConfigMap holds %q", got)
	}
	for _, name := range []string{"app", "ours"} {
		l.update(name, func(hr *helmv2.HelmRelease) { hr.Spec.Suspend = true })
		l.delete(name)
		l.gone(name)
		l.helm3("uninstall", name)
		if l.configMap(name) != nil || len(l.storedRevisions(name)) > 0 {
			t.Errorf("helm 3 left %v and %v of %s", l.configMap(name), l.storedRevisions(name), name)
		}
	}
}
