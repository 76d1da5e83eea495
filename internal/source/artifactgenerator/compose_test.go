package artifactgenerator

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	extensionsv1 "github.com/gitops-toolkit/flux/api/extensions/v1beta1"
	"github.com/gitops-toolkit/flux/api/meta"
	"github.com/gitops-toolkit/flux/internal/artifact"
	"github.com/gitops-toolkit/flux/internal/artifact/archive"
	"github.com/gitops-toolkit/flux/internal/artifact/cache"
	"github.com/gitops-toolkit/flux/internal/testenv/sealed"
)

// local offers archives by digest.
type local map[artifact.Digest][]byte

// Fetch implements cache.Fetcher.
func (l local) Fetch(_ context.Context, ref artifact.Ref, f *os.File) error {
	_, err := f.Write(l[ref.Digest])
	return err
}

// tarball makes an archive of files; a name that ends in @ is a link.
func tarball(t *testing.T, files map[string]string) []byte {
	t.Helper()
	var out bytes.Buffer
	z := gzip.NewWriter(&out)
	w := tar.NewWriter(z)
	for _, name := range slices.Sorted(maps.Keys(files)) {
		h := &tar.Header{Name: name, Mode: 0o644, Size: int64(len(files[name])), Typeflag: tar.TypeReg}
		if strings.HasSuffix(name, ".sh") {
			h.Mode = 0o755
		}
		if link, ok := strings.CutSuffix(name, "@"); ok {
			h = &tar.Header{Name: link, Linkname: files[name], Typeflag: tar.TypeSymlink}
		}
		if err := w.WriteHeader(h); err != nil {
			t.Fatal(err)
		}
		if h.Typeflag == tar.TypeReg {
			if _, err := w.Write([]byte(files[name])); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

// unpacked returns trees of the sources.
func unpacked(t *testing.T, sources map[string]map[string]string) map[string]*cache.Tree {
	t.Helper()
	blobs := local{}
	c, err := cache.Open(cache.Options{Dir: filepath.Join(sealed.TempDir(t), "cache"), Fetcher: blobs})
	if err != nil {
		t.Fatal(err)
	}
	trees := map[string]*cache.Tree{}
	for alias, files := range sources {
		data := tarball(t, files)
		digest := artifact.DigestOf(artifact.SHA256, data)
		blobs[digest] = data
		if trees[alias], err = c.Acquire(context.Background(), artifact.Ref{Digest: digest}); err != nil {
			t.Fatal(err)
		}
	}
	t.Cleanup(func() {
		release(trees)
		_ = c.Close()
	})
	return trees
}

func contents(t *testing.T, tree *archive.ListTree) map[string]string {
	t.Helper()
	out := map[string]string{}
	for _, name := range tree.Paths() {
		f, _ := tree.File(name)
		body, err := f.Open()
		if err != nil {
			t.Fatal(err)
		}
		text, err := io.ReadAll(body)
		if err != nil {
			t.Fatal(err)
		}
		_ = body.Close()
		if int64(len(text)) != f.Size {
			t.Errorf("%s has %d bytes, its entry says %d", name, len(text), f.Size)
		}
		out[name] = string(text)
	}
	return out
}

// bomb are lists of lists, each ten times as long as the one before.
func bomb() string {
	var b strings.Builder
	for c := 'b'; c < 'k'; c++ {
		fmt.Fprintf(&b, "%c: &%c [%s]\n", c, c, strings.TrimSuffix(strings.Repeat(fmt.Sprintf("*%c, ", c-1), 10), ", "))
	}
	return b.String()
}

func TestCopies(t *testing.T) {
	t.Parallel()
	chart := string(tarball(t, map[string]string{"podinfo/Chart.yaml": "name: podinfo\n", "podinfo/run.sh": "x"}))
	trees := unpacked(t, map[string]map[string]string{
		"s": {
			"top.yaml": "top", "configs/a.yaml": "a: 1\nm:\n  x: 1\n  y: [1]\n", "configs/b.json": `{"b": 1}`, "configs/deep/c.yaml": "c",
			"apps/one/k.yaml": "1", "apps/one/base/d.yaml": "d", "apps/two/k.yaml": "2", "docs/README.md": "doc", "run.sh": "#!",
			"charts/podinfo.tgz": chart, "charts/more/x.TAR.GZ": chart, "logo.png": "png", "configs/not.yaml": "- list\n",
			"odd.yaml":  "# said\nv: 1\nver: 1.10\nday: 2026-01-02\non: \"on\"\nempty:\nb: &b {k: no, mode: 0644}\nc: {<<: *b, k: yes}\nlist: [*b]\ntext: |\n  a\n  b\n",
			"bomb.yaml": "a: &a [x, x, x, x, x, x, x, x, x, x]\n" + bomb(), "self.yaml": "a: &a\n  b: *a\n", "twice.yaml": "a: 1\na: 2\n",
		},
		"o": {"a.yaml": "m:\n  x: 2\n---\nz: 1\nm:\n  y: [2]\n", "values.yaml": "v: 2\n", "evil.tgz": string(tarball(t, map[string]string{"l@": "/etc/passwd", "a": "a"}))},
	})
	op := func(from, to string, exclude ...string) extensionsv1.CopyOperation {
		return extensionsv1.CopyOperation{From: from, To: to, Exclude: exclude}
	}
	with := func(o extensionsv1.CopyOperation, strategy string) extensionsv1.CopyOperation {
		o.Strategy = strategy
		return o
	}
	tests := []struct {
		reason string
		copy   []extensionsv1.CopyOperation
		want   []string // paths, or path=content
		err    string
	}{
		{"a file to a name", []extensionsv1.CopyOperation{op("@s/top.yaml", "@artifact/x/y.yaml")}, []string{"x/y.yaml=top"}, ""},
		{"a file into a directory", []extensionsv1.CopyOperation{op("@s/top.yaml", "@artifact/x/")}, []string{"x/top.yaml"}, ""},
		{"a file to the root", []extensionsv1.CopyOperation{op("@s/top.yaml", "@artifact/")}, []string{"top.yaml"}, ""},
		{"a file into a directory that is there", []extensionsv1.CopyOperation{op("@s/apps/one/**", "@artifact/d"), op("@s/top.yaml", "@artifact/d")}, []string{"d/base/d.yaml", "d/k.yaml", "d/top.yaml"}, ""},
		{"a directory as a sub directory", []extensionsv1.CopyOperation{op("@s/apps/one/", "@artifact/d/")}, []string{"d/one/base/d.yaml", "d/one/k.yaml"}, ""},
		{"the root", []extensionsv1.CopyOperation{op("@o/", "@artifact/all/", "*.tgz")}, []string{"all/a.yaml", "all/values.yaml"}, ""},
		{"below a directory", []extensionsv1.CopyOperation{op("@s/apps/**", "@artifact/")}, []string{"one/base/d.yaml", "one/k.yaml", "two/k.yaml"}, ""},
		{"a glob keeps its path, one level for each star", []extensionsv1.CopyOperation{op("@s/configs/*.yaml", "@artifact/to/", "not.yaml")}, []string{"to/configs/a.yaml"}, ""},
		{"two stars in the middle count as one", []extensionsv1.CopyOperation{op("@s/apps/**/k.yaml", "@artifact/")}, []string{"apps/one/k.yaml=1", "apps/two/k.yaml=2"}, ""},
		{"later wins", []extensionsv1.CopyOperation{op("@s/top.yaml", "@artifact/v.yaml"), op("@o/values.yaml", "@artifact/v.yaml")}, []string{"v.yaml=v: 2\n"}, ""},
		{"an excluded directory is not entered", []extensionsv1.CopyOperation{op("@s/apps/**", "@artifact/", "one/base", "**/two/**")}, []string{"one/k.yaml"}, ""},
		{"an exclude from the root of the source", []extensionsv1.CopyOperation{op("@s/apps/**", "@artifact/", "apps/one/**")}, []string{"two/k.yaml"}, ""},
		{"alternatives", []extensionsv1.CopyOperation{op("@s/configs/*", "@artifact/", "*.{json,md}", "deep", "not*")}, []string{"configs/a.yaml"}, ""},
		{"merge", []extensionsv1.CopyOperation{op("@s/configs/a.yaml", "@artifact/a.yaml"), with(op("@o/a.yaml", "@artifact/a.yaml"), "Merge")},
			[]string{"a.yaml=a: 1\nm:\n  x: 2\n  y:\n    - 2\nz: 1\n"}, ""},
		{"what is merged by nobody means the same afterwards", []extensionsv1.CopyOperation{op("@s/odd.yaml", "@artifact/a.yaml"), with(op("@o/values.yaml", "@artifact/a.yaml"), "Merge")},
			[]string{"a.yaml=b:\n  k: no\n  mode: 0644\nc:\n  k: yes\n  mode: 0644\nday: 2026-01-02\nempty:\nlist:\n  - k: no\n    mode: 0644\non: \"on\"\ntext: |\n  a\n  b\nv: 2\nver: 1.10\n"}, ""},
		{"a bomb of aliases", []extensionsv1.CopyOperation{op("@s/bomb.yaml", "@artifact/a.yaml"), with(op("@o/values.yaml", "@artifact/a.yaml"), "Merge")}, nil, "come to too much"},
		{"an alias of itself", []extensionsv1.CopyOperation{op("@s/self.yaml", "@artifact/a.yaml"), with(op("@o/values.yaml", "@artifact/a.yaml"), "Merge")}, nil, "a.yaml"},
		{"a key twice", []extensionsv1.CopyOperation{op("@s/twice.yaml", "@artifact/a.yaml"), with(op("@o/values.yaml", "@artifact/a.yaml"), "Merge")}, nil, "the key 'a' is there twice"},
		{"merge into nothing", []extensionsv1.CopyOperation{with(op("@o/values.yaml", "@artifact/a.yaml"), "Merge")}, []string{"a.yaml=v: 2\n"}, ""},
		{"merge takes JSON", []extensionsv1.CopyOperation{op("@s/configs/b.json", "@artifact/v"), with(op("@o/values.yaml", "@artifact/v"), "Merge")}, []string{"v=\"b\": 1\nv: 2\n"}, ""},
		{"merge of what is no map", []extensionsv1.CopyOperation{op("@s/configs/a.yaml", "@artifact/v"), with(op("@s/configs/not.yaml", "@artifact/v"), "Merge")}, nil, "not a YAML map"},
		{"extract", []extensionsv1.CopyOperation{with(op("@s/charts/podinfo.tgz", "@artifact/c/"), "Extract")}, []string{"c/podinfo/Chart.yaml=name: podinfo\n", "c/podinfo/run.sh"}, ""},
		{"extract what matches, whatever its depth and case", []extensionsv1.CopyOperation{with(op("@s/charts/**", "@artifact/"), "Extract")}, []string{"podinfo/Chart.yaml", "podinfo/run.sh"}, ""},
		{"extract a file", []extensionsv1.CopyOperation{with(op("@s/top.yaml", "@artifact/"), "Extract")}, nil, "extract strategy requires tarball file (.tar.gz or .tgz), got 'top.yaml'"},
		{"extract a directory", []extensionsv1.CopyOperation{with(op("@s/charts/", "@artifact/"), "Extract")}, nil, "got directory 'charts'"},
		{"extract a link", []extensionsv1.CopyOperation{with(op("@o/evil.tgz", "@artifact/"), "Extract")}, nil, "l"},
		{"no match", []extensionsv1.CopyOperation{op("@s/nothing/*.yaml", "@artifact/")}, nil, "no files match pattern 'nothing/*.yaml' in source 's'"},
		{"all excluded", []extensionsv1.CopyOperation{op("@s/docs/*", "@artifact/", "*.md")}, nil, "all files matching pattern 'docs/*' in source 's' were excluded"},
		{"missing", []extensionsv1.CopyOperation{op("@s/absent", "@artifact/")}, nil, "source 'absent' does not exist"},
		{"out of the source", []extensionsv1.CopyOperation{op("@s/../o", "@artifact/")}, nil, "holds '..'"},
		{"out of the artifact", []extensionsv1.CopyOperation{op("@s/top.yaml", "@artifact/../x")}, nil, "holds '..'"},
		{"a file where a directory is needed", []extensionsv1.CopyOperation{op("@s/top.yaml", "@artifact/x"), op("@s/top.yaml", "@artifact/x/y")}, nil, "is a file already"},
		{"a bad pattern", []extensionsv1.CopyOperation{op("@s/a[", "@artifact/")}, nil, "invalid glob pattern"},
	}
	for _, tt := range tests {
		t.Run(tt.reason, func(t *testing.T) {
			tree, err := compose(context.Background(), extensionsv1.OutputArtifact{Copy: tt.copy}, trees, func() (string, error) { return t.TempDir(), nil })
			if tt.err != "" {
				if err == nil || !strings.Contains(err.Error(), tt.err) {
					t.Fatalf("error %v, want one with %q", err, tt.err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			got := contents(t, tree)
			if len(got) != len(tt.want) {
				t.Errorf("holds %v", tree.Paths())
			}
			for _, want := range tt.want {
				name, text, hasText := strings.Cut(want, "=")
				if have, found := got[name]; !found || hasText && have != text {
					t.Errorf("%s holds %q (%t), all is %v", name, have, found, tree.Paths())
				}
			}
		})
	}
}

func TestPrunedNamesTheContent(t *testing.T) {
	t.Parallel()
	name := func(files map[string]string) (string, []string) {
		trees := unpacked(t, map[string]map[string]string{"s": files})
		all, err := compose(context.Background(), extensionsv1.OutputArtifact{Copy: []extensionsv1.CopyOperation{{From: "@s/a/**", To: "@artifact/"}}}, trees, nil)
		if err != nil {
			t.Fatal(err)
		}
		tree, id, err := pruned(all)
		if err != nil {
			t.Fatal(err)
		}
		return id, tree.Paths()
	}
	first, paths := name(map[string]string{"a/x.yaml": "1", "a/logo.png": "png", "b/y": "1"})
	if !slices.Equal(paths, []string{"x.yaml"}) {
		t.Errorf("the default exclusions leave %v", paths)
	}
	if same, _ := name(map[string]string{"a/x.yaml": "1", "b/y": "2"}); same != first {
		t.Error("a change elsewhere gives another name")
	}
	if other, _ := name(map[string]string{"a/x.yaml": "2"}); other == first {
		t.Error("another content has the same name")
	}
	if other, _ := name(map[string]string{"a/y.yaml": "1"}); other == first {
		t.Error("another path has the same name")
	}
}

func TestExpand(t *testing.T) {
	t.Parallel()
	trees := unpacked(t, map[string]map[string]string{"r": {
		"apps/Auth/envs/dev/k.yaml": "1", "apps/Auth/envs/prod/k.yaml": "1", "apps/pay/envs/dev/sub/k.yaml": "1", "apps/pay/readme": "x",
		"case/a/x": "", "case/A/x": "", "bad/-x-/y": "",
	}})
	spec := func(pattern, name string) extensionsv1.ArtifactGeneratorSpec {
		return extensionsv1.ArtifactGeneratorSpec{PathPattern: pattern, OutputArtifacts: []extensionsv1.OutputArtifact{{
			Name: name, Copy: []extensionsv1.CopyOperation{{From: "@r/apps/{app}/envs/{env}/**", To: "@artifact/{env}/", Exclude: []string{"{x}"}}},
		}}}
	}
	outputs, err := expand(spec("@r/apps/{app}/envs/{env}", "{app}-{env}"), views(trees))
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, o := range outputs {
		names = append(names, o.Name)
	}
	if !slices.Equal(names, []string{"auth-dev", "auth-prod", "pay-dev"}) {
		t.Fatalf("makes %v", names)
	}
	first := outputs[0]
	if first.labels["app"] != "auth" || first.labels["env"] != "dev" || first.Copy[0].From != "@r/apps/Auth/envs/dev/**" || first.Copy[0].To != "@artifact/dev/" {
		t.Errorf("rendered %+v", first)
	}
	for _, tt := range []struct{ pattern, name, err string }{
		{"@r/case/{x}", "n-{x}", `directories "case/A" and "case/a" both resolve to artifact name "n-a"`},
		{"@r/bad/{x}", "n", "is not a label value"},
		{"@r/apps/{app}", "{app}_x", "invalid artifact name"},
		{"@r/apps/{app}/envs/{app}", "{app}", "is used twice"},
		{"@r/apps/{}", "x", "neither a name nor a capture"},
		{"@r/apps/x{app}", "x", "neither a name nor a capture"},
		{"@r/apps/**", "x", "neither a name nor a capture"},
		{"@r/apps/{_app}", "x", "not a valid Kubernetes label key"},
		{"@other/apps/{app}", "x", "'other' is not found"},
	} {
		if _, err := expand(spec(tt.pattern, tt.name), views(trees)); err == nil || !strings.Contains(err.Error(), tt.err) {
			t.Errorf("%s gives the error %v, want %q", tt.pattern, err, tt.err)
		}
	}
	if none, err := expand(spec("@r/nothing/{x}", "{x}"), views(trees)); err != nil || len(none) != 0 {
		t.Errorf("no match gives %v, %v", none, err)
	}
}

// TestDigestOfSources is what upstream wrote in the recorded run.
func TestDigestOfSources(t *testing.T) {
	t.Parallel()
	one := func(alias, digest, revision, url string) source {
		s := source{alias: alias}
		s.artifact = newArtifact(digest, revision, url)
		return s
	}
	got := digestOf([]source{
		one("oci", "sha256:4e22d8e3868cfa673d085c9f7d52878c7a55a39a8be820fa2aa5b16a6d253d45", "v1.0.0@sha256:e02e5ddc97253fc9e18ed1574bd5acbb42bf472641b0c926d5f2912ede0cb86b",
			"http://127.0.0.1:19090/ocirepository/flux-system/manifests/sha256:e02e5ddc97253fc9e18ed1574bd5acbb42bf472641b0c926d5f2912ede0cb86b.tar.gz"),
		one("fleet", "sha256:0fea1f08336123984c0365c70a7ac9721e37be25e6c1829a8a3c855b27b266f5", "main@sha1:591cf67c8668fc0fd3c4a94a0a2d278d32c4f3bf",
			"http://127.0.0.1:19090/gitrepository/flux-system/fleet/591cf67c8668fc0fd3c4a94a0a2d278d32c4f3bf.tar.gz"),
	})
	if want := "sha256:2928aa4d4861a16d0910ce809ca3014d36be81c62b2da3c13589e91b9e48d2ec"; got != want {
		t.Errorf("digest of the sources %s, want %s", got, want)
	}
}

func FuzzGlobs(f *testing.F) {
	f.Add("**/a/**", "x/a/b", "{a,b}*")
	f.Fuzz(func(t *testing.T, pattern, name, exclude string) {
		level(pattern, name)
		deep(pattern, name)
		if e, err := newExcluder([]string{exclude}, ""); err == nil {
			e.excluded(name)
		}
		if clean, err := archive.CleanPath(name); err == nil && (clean == "" || strings.HasPrefix(clean, "/") || slices.Contains(strings.Split(clean, "/"), "..")) {
			t.Errorf("%q becomes %q", name, clean)
		}
	})
}

func newArtifact(digest, revision, url string) *meta.Artifact {
	return &meta.Artifact{Digest: digest, Revision: revision, URL: url}
}
