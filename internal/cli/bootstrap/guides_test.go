package bootstrap_test

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/gitops-toolkit/flux/test/servers/git"
	"github.com/gitops-toolkit/flux/test/servers/githost"
)

// guide is a page whose lines are run by a shell, word for word, with the built programs.
type guide struct {
	*testing.T
	dir string
	env []string
}

func newGuide(t *testing.T) *guide {
	t.Helper()
	bin := os.Getenv("FLUX_TEST_BIN")
	if bin == "" {
		t.Skip("no programs: run `make test`, or `make build` and set FLUX_TEST_BIN to bin")
	}
	if _, err := exec.LookPath("bash"); err != nil {
		t.Skip("no bash")
	}
	bin, err := filepath.Abs(bin)
	if err != nil {
		t.Fatal(err)
	}
	dir, err := os.MkdirTemp("", "guide") // sockets need a short path
	if err != nil {
		t.Fatal(err)
	}
	g := &guide{T: t, dir: dir}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	g.env = append(os.Environ(), "HOME="+dir, "FLUX_SANDBOX_HOME="+dir+"/sandbox", "KUBECONFIG=", "NO_COLOR=1", "PATH="+dir+"/bin:"+bin+":"+os.Getenv("PATH"),
		"GIT_CONFIG_NOSYSTEM=1", "GIT_CONFIG_GLOBAL="+dir+"/gitconfig", "GIT_SSL_CAINFO="+dir+"/ca.crt", "GIT_AUTHOR_NAME=Jo", "GIT_AUTHOR_EMAIL=jo@example.com", "GIT_COMMITTER_NAME=Jo", "GIT_COMMITTER_EMAIL=jo@example.com")
	t.Cleanup(func() {
		cmd := exec.Command(filepath.Join(bin, "flux-sandbox"), "down")
		cmd.Env = g.env
		_ = cmd.Run()
	})
	return g
}

// run has bash run the lines in a directory; the first that fails ends it.
func (g *guide) run(dir, lines string) {
	g.Helper()
	ctx, cancel := context.WithTimeout(g.Context(), 5*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, "bash", "-euo", "pipefail", "-x", "-c", lines)
	cmd.Dir, cmd.Env = dir, g.env
	if out, err := cmd.CombinedOutput(); err != nil {
		g.Fatalf("%v\n%s", err, out)
	}
}

func page(t *testing.T, path, section string) string {
	t.Helper()
	text, err := os.ReadFile("../../../" + path)
	if err != nil {
		t.Fatal(err)
	}
	_, rest, ok := strings.Cut(string(text), "\n## "+section+"\n")
	if !ok {
		t.Fatalf("%s has no section %q", path, section)
	}
	rest, _, _ = strings.Cut(rest, "\n## ")
	return rest
}

// console returns what the ```console blocks of a text have a person type.
func console(text string) string {
	var lines strings.Builder
	inside := false
	for line := range strings.Lines(text) {
		if strings.HasPrefix(line, "```") {
			inside = strings.HasPrefix(line, "```console")
			continue
		}
		for _, prompt := range []string{"$ ", "> "} {
			if typed, ok := strings.CutPrefix(line, prompt); inside && ok {
				lines.WriteString(typed)
			}
		}
	}
	return lines.String()
}

// TestReadme runs the first ten minutes of the README, and looks at what they made before they end.
func TestReadme(t *testing.T) {
	t.Parallel()
	g := newGuide(t)
	var lines strings.Builder
	for line := range strings.Lines(page(t, "README.md", "The first ten minutes")) {
		typed, ok := strings.CutPrefix(line, "    ")
		if !ok || strings.HasPrefix(typed, "make ") || strings.HasPrefix(typed, "export PATH=") {
			continue
		}
		if strings.HasPrefix(typed, "flux sandbox down") {
			lines.WriteString("flux reconcile kustomization podinfo --with-source\nflux get kustomization podinfo | grep -w True\n")
		}
		lines.WriteString(strings.ReplaceAll(typed, "/tmp/podinfo", g.dir+"/podinfo"))
	}
	if strings.Count(lines.String(), "\n") < 18 {
		t.Fatalf("too few lines:\n%s", lines.String())
	}
	root, err := filepath.Abs("../../..")
	if err != nil {
		t.Fatal(err)
	}
	g.run(root, lines.String())
}

// TestGetStarted runs the guide: its first half as it stands, and its second against the contract of GitHub
// on the same cluster.
func TestGetStarted(t *testing.T) {
	t.Parallel()
	g := newGuide(t)
	host, err := githost.Start(githost.Options{Kind: "github", Root: filepath.Join(g.dir, "host"), Token: "canary-token", User: "my-github-username"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { host.Close() })
	elsewhere, err := git.Start(git.Options{Root: filepath.Join(g.dir, "git"), HTTP: git.AnyPort})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { elsewhere.Close() })
	podinfo, err := elsewhere.Create("podinfo", "master")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := podinfo.Commit(map[string]string{"kustomize/cm.yaml": "{apiVersion: v1, kind: ConfigMap, metadata: {name: podinfo}}\n"}, "first"); err != nil {
		t.Fatal(err)
	}
	g.network(host, elsewhere.HTTPURL("podinfo"))

	first := console(page(t, "docs/get-started.md", "On your machine, without a cluster"))
	first, ok := strings.CutSuffix(first, "flux sandbox down\n")
	second := console(page(t, "docs/get-started.md", "On your cluster"))
	second = strings.Replace(second, "export GITHUB_TOKEN=<token>\n", "export GITHUB_TOKEN=canary-token\n", 1)
	if !ok || strings.Contains(second, "<") {
		t.Fatalf("the guide has changed: read it again and change this test\n%s", second)
	}
	g.run(g.dir, first+second+`
flux get kustomization podinfo | grep -w True
flux tree kustomization podinfo | grep ConfigMap/default/podinfo
flux sandbox down
`)
	for _, v := range host.Violations() {
		t.Errorf("contract of GitHub: %s", v)
	}
}

// network puts our servers in the place of github.com, for git by its configuration and for flux by a program
// that adds where they are. What is watched ends after a moment.
func (g *guide) network(host *githost.Server, podinfo string) {
	g.Helper()
	if err := os.MkdirAll(filepath.Join(g.dir, "bin"), 0o755); err != nil {
		g.Fatal(err)
	}
	flux := fmt.Sprintf(`#!/bin/bash
real=%s/flux
args=("${@//https:\/\/github.com\/stefanprodan\/podinfo/%s}")
case "$*" in
  "bootstrap github "*) exec "$real" "$@" --hostname=%s --ssh-hostname=%s --ca-file=%s/ca.crt %s ;;
  *--watch*) timeout 2 "$real" "$@" || [ $? = 124 ] ;;
  *) exec "$real" "${args[@]}" ;;
esac
`, filepath.Clean(absolute(g.T, os.Getenv("FLUX_TEST_BIN"))), strings.ReplaceAll(podinfo, "/", `\/`), host.Hostname(), host.SSHHostname(), g.dir, components)
	config := fmt.Sprintf("[url \"https://my-github-username:canary-token@%s/\"]\n\tinsteadOf = https://github.com/\n", host.Hostname())
	for name, text := range map[string]string{"bin/flux": flux, "gitconfig": config, "ca.crt": string(host.CA())} {
		if err := os.WriteFile(filepath.Join(g.dir, name), []byte(text), 0o755); err != nil {
			g.Fatal(err)
		}
	}
}

func absolute(t *testing.T, path string) string {
	t.Helper()
	abs, err := filepath.Abs(path)
	if err != nil {
		t.Fatal(err)
	}
	return abs
}
