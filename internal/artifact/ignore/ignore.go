// Package ignore decides which files of a source stay out of its artifact.
//
// Patterns have gitignore syntax. They come from four places, and where two disagree the later
// wins: files of version control, always; a list of files that deployments do not need, only while
// nobody has written a pattern of their own; the .sourceignore files of the tree, each scoped to
// its directory; the text in the object's spec. A directory that is excluded is not entered, so a
// file below it can be included again only together with its parents.
//
// Rules are a value that grows while a tree is walked: Enter adds the patterns of a directory and
// leaves the receiver as it was. Key names their effect, so that what was computed under some rules
// can be cached.
package ignore

import (
	"bufio"
	"crypto/sha256"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/go-git/go-git/v5/plumbing/format/gitignore"
)

// FileName is the name of the files in a tree that hold patterns.
const FileName = ".sourceignore"

// Limits on what a tree or an object may ask for.
const (
	// MaxFileBytes limits one .sourceignore file or one spec text.
	MaxFileBytes = 1 << 20
	// MaxPatterns limits the patterns of one .sourceignore file or one spec text.
	MaxPatterns = 10_000
	maxLine     = 4096
)

// ErrLimit is wrapped by errors about ignore rules that are too large.
var ErrLimit = errors.New("ignore rules exceed a limit")

var vcs = []string{".git/", ".gitignore", ".gitmodules", ".gitattributes"}

var defaults = slices.Concat(
	[]string{"*.jpg", "*.jpeg", "*.gif", "*.png", "*.wmv", "*.flv", "*.tar.gz", "*.zip"},
	[]string{
		".github/", ".circleci/", ".travis.yml", ".gitlab-ci.yml", "appveyor.yml", ".drone.yml",
		"cloudbuild.yaml", "codeship-services.yml", "codeship-steps.yml",
	},
	[]string{"**/.goreleaser.yml", "**/.sops.yaml", "**/.flux.yaml"},
)

// Pattern is one parsed line, bound to the directory that it came from.
type Pattern struct {
	text    string
	matcher gitignore.Pattern
}

// Parse reads patterns from the content of a .sourceignore file in dir, a slash path from the
// root of the tree ("." is the root). Blank lines and lines that start with # are skipped.
func Parse(text, dir string) ([]Pattern, error) {
	if len(text) > MaxFileBytes {
		return nil, fmt.Errorf("%w: %d bytes, at most %d are allowed; write fewer or broader patterns", ErrLimit, len(text), MaxFileBytes)
	}
	domain := split(dir)
	var patterns []Pattern
	scan := bufio.NewScanner(strings.NewReader(text))
	scan.Buffer(make([]byte, 0, 1024), MaxFileBytes+1)
	for scan.Scan() {
		line := scan.Text()
		if strings.HasPrefix(line, "#") || strings.TrimSpace(line) == "" {
			continue
		}
		if len(line) > maxLine {
			return nil, fmt.Errorf("%w: a line of %d bytes, at most %d are allowed", ErrLimit, len(line), maxLine)
		}
		if len(patterns) == MaxPatterns {
			return nil, fmt.Errorf("%w: more than %d patterns; write broader ones", ErrLimit, MaxPatterns)
		}
		patterns = append(patterns, Pattern{text: line, matcher: gitignore.ParsePattern(line, domain)})
	}
	return patterns, scan.Err()
}

// Rules are all patterns in effect at one place of a tree. They are immutable.
type Rules struct {
	base  []Pattern
	spec  []Pattern
	layer *layer
	key   [sha256.Size]byte
}

// layer holds the patterns of one directory and points to those of the directories above.
type layer struct {
	patterns []Pattern
	above    *layer
}

// New returns the rules at the root of a tree. withDefaults puts the default list in effect: pass
// true only if neither spec nor any .sourceignore of the tree has a pattern.
func New(spec []Pattern, withDefaults bool) *Rules {
	base := slices.Clone(vcs)
	if withDefaults {
		base = append(base, defaults...)
	}
	r := &Rules{spec: spec}
	h := sha256.New()
	for _, text := range base {
		r.base = append(r.base, Pattern{text: text, matcher: gitignore.ParsePattern(text, nil)})
		fmt.Fprintf(h, "base %q\n", text)
	}
	for _, p := range spec {
		fmt.Fprintf(h, "spec %q\n", p.text)
	}
	h.Sum(r.key[:0])
	return r
}

// Only returns rules of these patterns and no others, not even for files of version control.
func Only(patterns []Pattern) *Rules {
	r := &Rules{spec: patterns}
	h := sha256.New()
	for _, p := range patterns {
		fmt.Fprintf(h, "spec %q\n", p.text)
	}
	h.Sum(r.key[:0])
	return r
}

// Enter returns the rules below dir, which has these patterns of its own.
func (r *Rules) Enter(dir string, patterns []Pattern) *Rules {
	if len(patterns) == 0 {
		return r
	}
	below := *r
	below.layer = &layer{patterns: patterns, above: r.layer}
	h := sha256.New()
	fmt.Fprintf(h, "%x below %q\n", r.key, dir)
	for _, p := range patterns {
		fmt.Fprintf(h, "%q\n", p.text)
	}
	h.Sum(below.key[:0])
	return &below
}

// Key is equal for equal rules.
func (r *Rules) Key() [sha256.Size]byte {
	return r.key
}

// Excluded reports whether the file or directory at this path, given as its elements from the
// root, is left out. It assumes that none of the directories above it is.
func (r *Rules) Excluded(path []string, isDir bool) bool {
	if result := last(r.spec, path, isDir); result != gitignore.NoMatch {
		return result == gitignore.Exclude
	}
	for l := r.layer; l != nil; l = l.above {
		if result := last(l.patterns, path, isDir); result != gitignore.NoMatch {
			return result == gitignore.Exclude
		}
	}
	return last(r.base, path, isDir) == gitignore.Exclude
}

// ExcludedBelow reports whether the file at this path, or a directory above it, is left out, for rules that no directory
// adds to.
func (r *Rules) ExcludedBelow(path []string) bool {
	for i := range path {
		if r.Excluded(path[:i+1], i < len(path)-1) {
			return true
		}
	}
	return false
}

// last returns the verdict of the last pattern that matches.
func last(patterns []Pattern, path []string, isDir bool) gitignore.MatchResult {
	for _, p := range slices.Backward(patterns) {
		if result := p.matcher.Match(path, isDir); result != gitignore.NoMatch {
			return result
		}
	}
	return gitignore.NoMatch
}

// split returns the elements of a slash path; none for the root.
func split(path string) []string {
	if path == "" || path == "." {
		return nil
	}
	return strings.Split(path, "/")
}
