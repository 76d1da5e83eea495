package git

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"
)

// Repo is one bare repository on disk. Its methods act on the directory itself, not through a server:
// they work in any process, and fire no webhooks.
type Repo struct {
	// Name is the path below the root without ".git".
	Name string
	// Dir is the directory of the bare repository.
	Dir string
}

// ErrExists is returned by Create for a repository that is there already.
var ErrExists = errors.New("repository exists")

var safeName = regexp.MustCompile(`^[A-Za-z0-9_][A-Za-z0-9_.-]*(/[A-Za-z0-9_][A-Za-z0-9_.-]*)*$`)

func repoName(path string) string { return strings.TrimSuffix(strings.Trim(path, "/"), ".git") }

func open(root, name string) (*Repo, error) {
	name = repoName(name)
	if !safeName.MatchString(name) {
		return nil, fmt.Errorf("repository name %q: letters, digits, '-', '_', '.' and '/' only", name)
	}
	return &Repo{Name: name, Dir: filepath.Join(root, filepath.FromSlash(name)+".git")}, nil
}

// Open opens the repository name below root; the error is fs.ErrNotExist if there is none.
func Open(root, name string) (*Repo, error) {
	r, err := open(root, name)
	if err != nil {
		return nil, err
	}
	if _, err := os.Stat(filepath.Join(r.Dir, "HEAD")); err != nil {
		return nil, err
	}
	return r, nil
}

// Create makes an empty repository below root with the given default branch ("" means main). Like the
// large hosts, it serves any commit by its hash and partial clones.
func Create(root, name, branch string) (*Repo, error) {
	r, err := open(root, name)
	if err != nil {
		return nil, err
	}
	if _, err := os.Stat(r.Dir); err == nil {
		return nil, fmt.Errorf("%s: %w", r.Name, ErrExists)
	}
	if branch == "" {
		branch = "main"
	}
	if err := os.MkdirAll(r.Dir, 0o755); err != nil {
		return nil, err
	}
	steps := [][]string{
		{"init", "--quiet", "--bare", "--initial-branch", branch, "."},
		{"config", "uploadpack.allowAnySHA1InWant", "true"},
		{"config", "uploadpack.allowFilter", "true"},
		{"config", "http.receivepack", "true"},
		{"config", "gc.auto", "0"},
	}
	for _, args := range steps {
		if _, err := r.Git(nil, args...); err != nil {
			return nil, err
		}
	}
	return r, nil
}

// List names the repositories below root, sorted.
func List(root string) (names []string, err error) {
	err = filepath.WalkDir(root, func(path string, d os.DirEntry, err error) error {
		if err != nil || !d.IsDir() || !strings.HasSuffix(path, ".git") {
			return err
		}
		rel, err := filepath.Rel(root, path)
		if err != nil {
			return err
		}
		names = append(names, repoName(filepath.ToSlash(rel)))
		return filepath.SkipDir
	})
	slices.Sort(names)
	return names, err
}

// Git runs the git binary in the repository and returns its output without the final newline.
func (r *Repo) Git(stdin io.Reader, args ...string) (string, error) {
	cmd := exec.Command("git", args...)
	cmd.Dir = r.Dir
	cmd.Env = environment()
	cmd.Stdin = stdin
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("git %s in %s: %w: %s", args[0], r.Name, err, bytes.TrimSpace(stderr.Bytes()))
	}
	return strings.TrimSuffix(string(out), "\n"), nil
}

// environment keeps the machine's own Git configuration out, and gives commits an author.
func environment() []string {
	return []string{
		"PATH=" + os.Getenv("PATH"), "HOME=/nonexistent", "LC_ALL=C",
		"GIT_CONFIG_NOSYSTEM=1", "GIT_CONFIG_GLOBAL=/dev/null", "GIT_TERMINAL_PROMPT=0",
		"GIT_AUTHOR_NAME=Test", "GIT_AUTHOR_EMAIL=test@example.com",
		"GIT_COMMITTER_NAME=Test", "GIT_COMMITTER_EMAIL=test@example.com",
	}
}

// Change describes a commit. Only Message is required.
type Change struct {
	// Branch gets the commit; "" is the default branch. It is created if missing.
	Branch string
	// Message is the commit message.
	Message string
	// Files are written: path to content.
	Files map[string]string
	// Executables are paths in Files that get the executable bit.
	Executables []string
	// Symlinks are written: path to link target.
	Symlinks map[string]string
	// Delete lists paths, files or directories, to remove.
	Delete []string
	// Replace starts from an empty tree instead of the parent's.
	Replace bool
	// From is the parent, any revision; "" is the branch's tip, if it exists.
	From string
	// Orphan makes a root commit. The branch is moved to it, whatever it was before.
	Orphan bool
	// Merge are further parents.
	Merge []string
	// Time is the author and commit time, at one second's resolution; zero is now.
	Time time.Time
}

// Commit writes the files onto the tip of the default branch and returns the new commit's hash.
func (r *Repo) Commit(files map[string]string, message string) (string, error) {
	return r.Apply(Change{Files: files, Message: message})
}

// Apply makes the commit that the change describes, moves its branch there (also backwards), and
// returns the commit's hash.
func (r *Repo) Apply(c Change) (string, error) {
	if c.Branch == "" {
		head, err := r.DefaultBranch()
		if err != nil {
			return "", err
		}
		c.Branch = head
	}
	if c.From == "" && !c.Orphan {
		if tip, err := r.Resolve("refs/heads/" + c.Branch); err == nil {
			c.From = tip
		}
	}
	if c.From != "" {
		hash, err := r.Resolve(c.From)
		if err != nil {
			return "", err
		}
		c.From = hash
	}
	if _, err := r.Git(c.stream(), "fast-import", "--quiet", "--force"); err != nil {
		return "", err
	}
	return r.Resolve("refs/heads/" + c.Branch)
}

// stream writes the change in the language of git fast-import.
func (c Change) stream() io.Reader {
	when := c.Time
	if when.IsZero() {
		when = time.Now()
	}
	var b bytes.Buffer
	ref := "refs/heads/" + c.Branch
	fmt.Fprintf(&b, "reset %s\n\ncommit %s\n", ref, ref)
	for _, who := range []string{"author", "committer"} {
		fmt.Fprintf(&b, "%s Test <test@example.com> %d +0000\n", who, when.Unix())
	}
	fmt.Fprintf(&b, "data %d\n%s\n", len(c.Message), c.Message)
	if c.From != "" {
		fmt.Fprintf(&b, "from %s\n", c.From)
	}
	for _, parent := range c.Merge {
		fmt.Fprintf(&b, "merge %s\n", parent)
	}
	if c.Replace {
		b.WriteString("deleteall\n")
	}
	for _, path := range c.Delete {
		fmt.Fprintf(&b, "D %s\n", quote(path))
	}
	for _, path := range slices.Sorted(maps.Keys(c.Files)) {
		mode := "100644"
		if slices.Contains(c.Executables, path) {
			mode = "100755"
		}
		fmt.Fprintf(&b, "M %s inline %s\ndata %d\n%s\n", mode, quote(path), len(c.Files[path]), c.Files[path])
	}
	for _, path := range slices.Sorted(maps.Keys(c.Symlinks)) {
		fmt.Fprintf(&b, "M 120000 inline %s\ndata %d\n%s\n", quote(path), len(c.Symlinks[path]), c.Symlinks[path])
	}
	b.WriteString("\n")
	return &b
}

func quote(path string) string {
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`, "\n", `\n`).Replace(path) + `"`
}
