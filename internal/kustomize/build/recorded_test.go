package build

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"

	"sigs.k8s.io/kustomize/api/types"
	"sigs.k8s.io/kustomize/kyaml/resid"

	"github.com/gitops-toolkit/flux/internal/kustomize/substitute"
)

// recorded is a live run of upstream as data; it lies outside the repository.
const recorded = "../../../../shared/recorded"

func recordedPath(t *testing.T, elements ...string) string {
	t.Helper()
	path := filepath.Join(append([]string{recorded}, elements...)...)
	if _, err := os.Stat(path); err != nil {
		t.Skipf("no recorded data: %v", err)
	}
	return path
}

// TestRecordedDigests builds the recorded fleet and compares with the digests that upstream wrote to status.history:
// these cover every byte of the built YAML.
func TestRecordedDigests(t *testing.T) {
	t.Parallel()
	for path, c := range map[string]struct {
		spec      Spec
		variables substitute.Variables
		want      string
	}{
		"my-app": {
			spec: Spec{TargetNamespace: "apps"},
			want: "sha256:16fe84c546b4c7861d3a2ff74e3d74e1898362a73d94e2539ceee7a0d18e007a",
		},
		"crds":      {want: "sha256:76bd22258bded094747a3b6ef1c8d03b4f30efc237681adcb8b9aa2a7fbca975"},
		"overlay":   {want: "sha256:0ee32bebb26f71823f578da9b69d9a064b500111da230007a589911cfc0e9316"},
		"invalid":   {want: "sha256:5e1c4506b96b0f8b23512d1eade22ef0e0aaa1df57b9212c6e2e94015e9fdc09"},
		"unhealthy": {want: "sha256:0a9476b9233e9a57d553b421a7ebeec89e7739d511eca2d648c876c69de66cb6"},
		"vars": {
			spec: Spec{
				TargetNamespace: "sub",
				NameSuffix:      "-x",
				Images:          []types.Image{{Name: "nginx", NewName: "127.0.0.1:5000/app", NewTag: "1.1.0"}},
				Patches: []types.Patch{{
					Patch:  "- op: add\n  path: /spec/revisionHistoryLimit\n  value: 3\n",
					Target: &types.Selector{ResId: resid.ResId{Gvk: resid.Gvk{Kind: "Deployment"}, Name: "web"}},
				}},
			},
			variables: substitute.Variables{
				"cluster_name": "prod", "region": "us-east-1", "from_cm": "cm-value", "from_secret": "secret-value",
			},
			want: "sha256:211d4cea5c2842fe8368e848ba577d833661ced49a4ba591573da678d887430e",
		},
	} {
		opts := Options{Root: recordedPath(t, "inputs", "fleet"), Path: path, Spec: c.spec}
		if c.variables != nil {
			opts.Substitute = SubstituteStep(c.variables, true)
		}
		result, err := Build(t.Context(), opts)
		if err != nil {
			t.Errorf("%s: %v", path, err)
			continue
		}
		if result.Digest != c.want {
			t.Errorf("%s: digest %s, upstream had %s for\n%s", path, result.Digest, c.want, result.YAML)
		}
	}
}

// TestRecordedCLI compares with the output of upstream's "flux build kustomization", but for the owner labels.
func TestRecordedCLI(t *testing.T) {
	t.Parallel()
	for transcript, c := range map[string]struct {
		path string
		spec Spec
	}{
		"206-build-ks.txt":           {"my-app", Spec{TargetNamespace: "apps"}},
		"210-build-ks-plain.txt":     {"plain", Spec{}},
		"211-build-ks-overlay.txt":   {"overlay", Spec{}},
		"304-build-ks-inmemory.txt":  {"my-app", Spec{TargetNamespace: "apps"}},
		"305-build-ks-recursive.txt": {"namespaces", Spec{}},
	} {
		content, err := os.ReadFile(recordedPath(t, "cli", transcript))
		if err != nil {
			t.Fatal(err)
		}
		_, after, _ := bytes.Cut(content, []byte("--- stdout\n"))
		want, _, _ := bytes.Cut(after, []byte("--- stderr\n"))
		result, err := Build(t.Context(), Options{Root: recordedPath(t, "inputs", "fleet"), Path: c.path, Spec: c.spec})
		if err != nil {
			t.Errorf("%s: %v", transcript, err)
			continue
		}
		var objects int
		for doc := range bytes.SplitSeq(want, []byte("---\n")) {
			if len(bytes.TrimSpace(doc)) == 0 {
				continue
			}
			if objects < len(result.Objects) {
				compareDocument(t, transcript, doc, result.Objects[objects])
			}
			objects++
		}
		if objects != len(result.Objects) {
			t.Errorf("%s: %d objects, upstream had %d", transcript, len(result.Objects), objects)
		}
	}
}
