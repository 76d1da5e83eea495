package release_test

import (
	"bytes"
	"compress/gzip"
	"encoding/base64"
	"encoding/json"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	helm "helm.sh/helm/v4/pkg/release/v1"
	"sigs.k8s.io/yaml"

	helmv2 "github.com/gitops-toolkit/flux/api/helm/v2"
	"github.com/gitops-toolkit/flux/internal/helm/release"
	"github.com/gitops-toolkit/flux/internal/helm/values"
)

// recorded finds the run of upstream that is kept beside the repository; without it the test is skipped.
func recorded(t *testing.T) string {
	t.Helper()
	dir, err := filepath.Abs("../../../../shared/recorded/objects")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(dir); err != nil {
		t.Skip("the recorded run of upstream is not here: ../shared/recorded")
	}
	return dir
}

func storedRelease(t *testing.T, path string) *helm.Release {
	t.Helper()
	var secret struct {
		Data map[string]string `json:"data"`
	}
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := yaml.Unmarshal(text, &secret); err != nil {
		t.Fatal(err)
	}
	once, err := base64.StdEncoding.DecodeString(secret.Data["release"])
	if err != nil {
		t.Fatal(err)
	}
	twice, err := base64.StdEncoding.DecodeString(string(once))
	if err != nil {
		t.Fatal(err)
	}
	zr, err := gzip.NewReader(bytes.NewReader(twice))
	if err != nil {
		t.Fatal(err)
	}
	plain, err := io.ReadAll(zr)
	if err != nil {
		t.Fatal(err)
	}
	rel := &helm.Release{}
	if err := json.Unmarshal(plain, rel); err != nil {
		t.Fatal(err)
	}
	return rel
}

// Every snapshot that upstream left must be recognised in what it left in Helm's storage.
func TestSnapshotsOfUpstreamAreRecognised(t *testing.T) {
	t.Parallel()
	dir := recorded(t)
	files, err := filepath.Glob(filepath.Join(dir, "HelmRelease_*.yaml"))
	if err != nil || len(files) == 0 {
		t.Fatalf("no HelmReleases in %s: %v", dir, err)
	}
	compared := 0
	for _, file := range files {
		hr := &helmv2.HelmRelease{}
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if err := yaml.Unmarshal(text, hr); err != nil {
			t.Fatal(err)
		}
		for _, s := range hr.Status.History {
			stored := filepath.Join(dir, "Secret_"+hr.Status.StorageNamespace+"_sh.helm.release.v1."+s.Name+".v"+strconv.Itoa(s.Version)+".yaml")
			if _, err := os.Stat(stored); err != nil {
				continue // removed by maxHistory
			}
			rel := storedRelease(t, stored)
			compared++
			if !release.Verify(s, rel) {
				t.Errorf("%s: the snapshot of v%d is not recognised", hr.Name, s.Version)
			}
			if !values.Verify(s.ConfigDigest, rel.Config) {
				t.Errorf("%s: the values of v%d are not recognised", hr.Name, s.Version)
			}
			made, err := release.NewSnapshot("sha256", rel, s.OCIDigest, s.Action)
			if err != nil {
				t.Fatal(err)
			}
			made.TestHooks = s.TestHooks
			want, _ := json.Marshal(s)
			if got, _ := json.Marshal(made); !bytes.Equal(got, want) {
				t.Errorf("%s v%d:\n got %s\nwant %s", hr.Name, s.Version, got, want)
			}
			if rel.Manifest += "\n"; release.Verify(s, rel) {
				t.Errorf("%s: a changed manifest of v%d goes unnoticed", hr.Name, s.Version)
			}
		}
		if len(hr.Status.History) > 0 && hr.Spec.Values != nil && hr.Spec.ValuesFrom == nil {
			inline := map[string]any{}
			if err := json.Unmarshal(hr.Spec.Values.Raw, &inline); err != nil {
				t.Fatal(err)
			}
			if !values.Verify(hr.Status.LastAttemptedConfigDigest, inline) {
				t.Errorf("%s: the digest of its inline values differs", hr.Name)
			}
		}
	}
	if compared < 10 {
		t.Errorf("only %d snapshots were compared", compared)
	}
}

func TestShortName(t *testing.T) {
	t.Parallel()
	for name, want := range map[string]string{
		"short":                 "short",
		strings.Repeat("a", 53): strings.Repeat("a", 53),
		strings.Repeat("a", 54): strings.Repeat("a", 40) + "-81ae9dcd5037",
	} {
		got := release.ShortName(name)
		if len(got) > 53 {
			t.Errorf("%s is too long", got)
		}
		if len(name) <= 53 && got != want || len(name) > 53 && !strings.HasPrefix(got, want[:41]) {
			t.Errorf("%s became %s, want %s", name, got, want)
		}
	}
}
