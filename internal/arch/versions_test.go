package arch

import (
	"os/exec"
	"strings"
	"testing"
)

// The sandbox links Kubernetes, which takes minutes from cold. What it shares with the main module is
// compiled once only if both name the same versions.
func TestSandboxSharesVersions(t *testing.T) {
	t.Parallel()
	main, sandbox := linked(t, "../.."), linked(t, "../../sandbox")
	for path, version := range sandbox {
		if other, shared := main[path]; shared && other != version {
			t.Errorf("sandbox/go.mod has %s %s, go.mod has %s: run `cd sandbox && go get %s@%s`", path, version, other, path, other)
		}
	}
}

// linked are the modules, by path, that give the packages of the module in a directory.
func linked(t *testing.T, dir string) map[string]string {
	t.Helper()
	cmd := exec.Command("go", "list", "-deps", "-f", "{{with .Module}}{{.Path}} {{.Version}}{{end}}", "./...")
	cmd.Dir = dir
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go list in %s: %v", dir, err)
	}
	versions := map[string]string{}
	for line := range strings.Lines(string(out)) {
		if path, version, ok := strings.Cut(strings.TrimSpace(line), " "); ok {
			versions[path] = version
		}
	}
	return versions
}
