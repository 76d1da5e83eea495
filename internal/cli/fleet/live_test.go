package fleet_test

import (
	"bytes"
	"context"
	"encoding/json"
	"encoding/xml"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/tools/txtar"

	"github.com/gitops-toolkit/flux/internal/cli"
	"github.com/gitops-toolkit/flux/internal/cli/fleet"
	"github.com/gitops-toolkit/flux/internal/testenv"
	"github.com/gitops-toolkit/flux/test/harness"
)

// TestFleet runs a repository whose URL nobody can reach, with encrypted Secrets, missing Secrets, a chart of its
// own, a chart repository that is not there, and one Kustomization that is broken, through the whole command.
func TestFleet(t *testing.T) {
	testenv.Kubeconfig(t) // also says that the programs are built
	sandbox, err := harness.Binary("flux-sandbox")
	if err != nil {
		t.Fatal(err)
	}
	t.Setenv("FLUXCD_PLUGINS", filepath.Dir(sandbox))
	home, remove, err := harness.TempDir()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(remove)
	t.Setenv("FLUX_SANDBOX_HOME", home)
	dir, sources := unpack(t, "testdata/fleet.txtar"), unpack(t, "testdata/sources.txtar")
	args := []string{"sandbox", "test", dir, "--output", "json", "--timeout", "4m"}
	for source, at := range map[string]string{
		"OCIRepository/flux-system/manifests": "manifests", "OCIRepository/flux-system/chart": "charts/greeting",
		"Bucket/flux-system/bucket": "bucket", "ExternalArtifact/flux-system/somebody": "external",
		"HelmRepository/flux-system/charts": "charts", "HelmRepository/flux-system/oci-charts": "charts",
	} {
		args = append(args, "--source", source+"="+filepath.Join(sources, at))
	}

	out, said, code := flux(t, args...)
	if code != 1 {
		t.Fatalf("exit code %d\n%s\n%s", code, said, out)
	}
	var report fleet.Report
	if err := json.Unmarshal([]byte(out), &report); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	if len(report.Clusters) != 1 || report.Clusters[0].Path != "clusters/production" {
		t.Fatalf("clusters: %s", out)
	}
	verdicts := map[string]fleet.Outcome{}
	for _, o := range report.Clusters[0].Objects {
		verdicts[o.Kind+"/"+o.Namespace+"/"+o.Name] = o
	}
	for object, want := range map[string]struct {
		verdict fleet.Verdict
		message string
	}{
		"GitRepository/flux-system/flux-system":    {fleet.Passed, ""},
		"Kustomization/flux-system/flux-system":    {fleet.Passed, ""},
		"Kustomization/flux-system/infra":          {fleet.Passed, ""},
		"Kustomization/flux-system/apps":           {fleet.Skipped, "it was applied, and waits for the health of HelmRe"},
		"Kustomization/flux-system/broken":         {fleet.Failed, "broken/x.yaml"},
		"Kustomization/flux-system/after":          {fleet.Skipped, "it needs Kustomization/flux-system/broken, which failed"},
		"Kustomization/flux-system/elsewhere":      {fleet.Skipped, "another cluster"},
		"HelmRelease/web/hello":                    {fleet.Passed, ""},
		"HelmRepository/web/far":                   {fleet.Skipped, "--source HelmRepository/web/far=<directory>"},
		"HelmRelease/web/far":                      {fleet.Skipped, "it needs HelmChart/web/web-far"},
		"Kustomization/flux-system/from-oci":       {fleet.Passed, ""},
		"Kustomization/flux-system/from-bucket":    {fleet.Passed, ""},
		"Kustomization/flux-system/from-somebody":  {fleet.Passed, ""},
		"Kustomization/flux-system/from-generator": {fleet.Passed, ""},
		"HelmRelease/flux-system/from-index":       {fleet.Passed, "greeting@1.2.3"},
		"HelmRelease/flux-system/from-registry":    {fleet.Passed, "greeting@1.2.3"},
		"HelmRelease/flux-system/from-artifact":    {fleet.Passed, "greeting@1.2.3"},
	} {
		got, ok := verdicts[object]
		if !ok || got.Verdict != want.verdict || !strings.Contains(got.Message, want.message) {
			t.Errorf("%s: %+v, want %s with %q", object, got, want.verdict, want.message)
		}
	}
	if got := verdicts["Kustomization/flux-system/broken"].File; got != "clusters/production/fleet.yaml:28" {
		t.Errorf("the broken Kustomization is said to be at %q", got)
	}
	standIns := ""
	for _, s := range report.Clusters[0].StandIns {
		standIns += s.Object + ": " + s.Why + "\n"
	}
	for _, want := range []string{"infra/secret.yaml", "Secret/flux-system/sops-age", "Secret/flux-system/cluster-secrets: variables that nothing else defines: host", "Service/web/web"} {
		if !strings.Contains(standIns, want) {
			t.Errorf("no stand-in %q in\n%s", want, standIns)
		}
	}
	if left, _ := os.ReadDir(home); len(left) > 1 {
		t.Errorf("%d entries are left in the sandbox's home", len(left))
	}
	junit(t, report)
}

// junit checks that the form for CI systems says the same.
func junit(t *testing.T, report fleet.Report) {
	t.Helper()
	var out bytes.Buffer
	if err := report.Print(&out, "junit"); err != nil {
		t.Fatal(err)
	}
	var suites struct {
		Tests    int `xml:"tests,attr"`
		Failures int `xml:"failures,attr"`
		Suites   []struct {
			Name  string `xml:"name,attr"`
			Cases []struct {
				Name    string    `xml:"name,attr"`
				Failure *struct{} `xml:"failure"`
			} `xml:"testcase"`
		} `xml:"testsuite"`
	}
	if err := xml.Unmarshal(out.Bytes(), &suites); err != nil {
		t.Fatal(err)
	}
	failed := 0
	for _, c := range suites.Suites[0].Cases {
		if c.Failure != nil {
			failed++
		}
	}
	if suites.Failures != 1 || failed != 1 || suites.Tests != len(report.Clusters[0].Objects) || suites.Suites[0].Name != "clusters/production" {
		t.Errorf("JUnit:\n%s", &out)
	}
}

func flux(t *testing.T, args ...string) (out, said string, code int) {
	t.Helper()
	var stdout, stderr bytes.Buffer
	code = cli.Main(context.Background(), args, strings.NewReader(""), &stdout, &stderr)
	return stdout.String(), stderr.String(), code
}

func unpack(t *testing.T, name string) string {
	t.Helper()
	archive, err := txtar.ParseFile(name)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	for _, file := range archive.Files {
		path := filepath.Join(dir, file.Name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, file.Data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}
