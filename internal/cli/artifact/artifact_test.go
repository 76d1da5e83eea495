package artifact

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/spf13/cobra"

	"github.com/gitops-toolkit/flux/internal/artifact/unpack"
	"github.com/gitops-toolkit/flux/internal/cli/session"
	"github.com/gitops-toolkit/flux/internal/registry"
	"github.com/gitops-toolkit/flux/internal/registry/registrytest"
)

// flux runs a command and returns what it printed.
func flux(t *testing.T, stdin string, args ...string) (stdout, stderr string, err error) {
	t.Helper()
	t.Setenv("DOCKER_CONFIG", t.TempDir())
	var out, log bytes.Buffer
	s := session.New(strings.NewReader(stdin), &out, &log)
	root := &cobra.Command{Use: "flux", SilenceErrors: true, SilenceUsage: true}
	s.AddFlags(root.PersistentFlags())
	Add(s, root)
	root.SetArgs(args)
	err = root.ExecuteContext(context.Background())
	return out.String(), log.String(), err
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// tree writes files with the modes of the recorded run, whatever the umask is.
func tree(t *testing.T, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	must(t, os.Chmod(dir, 0o755))
	for name, text := range files {
		path := filepath.Join(dir, filepath.FromSlash(name))
		for d := filepath.Dir(path); len(d) > len(dir); d = filepath.Dir(d) {
			must(t, os.MkdirAll(d, 0o755))
			must(t, os.Chmod(d, 0o755))
		}
		must(t, os.WriteFile(path, []byte(text), 0o644))
		must(t, os.Chmod(path, 0o644))
	}
	return dir
}

var recordedFiles = map[string]string{
	"manifests/cm.yaml": "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: from-oci, namespace: apps}\ndata: {k: v}\n",
	"readme.txt":        "text\n",
}

// recordedArchive is the digest of what upstream made of recordedFiles, as a layer and with `flux build artifact`.
const recordedArchive = "sha256:fbdb404e7cbc9de0a9582ee3396cd41288c7dce30b53813cf6d830d0104d91b0"

func TestSameBytesAsRecorded(t *testing.T) {
	out := filepath.Join(t.TempDir(), "artifact.tgz")
	_, _, err := flux(t, "", "build", "artifact", "--path", tree(t, recordedFiles), "--output", out)
	must(t, err)
	if digest, _, err := registry.DigestFile(out); err != nil || digest != recordedArchive {
		t.Errorf("digest %s, %v; want %s", digest, err, recordedArchive)
	}
	file := filepath.Join(tree(t, recordedFiles), "readme.txt")
	_, _, err = flux(t, "", "build", "artifact", "--path", file, "--output", out)
	must(t, err)
	if digest, _, err := registry.DigestFile(out); err != nil || digest != "sha256:d857350e5db279aefa6d73552b343baaf61334dd8447a260e5923d8e982b6b9c" {
		t.Errorf("of one file: digest %s, %v", digest, err)
	}
	server := registrytest.Start(t, registrytest.Options{})
	_, log, err := flux(t, "", "push", "artifact", server.URL("manifests")+":v1.0.0", "--path", tree(t, recordedFiles),
		"--source", "http://127.0.0.1:5001/fleet.git", "--revision", "main@sha1:5ed6448997b0625359abec8dd8cefd3a2503e86f", "--reproducible", "-a", "org.example/key=value")
	must(t, err)
	if want := "@sha256:e02e5ddc97253fc9e18ed1574bd5acbb42bf472641b0c926d5f2912ede0cb86b\n"; !strings.HasSuffix(log, want) {
		t.Errorf("pushed %s, want %s", log, want)
	}
}

// entries of an archive with their content, directories left out.
func entries(t *testing.T, path string) map[string]string {
	t.Helper()
	f, err := os.Open(path)
	must(t, err)
	defer f.Close()
	dir := t.TempDir()
	result, err := unpack.Layer(context.Background(), f, dir, unpack.Limits{})
	must(t, err)
	out := map[string]string{}
	for _, file := range result.Files {
		data, err := os.ReadFile(filepath.Join(dir, file.Path))
		must(t, err)
		out[file.Path] = string(data)
	}
	return out
}

func TestBuild(t *testing.T) {
	dir := tree(t, map[string]string{"a.yaml": "a", "logo.png": "x", ".git/config": "x", "sub/b.yaml": "b", "sub/skip.txt": "x"})
	outside := tree(t, map[string]string{"linked.yaml": "linked"})
	must(t, os.Symlink(filepath.Join(outside, "linked.yaml"), filepath.Join(dir, "link.yaml")))
	must(t, os.Symlink(outside, filepath.Join(dir, "linkdir")))
	out := filepath.Join(dir, "artifact.tgz") // among the files
	for _, tt := range []struct {
		reason string
		args   []string
		want   string
	}{
		{"version control, pictures and links stay out", nil, "a.yaml sub/b.yaml sub/skip.txt"},
		{"more to leave out", []string{"--add-ignore-paths", "*.txt,/a.yaml"}, "sub/b.yaml"},
		{"another list", []string{"--ignore-paths", "*.yaml,.git/"}, "logo.png sub/skip.txt"},
		{"links are followed when asked to", []string{"--resolve-symlinks"}, "a.yaml link.yaml linkdir/linked.yaml sub/b.yaml sub/skip.txt"},
	} {
		_, _, err := flux(t, "", append([]string{"build", "artifact", "--path", dir, "--output", out}, tt.args...)...)
		must(t, err)
		got := entries(t, out)
		names := strings.Fields(tt.want)
		if len(got) != len(names) {
			t.Errorf("%s: %v, want %v", tt.reason, got, names)
		}
		for _, name := range names {
			if _, ok := got[name]; !ok {
				t.Errorf("%s: %s is missing", tt.reason, name)
			}
		}
	}
	must(t, os.Symlink(dir, filepath.Join(dir, "sub", "loop")))
	if _, _, err := flux(t, "", "build", "artifact", "--path", dir, "--output", out, "--resolve-symlinks"); err == nil || !strings.Contains(err.Error(), "link to a directory that it is in") {
		t.Errorf("a loop of links: %v", err)
	}
	first := filepath.Join(t.TempDir(), "1.tgz")
	_, _, err := flux(t, "k: v\n\n", "build", "artifact", "--path", "-", "--output", first)
	must(t, err)
	for name, text := range entries(t, first) {
		if !strings.HasSuffix(name, ".yaml") || text != "k: v" {
			t.Errorf("of standard input: %s %q", name, text)
		}
	}
	if info, err := os.Stat(first); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("others may read the archive: %v, %v", info, err)
	}
}

// TestThereAndBack pushes, compares, and pulls over what is there.
func TestThereAndBack(t *testing.T) {
	server := registrytest.Start(t, registrytest.Options{Users: map[string]string{"robot": "secret-canary"}})
	dir, url := tree(t, recordedFiles), server.URL("app")
	creds := []string{"--creds", "robot:secret-canary"}
	run := func(args ...string) (string, string, error) { return flux(t, "", append(args, creds...)...) }
	stdout, _, err := run("push", "artifact", url, "--path", dir, "--source", "s", "--revision", "r", "-o", "yaml")
	must(t, err)
	if !strings.Contains(stdout, "tag: latest\n") || !strings.Contains(stdout, "url: "+url+"@sha256:") {
		t.Errorf("yaml: %s", stdout)
	}
	_, log, err := run("diff", "artifact", url, "--path", dir)
	if err != nil || log != "✔ no changes detected\n" {
		t.Errorf("%s, %v", log, err)
	}
	must(t, os.WriteFile(filepath.Join(dir, "readme.txt"), []byte("changed"), 0o644))
	if _, _, err = run("diff", "artifact", url, "--path", dir); !errors.Is(err, errDiffers) {
		t.Errorf("a change: %v", err)
	}
	out, outside := t.TempDir(), filepath.Join(t.TempDir(), "outside")
	must(t, os.WriteFile(outside, []byte("untouched"), 0o600))
	must(t, os.Symlink(outside, filepath.Join(out, "readme.txt")))
	_, _, err = run("pull", "artifact", url, "--output", out)
	must(t, err)
	for name, text := range recordedFiles {
		if got, err := os.ReadFile(filepath.Join(out, name)); err != nil || string(got) != text {
			t.Errorf("%s: %q, %v", name, got, err)
		}
	}
	if got, err := os.ReadFile(outside); err != nil || string(got) != "untouched" {
		t.Errorf("pull wrote through a link: %q, %v", got, err)
	}
	must(t, os.RemoveAll(filepath.Join(out, "manifests")))
	must(t, os.Symlink(filepath.Dir(outside), filepath.Join(out, "manifests")))
	if _, _, err = run("pull", "artifact", url, "--output", out); err == nil {
		t.Error("pull wrote into a directory that a link leads out to")
	}
	_, _, err = flux(t, "", "pull", "artifact", url, "--output", out, "--creds", "robot:wrong-canary")
	if !errors.Is(err, registry.ErrAuthentication) || strings.Contains(err.Error(), "canary") {
		t.Errorf("a wrong password: %v", err)
	}
}

// TestDockerConfig takes the login from where docker keeps it.
func TestDockerConfig(t *testing.T) {
	server := registrytest.Start(t, registrytest.Options{Users: map[string]string{"robot": "secret-canary"}, Tokens: true})
	dir := t.TempDir()
	must(t, os.WriteFile(filepath.Join(dir, "config.json"), []byte(`{"auths":{"`+server.Host+`":{"username":"robot","password":"secret-canary"}}}`), 0o600))
	l, err := registry.ParseLocation(server.URL("app"))
	must(t, err)
	t.Setenv("DOCKER_CONFIG", dir)
	repo, err := (&remoteFlags{provider: generic}).open(context.Background(), l)
	must(t, err)
	if _, err := repo.Digest(context.Background(), "v1"); !errors.Is(err, registry.ErrNotFound) {
		t.Error(err)
	}
}

func TestHostileArtifact(t *testing.T) {
	server := registrytest.Start(t, registrytest.Options{})
	data := registrytest.Tar(t, []tar.Header{{Typeflag: tar.TypeReg, Name: "../up", Mode: 0o644}}, nil)
	server.Push(t, "app", "evil", nil, registrytest.Layer{MediaType: registry.ContentMediaType, Data: data})
	out := filepath.Join(t.TempDir(), "out")
	must(t, os.Mkdir(out, 0o755))
	if _, _, err := flux(t, "", "pull", "artifact", server.URL("app")+":evil", "--output", out); !errors.Is(err, unpack.ErrUnsafe) {
		t.Error(err)
	}
	if _, err := os.Stat(filepath.Join(filepath.Dir(out), "up")); err == nil {
		t.Error("a file was written outside of the directory")
	}
}

func TestList(t *testing.T) {
	server := registrytest.Start(t, registrytest.Options{})
	layer := registrytest.Archive(t, map[string]string{"a": "b"})
	for _, tag := range []string{"v1.0.0", "v1.1.0", "dev", "sha256-abc.sig", "sha256-abc.att", "sha256-abc.sbom"} {
		server.Push(t, "app", tag, map[string]string{registry.AnnotationSource: "https://example.com"}, layer)
	}
	stdout, _, err := flux(t, "", "list", "artifacts", server.URL("app"))
	must(t, err)
	var tags []string
	for line := range strings.Lines(stdout) {
		tag, _, _ := strings.Cut(line, "\t")
		tags = append(tags, strings.TrimSpace(tag[strings.LastIndex(tag, ":")+1:]))
	}
	if got := strings.Join(tags, " "); got != "ARTIFACT v1.1.0 v1.0.0 dev" {
		t.Errorf("listed %s", got)
	}
}

func TestBadArguments(t *testing.T) {
	digest := "sha256:" + strings.Repeat("0", 64)
	for _, tt := range []struct {
		args []string
		want string
	}{
		{[]string{"push", "artifact"}, "artifact URL is required"},
		{[]string{"push", "artifact", "oci://a.b/c@" + digest, "--source", "s", "--revision", "r", "--path", "."}, "an artifact is pushed to a tag"},
		{[]string{"push", "artifact", "oci://a.b/c", "--source", "s", "--revision", "r", "--path", ".", "-a", "x"}, "invalid annotation 'x'"},
		{[]string{"push", "artifact", "oci://a.b/c", "--source", "s", "--revision", "r", "--path", ".", "-o", "xml"}, "neither json nor yaml"},
		{[]string{"push", "artifact", "oci://a.b/c", "--source", "s", "--revision", "r", "--path", ".", "--provider", "aws"}, "invalid AWS registry: 'a.b'"},
		{[]string{"list", "artifacts", "oci://a.b/c", "--provider", "other"}, "is none of generic, aws, azure, gcp"},
		{[]string{"list", "artifacts", "oci://a.b/c", "--filter-regex", "("}, "--filter-regex"},
		{[]string{"pull", "artifact", "oci://a.b/c"}, "output path cannot be empty"},
		{[]string{"tag", "artifact", "oci://a.b/../c", "--tag", "x"}, "invalid URL"},
	} {
		if _, _, err := flux(t, "", tt.args...); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%v: %v, want %q", tt.args, err, tt.want)
		}
	}
}

// TestPullChart unpacks a chart that helm pushed, which has a layer of its own kind and maybe a provenance beside it.
func TestPullChart(t *testing.T) {
	server := registrytest.Start(t, registrytest.Options{})
	content := registrytest.Archive(t, map[string]string{"app/Chart.yaml": "name: app\n", "app/templates/cm.yaml": "kind: ConfigMap\n"})
	content.MediaType = registry.HelmContentMediaType
	server.Push(t, "charts/app", "1.2.3_b1", nil, content, registrytest.Layer{MediaType: "application/vnd.cncf.helm.chart.provenance.v1.prov", Data: []byte("signed")})
	out := t.TempDir()
	_, log, err := flux(t, "", "pull", "artifact", server.URL("charts/app")+":1.2.3_b1", "--output", out)
	must(t, err)
	if text, err := os.ReadFile(filepath.Join(out, "app", "Chart.yaml")); err != nil || string(text) != "name: app\n" {
		t.Errorf("%q, %v: %s", text, err, log)
	}
}
