package bootstrap_test

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"

	"github.com/gitops-toolkit/flux/internal/cli"
	"github.com/gitops-toolkit/flux/internal/version"
	"github.com/gitops-toolkit/flux/test/harness"
	"github.com/gitops-toolkit/flux/test/servers/git"
	"github.com/gitops-toolkit/flux/test/servers/githost"
)

const (
	namespace  = "flux-system"
	components = "--components=source-controller,kustomize-controller"
	next       = "v9.9.9"
)

// lab is a sandbox of its own, whose node runs the controllers as processes.
type lab struct {
	*testing.T
	sandbox *harness.Sandbox
	client  kubernetes.Interface
	dir     string
}

func newLab(t *testing.T) *lab {
	t.Helper()
	bin := os.Getenv("FLUX_TEST_BIN")
	if bin == "" {
		t.Skip("no programs: run `make test`, or `make build` and set FLUX_TEST_BIN to bin")
	}
	out, err := exec.Command(filepath.Join(bin, "flux-controller"), "--version").Output()
	if err != nil {
		t.Fatalf("ask flux-controller for its version: %v", err)
	}
	before := version.Version
	version.Version = strings.TrimSpace(string(out))
	t.Cleanup(func() { version.Version = before })
	t.Setenv("HOME", t.TempDir())
	l := &lab{T: t, dir: t.TempDir()}
	l.sandbox, err = harness.StartSandbox(t.Context(), l.dir, "bootstrap")
	t.Cleanup(func() { l.sandbox.Close() })
	if err != nil {
		t.Fatal(err)
	}
	if l.client, err = kubernetes.NewForConfig(l.sandbox.Config); err != nil {
		t.Fatal(err)
	}
	return l
}

// flux runs the command line; it returns what it says and whether it ended well.
func (l *lab) try(stdin string, args ...string) (said string, ok bool) {
	l.Helper()
	var out, progress bytes.Buffer
	args = append(args, "--kubeconfig", l.sandbox.Kubeconfig, "--timeout", "3m")
	code := cli.Main(l.Context(), args, strings.NewReader(stdin), &out, &progress)
	return progress.String(), code == 0
}

func (l *lab) flux(args ...string) string {
	l.Helper()
	said, ok := l.try("", args...)
	if !ok {
		l.Fatalf("flux %v:\n%s", args, said)
	}
	return said
}

func (l *lab) file(name string, content []byte) string {
	l.Helper()
	path := filepath.Join(l.dir, name)
	if err := os.WriteFile(path, content, 0o600); err != nil {
		l.Fatal(err)
	}
	return path
}

func show(t testing.TB, repo *git.Repo, args ...string) string {
	t.Helper()
	out, err := repo.Git(nil, args...)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// contains reports lines that are missing or out of order.
func contains(t testing.TB, said string, lines ...string) {
	t.Helper()
	rest := said
	for _, line := range lines {
		i := strings.Index(rest, line)
		if i < 0 {
			t.Errorf("%q is missing, or not in its place, in:\n%s", line, said)
			return
		}
		rest = rest[i+len(line):]
	}
}

// eventually waits for what a controller does by itself.
func (l *lab) eventually(what string, ok func() bool) {
	l.Helper()
	for deadline := time.Now().Add(2 * time.Minute); !ok(); {
		if time.Now().After(deadline) {
			l.Fatalf("never seen: %s\n%s", what, l.state())
		}
		time.Sleep(200 * time.Millisecond)
	}
}

func (l *lab) state() string {
	said, _ := l.try("", "get", "all")
	logs, _ := l.try("", "logs", "--tail", "20")
	return said + logs
}

func (l *lab) deployment(name string) *appsv1.Deployment {
	l.Helper()
	d, err := l.client.AppsV1().Deployments(namespace).Get(l.Context(), name, metav1.GetOptions{})
	if err != nil {
		l.Fatal(err)
	}
	return d
}

// TestBootstrapGit bootstraps over SSH into an empty repository, again without a change, with a
// customisation, and has the cluster upgrade itself from Git to another executable and follow
// another branch.
func TestBootstrapGit(t *testing.T) {
	l := newLab(t)
	private, public, err := git.NewSSHKey("ed25519", "")
	if err != nil {
		t.Fatal(err)
	}
	door := &gate{public: public}
	server, err := git.Start(git.Options{Root: filepath.Join(l.dir, "git"), SSH: git.AnyPort, AuthorizeKey: door.open})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { server.Close() })
	repo, err := server.Create("fleet", "main")
	if err != nil {
		t.Fatal(err)
	}
	args := []string{"bootstrap", "git", "--url=" + server.SSHURL("fleet"), "--private-key-file=" + l.file("key", private),
		"--path=clusters/production", "--interval=2s", "--author-email=jo@example.com", "--commit-message-appendix=[ci skip]",
		"--ssh-signing-reuse-private-key", components}
	said := l.flux(args...)
	contains(t, said,
		"► cloning branch \"main\" from Git repository \""+server.SSHURL("fleet")+"\"\n✔ cloned repository\n► generating component manifests\n✔ generated component manifests\n",
		"✔ committed component manifests to \"main\" (\"", "► pushing component manifests to \"", "► installing components in \"flux-system\" namespace\n✔ installed components\n✔ reconciled components\n",
		"► determining if source secret \"flux-system/flux-system\" exists\n► generating source secret\n✔ public key: ssh-ed25519 ", "► applying source secret \"flux-system/flux-system\"\n✔ reconciled source secret\n",
		"► generating sync manifests\n✔ generated sync manifests\n✔ committed sync manifests to \"main\"", "► applying sync manifests\n✔ reconciled sync configuration\n",
		"◎ waiting for GitRepository \"flux-system/flux-system\" to be reconciled\n✔ GitRepository reconciled successfully\n",
		"◎ waiting for Kustomization \"flux-system/flux-system\" to be reconciled\n✔ Kustomization reconciled successfully\n",
		"► confirming components are healthy\n", "✔ source-controller: deployment ready\n", "✔ all components are healthy\n")
	l.layout(repo, server.SSHURL("fleet"))
	if log := show(t, repo, "log", "--format=%an <%ae> %s%n%b", "main"); !strings.Contains(log, "Flux <jo@example.com> Add Flux sync manifests\n[ci skip]") ||
		!strings.Contains(log, "Add Flux "+version.Version+" component manifests") {
		t.Errorf("log:\n%s", log)
	}
	if raw := show(t, repo, "cat-file", "commit", "main"); !strings.Contains(raw, "gpgsig -----BEGIN SSH SIGNATURE-----") {
		t.Errorf("the commit is not signed:\n%s", raw)
	}
	head := show(t, repo, "rev-parse", "main")
	said = l.flux(args...)
	contains(t, said, "✔ component manifests are up to date\n✔ reconciled components\n", "✔ sync manifests are up to date\n", "✔ all components are healthy\n")
	if now := show(t, repo, "rev-parse", "main"); now != head {
		t.Errorf("a second run has committed: %s", show(t, repo, "log", "-p", "-1", "main"))
	}
	l.otherPath(args)
	l.customise(repo)
	l.flux(args...) // keeps what people wrote
	if text := show(t, repo, "show", "main:clusters/production/flux-system/kustomization.yaml"); !strings.Contains(text, "--concurrent=7") {
		t.Errorf("the kustomization.yaml was overwritten:\n%s", text)
	}
	l.upgrade(repo)
	l.moves(repo, door, args)
}

// layout checks the files that upstream's users know.
func (l *lab) layout(repo *git.Repo, url string) {
	l.Helper()
	const dir = "clusters/production/flux-system/"
	if files := show(l, repo, "ls-tree", "-r", "--name-only", "main"); files != dir+"gotk-components.yaml\n"+dir+"gotk-sync.yaml\n"+dir+"kustomization.yaml" {
		l.Errorf("files:\n%s", files)
	}
	want := `# This manifest was generated by flux. DO NOT EDIT.
---
apiVersion: source.toolkit.fluxcd.io/v1
kind: GitRepository
metadata:
  name: flux-system
  namespace: flux-system
spec:
  interval: 2s
  ref:
    branch: main
  secretRef:
    name: flux-system
  url: ` + url + `
---
apiVersion: kustomize.toolkit.fluxcd.io/v1
kind: Kustomization
metadata:
  name: flux-system
  namespace: flux-system
spec:
  interval: 10m0s
  path: ./clusters/production
  prune: true
  sourceRef:
    kind: GitRepository
    name: flux-system`
	if got := show(l, repo, "show", "main:"+dir+"gotk-sync.yaml"); got != want {
		l.Errorf("gotk-sync.yaml:\n%s", got)
	}
	if got := show(l, repo, "show", "main:"+dir+"kustomization.yaml"); got != "apiVersion: kustomize.config.k8s.io/v1beta1\nkind: Kustomization\nresources:\n- gotk-components.yaml\n- gotk-sync.yaml" {
		l.Errorf("kustomization.yaml:\n%s", got)
	}
	if got := show(l, repo, "show", "main:"+dir+"gotk-components.yaml"); !strings.HasPrefix(got, "---\n# This manifest was generated by flux. DO NOT EDIT.\n# Flux Version: "+version.Version+"\n# Components: source-controller,kustomize-controller\n") {
		l.Errorf("gotk-components.yaml:\n%.300s", got)
	}
}

// otherPath: a cluster is not moved by accident.
func (l *lab) otherPath(args []string) {
	l.Helper()
	said, ok := l.try("", append(args, "--path=clusters/staging")...)
	if ok || !strings.Contains(said, `✗ sync path configuration ("./clusters/staging") would overwrite path ("./clusters/production") of existing Kustomization`) || strings.Contains(said, "cloning") {
		l.Errorf("another path: %s", said)
	}
}

// customise pushes a patch, as people keep them, and waits for the cluster to follow.
func (l *lab) customise(repo *git.Repo) {
	l.Helper()
	kustomization := `apiVersion: kustomize.config.k8s.io/v1beta1
kind: Kustomization
resources:
- gotk-components.yaml
- gotk-sync.yaml
patches:
- target: {kind: Deployment, name: kustomize-controller}
  patch: |
    - op: add
      path: /spec/template/spec/containers/0/args/-
      value: --concurrent=7
`
	if _, err := repo.Commit(map[string]string{"clusters/production/flux-system/kustomization.yaml": kustomization}, "More workers"); err != nil {
		l.Fatal(err)
	}
	l.eventually("the patch of kustomization.yaml in the cluster", func() bool {
		d := l.deployment("kustomize-controller")
		return strings.Contains(fmt.Sprint(d.Spec.Template.Spec.Containers[0].Args), "--concurrent=7") && d.Status.UpdatedReplicas == 1 && d.Status.Replicas == 1 && d.Status.ReadyReplicas == 1
	})
}

// upgrade changes the version in Git only; the controllers then run another executable, and apply on. Then back.
func (l *lab) upgrade(repo *git.Repo) {
	l.Helper()
	program, err := os.ReadFile(filepath.Join(os.Getenv("FLUX_TEST_BIN"), "flux-controller"))
	if err != nil {
		l.Fatal(err)
	}
	other := filepath.Join(l.dir, "next", "flux-controller")
	if err := os.MkdirAll(filepath.Dir(other), 0o755); err != nil {
		l.Fatal(err)
	}
	if err := os.WriteFile(other, program, 0o755); err != nil {
		l.Fatal(err)
	}
	if err := l.sandbox.Map("ghcr.io/gitops-toolkit:"+next, other); err != nil {
		l.Fatal(err)
	}
	const file = "clusters/production/flux-system/gotk-components.yaml"
	text := show(l, repo, "show", "main:"+file)
	files := map[string]string{file: strings.ReplaceAll(text, version.Version, next) + "\n"}
	if _, err := repo.Commit(files, "Upgrade"); err != nil {
		l.Fatal(err)
	}
	l.runs(next)
	l.eventually("two processes of the new program", func() bool { return running(other) == 2 })
	files = map[string]string{"clusters/production/after.yaml": "{apiVersion: v1, kind: ConfigMap, metadata: {name: after, namespace: default}}\n"}
	if _, err := repo.Commit(files, "After the upgrade"); err != nil {
		l.Fatal(err)
	}
	l.eventually("a commit made after the upgrade", func() bool {
		_, err := l.client.CoreV1().ConfigMaps("default").Get(l.Context(), "after", metav1.GetOptions{})
		return err == nil
	})

	// And back: the same commit undone.
	before := l.after()
	if _, err := repo.Commit(map[string]string{file: text + "\n"}, "Downgrade"); err != nil {
		l.Fatal(err)
	}
	l.runs(version.Version)
	l.eventually("the end of the newer program", func() bool { return running(other) == 0 })
	l.flux("reconcile", "kustomization", "flux-system", "--with-source")
	if now := l.after(); now != before {
		l.Errorf("what had been applied was written again: version %s, then %s", before, now)
	}
}

// after is the version of an object that no commit has changed since it was made.
func (l *lab) after() string {
	l.Helper()
	cm, err := l.client.CoreV1().ConfigMaps("default").Get(l.Context(), "after", metav1.GetOptions{})
	if err != nil {
		l.Fatal(err)
	}
	return cm.ResourceVersion
}

// runs waits until the controllers are of a version, and nothing else.
func (l *lab) runs(version string) {
	l.Helper()
	l.eventually("controllers of version "+version, func() bool {
		for _, name := range []string{"source-controller", "kustomize-controller"} {
			d := l.deployment(name)
			if !strings.HasSuffix(d.Spec.Template.Spec.Containers[0].Image, ":"+version) || d.Status.ObservedGeneration != d.Generation ||
				d.Status.UpdatedReplicas != 1 || d.Status.Replicas != 1 || d.Status.ReadyReplicas != 1 {
				return false
			}
		}
		return true
	})
}

// running counts the processes of an executable.
func running(program string) (n int) {
	links, _ := filepath.Glob("/proc/[0-9]*/exe")
	for _, link := range links {
		if target, err := os.Readlink(link); err == nil && target == program {
			n++
		}
	}
	return n
}

// TestBootstrapGitHub is the line that everybody knows, against the contract of GitHub: the repository
// is made, the cluster follows it with a deploy key, and a second run commits nothing.
func TestBootstrapGitHub(t *testing.T) {
	l := newLab(t)
	server, err := githost.Start(githost.Options{Kind: "github", Root: filepath.Join(l.dir, "git"), Token: "canary-token", User: "my-github-username"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { server.Close() })
	t.Setenv("GITHUB_TOKEN", "canary-token")
	args := []string{"bootstrap", "github", "--owner=my-github-username", "--repository=my-cluster-config", "--branch=main", "--path=clusters/production", "--personal",
		"--hostname=" + server.Hostname(), "--ssh-hostname=" + server.SSHHostname(), "--ca-file=" + l.file("ca.crt", server.CA()), components}
	said := l.flux(args...)
	page := "https://" + server.Hostname() + "/my-github-username/my-cluster-config"
	contains(t, said, "► connecting to "+server.Hostname()+"\n✔ repository \""+page+"\" created\n► cloning branch \"main\" from Git repository \""+page+".git\"\n",
		"✔ public key: ecdsa-sha2-nistp384 ", "✔ configured deploy key \"flux-system-main-flux-system-./clusters/production\" for \""+page+"\"\n", "✔ all components are healthy\n")
	repo, err := server.Repo("my-github-username/my-cluster-config")
	if err != nil {
		t.Fatal(err)
	}
	head := show(t, repo, "rev-parse", "main")
	if sync := show(t, repo, "show", "main:clusters/production/flux-system/gotk-sync.yaml"); !strings.Contains(sync, "url: ssh://git@"+server.SSHHostname()+"/my-github-username/my-cluster-config\n") {
		t.Errorf("gotk-sync.yaml:\n%s", sync)
	}
	again := l.flux(args...)
	contains(t, again, "✔ component manifests are up to date\n", "✔ source secret up to date\n", "✔ sync manifests are up to date\n", "✔ all components are healthy\n")
	if now := show(t, repo, "rev-parse", "main"); now != head {
		t.Errorf("a second run has committed: %s", show(t, repo, "log", "-p", "-1", "main"))
	}
	if text := said + again + show(t, repo, "grep", "-h", "-e", "", "main"); strings.Contains(text, "canary-token") || strings.Contains(text, "PRIVATE KEY") {
		t.Error("a credential is told, or committed")
	}
	for _, v := range server.Violations() {
		t.Errorf("contract of GitHub: %s", v)
	}
	if got := fmt.Sprint(server.Calls()); got != "[POST /user/repos POST /repos/my-github-username/my-cluster-config/keys]" {
		t.Errorf("calls: %s", got)
	}
	// The same repository with the token instead of the key: the Secret and the address change.
	said = l.flux(append(args, "--token-auth")...)
	contains(t, said, "✔ component manifests are up to date\n", "► applying source secret", "✔ committed sync manifests", "✔ GitRepository reconciled successfully\n")
	said = l.flux(args...) // and back
	contains(t, said, "✔ source secret up to date\n", "✔ committed sync manifests", "✔ GitRepository reconciled successfully\n")
}
