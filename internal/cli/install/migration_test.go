package install_test

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/wait"

	"github.com/gitops-toolkit/flux/internal/install"
	"github.com/gitops-toolkit/flux/internal/version"
	"github.com/gitops-toolkit/flux/test/servers/githost"
)

// migrates goes from upstream's bundle to ours and back, and once more, by the lines of docs/migration.md, and sees that
// nothing is applied anew. Upstream's bootstrap is played by the commit that it makes.
func (l *lab) migrates(ready []string) {
	l.Helper()
	guide, err := os.ReadFile("../../../docs/migration.md")
	if err != nil {
		l.Fatal(err)
	}
	checkout := filepath.Join(l.TempDir(), "checkout")
	if out, err := exec.Command("git", "clone", "-q", l.url, checkout).CombinedOutput(); err != nil {
		l.Fatalf("git clone: %v\n%s", err, out)
	}
	host, err := githost.Start(githost.Options{Kind: "github", Root: filepath.Join(l.TempDir(), "host"), Token: "canary-token", User: "jo", Orgs: []string{"my-org"}})
	if err != nil {
		l.Fatal(err)
	}
	l.Cleanup(func() { host.Close() })
	ca := filepath.Join(l.TempDir(), "ca.crt")
	if err := os.WriteFile(ca, host.CA(), 0o600); err != nil {
		l.Fatal(err)
	}
	l.Setenv("GITHUB_TOKEN", "canary-token")
	l.Setenv("HOME", l.TempDir())
	extra := "--components-extra=" + strings.Join(install.ExtraComponents, ",")
	options := map[string][]string{
		"install":   {extra},
		"bootstrap": {extra, "--hostname=" + host.Hostname(), "--ssh-hostname=" + host.SSHHostname(), "--ca-file=" + ca},
	}
	ours := func(string) string { return version.Version }
	upstreams := func(name string) string { return version.Upstream[name] }

	before := l.applies()
	l.follow(strings.ReplaceAll(string(guide), "--root=.", "--root="+checkout), "Look first", 4, options)
	l.follow(string(guide), "An installation without Git", 2, options)
	l.unchanged("ours", ours, before, ready)
	l.follow(string(guide), "A bootstrapped cluster", 2, options)
	fleet, err := host.Repo("my-org/fleet")
	if err != nil {
		l.Fatal(err)
	}
	const dir = "clusters/production/flux-system/"
	l.follow(string(guide), "Back", 1, options)
	bundle, kustomization := l.upstreamsBundle()
	kustomization += "resources: [gotk-components.yaml, gotk-sync.yaml]\n"
	if _, err := fleet.Commit(map[string]string{dir + "gotk-components.yaml": bundle, dir + "kustomization.yaml": kustomization}, "Upstream's bootstrap"); err != nil {
		l.Fatal(err)
	}
	l.flux("reconcile", "source", "git", "flux-system")
	l.unchanged("upstream's again", upstreams, before, ready)
	l.follow(string(guide), "A bootstrapped cluster", 2, options)
	l.unchanged("ours again", ours, before, ready)
	if kept, err := fleet.Git(nil, "show", "main:"+dir+"kustomization.yaml"); err != nil || kept != strings.TrimSpace(kustomization) {
		l.Errorf("the kustomization.yaml became\n%s, %v", kept, err)
	}
}

// follow runs the lines of a section of a guide. What options says of a word is what the bundle before had been given, and
// where the host is.
func (l *lab) follow(guide, section string, count int, options map[string][]string) {
	l.Helper()
	_, text, _ := strings.Cut(guide, "\n## "+section+"\n")
	text, _, _ = strings.Cut(text, "\n## ")
	for line := range strings.Lines(text) {
		command, ok := strings.CutPrefix(line, "$ flux ")
		if !ok {
			continue
		}
		count--
		command, _, _ = strings.Cut(command, " >")
		args := strings.Fields(command)
		l.flux(append(args, options[args[0]]...)...)
	}
	if count != 0 {
		l.Fatalf("docs/migration.md: %q has changed: read it again and change this test", section)
	}
}

// applies are the versions of what the controllers have applied, and the records of the release.
func (l *lab) applies() (versions []string) {
	l.Helper()
	for _, name := range []string{"applied", "generated", "released"} {
		cm, err := l.client.CoreV1().ConfigMaps("default").Get(l.Context(), name, metav1.GetOptions{})
		if err != nil {
			l.Fatal(err)
		}
		versions = append(versions, name+" "+cm.ResourceVersion)
	}
	web, err := l.client.AppsV1().Deployments("default").Get(l.Context(), "web", metav1.GetOptions{})
	if err != nil {
		l.Fatal(err)
	}
	records, err := l.client.CoreV1().Secrets(namespace).List(l.Context(), metav1.ListOptions{LabelSelector: "owner=helm"})
	if err != nil {
		l.Fatal(err)
	}
	for _, r := range records.Items {
		versions = append(versions, r.Name+" "+r.ResourceVersion)
	}
	return append(versions, fmt.Sprint("web ", web.Generation))
}

// run waits until all controllers are of the tags that are given, and nothing else.
func (l *lab) run(whose string, tag func(component string) string) {
	l.Helper()
	missing := ""
	err := wait.PollUntilContextTimeout(l.Context(), 200*time.Millisecond, 3*time.Minute, true, func(context.Context) (bool, error) {
		missing = ""
		for _, d := range l.deployments() {
			image := d.Spec.Template.Spec.Containers[0].Image
			if !strings.HasSuffix(image, d.Name+":"+tag(d.Name)) || d.Status.ObservedGeneration != d.Generation ||
				d.Status.UpdatedReplicas != 1 || d.Status.Replicas != 1 || d.Status.ReadyReplicas != 1 {
				missing += fmt.Sprintf("%s of %s: %+v\n", d.Name, image, d.Status)
			}
		}
		return missing == "", nil
	})
	if err != nil {
		l.Fatalf("%s controllers do not run: %v\n%s%s", whose, err, missing, l.logs())
	}
}

// unchanged waits until the controllers of a bundle have looked at everything.
func (l *lab) unchanged(whose string, tag func(component string) string, before, ready []string) {
	l.Helper()
	l.run(whose, tag)
	l.leases(slices.Concat(install.DefaultComponents, install.ExtraComponents))
	for _, name := range ready {
		kind, object, _ := strings.Cut(name, "/")
		if word := map[string]string{"GitRepository": "source git", "Kustomization": "kustomization", "HelmRelease": "helmrelease"}[kind]; word != "" {
			l.flux(append(append([]string{"reconcile"}, strings.Fields(word)...), object)...)
		}
		l.becomesReady(name)
	}
	if now := l.applies(); !slices.Equal(now, before) {
		l.Errorf("under %s controllers it was applied anew:\n%v, before\n%v", whose, now, before)
	}
}
