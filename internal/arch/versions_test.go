package arch

import (
	"os/exec"
	"strings"
	"testing"
)

// The sandbox links Kubernetes, which takes minutes from cold, and controller-gen parts of it. What they share with the main
// module is compiled once only if all name the same versions.
func TestModulesShareVersions(t *testing.T) {
	t.Parallel()
	main := linked(t, ".", "./...")
	for dir, packages := range map[string]string{"sandbox": "./...", "hack/tools": "tool"} {
		for path, version := range linked(t, dir, packages) {
			if other, shared := main[path]; shared && other != version {
				t.Errorf("%s/go.mod has %s %s, go.mod has %s: run `cd %s && go get %s@%s`", dir, path, version, other, dir, path, other)
			}
		}
	}
}

// linked are the modules, by path, that give the packages of the module in a directory of the repository.
func linked(t *testing.T, dir, packages string) map[string]string {
	t.Helper()
	cmd := exec.Command("go", "list", "-deps", "-f", "{{with .Module}}{{.Path}} {{.Version}}{{end}}", packages)
	cmd.Dir = "../../" + dir
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
