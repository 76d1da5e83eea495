package fleet

import (
	"bytes"
	"context"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"sigs.k8s.io/yaml"

	"github.com/gitops-toolkit/flux/internal/cli/kinds"
)

// maxManifest bounds a file that is read as a manifest, in bytes.
const maxManifest = 8 << 20

// tree is a copy of the repository, with stand-ins for what is encrypted in it.
type tree struct {
	dir string
	// docs are the objects of the toolkit that the files hold as plain YAML.
	docs []document
	// sealed are the files that hold stand-ins.
	sealed []string
	// urls are the addresses under which the repository is known.
	urls []string
}

// document is an object of the toolkit in a file.
type document struct {
	kinds.Ref
	file string // below the root, with slashes
	line int
	body map[string]any
}

// copyTree copies what Git would commit of a directory: all files that it tracks or would add. Without
// Git, every file.
func copyTree(ctx context.Context, from, to string) (*tree, error) {
	names, err := listFiles(ctx, from)
	if err != nil {
		return nil, err
	}
	t := &tree{dir: to}
	for _, name := range names {
		if err := t.add(from, filepath.ToSlash(name)); err != nil {
			return nil, err
		}
	}
	return t, nil
}

func listFiles(ctx context.Context, dir string) ([]string, error) {
	if _, err := os.Stat(filepath.Join(dir, ".git")); err == nil {
		out, err := exec.CommandContext(ctx, "git", "-C", dir, "ls-files", "-z", "--cached", "--others", "--exclude-standard").Output()
		if err == nil {
			names := strings.Split(strings.Trim(string(out), "\x00"), "\x00")
			return slices.DeleteFunc(slices.Compact(names), func(n string) bool { return n == "" }), nil
		}
	}
	var names []string
	err := filepath.WalkDir(dir, func(name string, entry fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case entry.IsDir() && entry.Name() == ".git":
			return filepath.SkipDir
		case entry.IsDir():
			return nil
		}
		rel, err := filepath.Rel(dir, name)
		names = append(names, rel)
		return err
	})
	return names, err
}

func (t *tree) add(from, name string) error {
	source, target := filepath.Join(from, name), filepath.Join(t.dir, name)
	info, err := os.Lstat(source)
	if os.IsNotExist(err) || err == nil && info.IsDir() {
		return nil // removed but tracked, or a submodule
	}
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(target), 0o700); err != nil {
		return err
	}
	if info.Mode()&fs.ModeSymlink != 0 {
		link, err := os.Readlink(source)
		if err != nil {
			return err
		}
		return os.Symlink(link, target)
	}
	content, err := os.ReadFile(source)
	if err != nil {
		return err
	}
	content, changed := unseal(name, content)
	if changed {
		t.sealed = append(t.sealed, name)
	}
	t.scan(name, content)
	return os.WriteFile(target, content, info.Mode().Perm()|0o600)
}

// scan notes the objects of the toolkit. What cannot be read is left to the controllers, which say so.
func (t *tree) scan(name string, content []byte) {
	if ext := path.Ext(name); ext != ".yaml" && ext != ".yml" || len(content) > maxManifest {
		return
	}
	if !bytes.Contains(content, []byte(".fluxcd.io/")) {
		return
	}
	line := 1
	for _, text := range bytes.SplitAfter(content, []byte("\n---")) {
		begin := line + leadingBlank(text)
		line += bytes.Count(text, []byte("\n"))
		var head struct {
			APIVersion string
			Kind       string
			Metadata   struct{ Name, Namespace string }
		}
		text = bytes.TrimSuffix(text, []byte("---"))
		if yaml.Unmarshal(text, &head) != nil || !strings.Contains(head.APIVersion, ".fluxcd.io/") {
			continue
		}
		k := kinds.ByKind(head.Kind)
		if k == nil || !strings.HasPrefix(head.APIVersion, k.Group+"/") {
			continue
		}
		d := document{Ref: kinds.Ref{Kind: k.Kind, Namespace: head.Metadata.Namespace, Name: head.Metadata.Name}, file: name, line: begin}
		if yaml.Unmarshal(text, &d.body) == nil {
			t.docs = append(t.docs, d)
		}
	}
}

// leadingBlank counts the lines before the first that says something.
func leadingBlank(text []byte) int {
	n := 0
	for line := range bytes.SplitSeq(text, []byte("\n")) {
		trimmed := bytes.TrimSpace(line)
		if len(trimmed) > 0 && trimmed[0] != '#' && !bytes.HasPrefix(trimmed, []byte("---")) {
			return n
		}
		n++
	}
	return 0
}

// at finds where an object is written, below a directory rather than elsewhere; "" when it is made by something else.
func (t *tree) at(ref kinds.Ref, cluster string) string {
	var near, all []string
	for _, d := range t.docs {
		if d.Kind != ref.Kind || d.Name != ref.Name || d.Namespace != "" && d.Namespace != ref.Namespace {
			continue
		}
		place := fmt.Sprintf("%s:%d", d.file, d.line)
		all = append(all, place)
		if covers(cluster, d.file) {
			near = append(near, place)
		}
	}
	for _, places := range [][]string{near, all} {
		if len(places) == 1 {
			return places[0]
		}
	}
	return "" // an overlay of several: nobody knows which
}

// has tells whether any file holds an object of one of the kinds.
func (t *tree) has(names ...string) bool {
	return slices.ContainsFunc(t.docs, func(d document) bool { return slices.Contains(names, d.Kind) })
}

// field reads a text in the body of a document.
func (d document) field(names ...string) string {
	var at any = d.body
	for _, name := range names {
		inner, ok := at.(map[string]any)
		if !ok {
			return ""
		}
		at = inner[name]
	}
	text, _ := at.(string)
	return text
}

// push makes the copy a commit in a repository of the sandbox's Git server.
func (t *tree) push(ctx context.Context, bare string) error {
	git := func(args ...string) error {
		cmd := exec.CommandContext(ctx, "git", append([]string{"-C", t.dir,
			"-c", "user.name=flux", "-c", "user.email=flux@localhost", "-c", "commit.gpgSign=false", "-c", "core.autocrlf=false",
			"-c", "core.hooksPath=/dev/null", "-c", "init.defaultBranch=" + branch}, args...)...)
		cmd.Env = append(os.Environ(), "GIT_TERMINAL_PROMPT=0")
		if out, err := cmd.CombinedOutput(); err != nil {
			return fmt.Errorf("git %s: %w: %s", args[0], err, bytes.TrimSpace(out))
		}
		return nil
	}
	for _, args := range [][]string{
		{"init", "-q", "-b", branch}, {"add", "-A", "-f", "."}, {"commit", "-q", "--allow-empty", "--no-verify", "-m", "The tree under test"},
		{"push", "-q", bare, branch + ":" + branch},
	} {
		if err := git(args...); err != nil {
			return err
		}
	}
	return nil
}

const branch = "main"
