package artifactgenerator

import (
	"fmt"
	"maps"
	"path"
	"regexp"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/util/validation"

	extensionsv1 "github.com/gitops-toolkit/flux/api/extensions/v1beta1"
)

// output is one artifact to make: an entry of the spec, rendered for a directory where there is a path pattern.
type output struct {
	extensionsv1.OutputArtifact
	labels map[string]string
}

// tree is what the path pattern and the copies look at.
type tree interface {
	IsDir(name string) bool
	Files(name string) []string
	Digest(name string) string
}

var captureName = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*$`)

// expand returns the artifacts to make: those of the spec, or those of the spec for each directory that the pattern
// matches.
func expand(spec extensionsv1.ArtifactGeneratorSpec, trees map[string]tree) ([]output, error) {
	if spec.PathPattern == "" {
		var out []output
		for _, a := range spec.OutputArtifacts {
			out = append(out, output{OutputArtifact: a})
		}
		return out, nil
	}
	alias, pattern := splitAlias(spec.PathPattern)
	source := trees[alias]
	if source == nil {
		return nil, fmt.Errorf("pathPattern %q: the source alias '%s' is not found", spec.PathPattern, alias)
	}
	segments, err := parsePattern(spec.PathPattern, pattern)
	if err != nil {
		return nil, err
	}
	var out []output
	from := map[string]string{} // the directory that an artifact's name comes from
	for _, dir := range directories(source) {
		captures, matches := match(segments, dir)
		if !matches {
			continue
		}
		labels, err := labelsOf(spec.PathPattern, dir, captures)
		if err != nil {
			return nil, err
		}
		for _, a := range spec.OutputArtifacts {
			made := rendered(a, captures, labels)
			if problems := validation.IsDNS1123Subdomain(made.Name); len(problems) > 0 {
				return nil, fmt.Errorf("pathPattern %q: directory %q gives the invalid artifact name %q: %s", spec.PathPattern, dir, made.Name, strings.Join(problems, "; "))
			}
			if other, taken := from[made.Name]; taken {
				return nil, fmt.Errorf("pathPattern %q: directories %q and %q both resolve to artifact name %q", spec.PathPattern, other, dir, made.Name)
			}
			from[made.Name] = dir
			out = append(out, made)
		}
	}
	return out, nil
}

// segment of a pattern: a name, or a capture.
type segment struct{ literal, capture string }

func parsePattern(whole, pattern string) ([]segment, error) {
	bad := func(format string, args ...any) error {
		return fmt.Errorf("pathPattern %q: %s", whole, fmt.Sprintf(format, args...))
	}
	var out []segment
	seen := map[string]bool{}
	for _, text := range strings.Split(strings.Trim(pattern, "/"), "/") {
		inner, isCapture := strings.CutPrefix(text, "{")
		inner, closed := strings.CutSuffix(inner, "}")
		switch {
		case text == "" || text == "." || text == "..":
			return nil, bad("%q is not a directory", text)
		case !isCapture && !closed && !strings.ContainsAny(text, "{}*?[]"):
			out = append(out, segment{literal: text})
		case !isCapture || !closed || !captureName.MatchString(inner):
			return nil, bad("%q is neither a name nor a capture such as {app}, which takes one whole directory name", text)
		case seen[inner]:
			return nil, bad("capture variable %q is used twice", inner)
		case len(validation.IsQualifiedName(inner)) > 0:
			return nil, bad("capture variable %q is not a valid Kubernetes label key", inner)
		default:
			seen[inner] = true
			out = append(out, segment{capture: inner})
		}
	}
	return out, nil
}

// match holds a directory against the pattern as a whole.
func match(segments []segment, dir string) (map[string]string, bool) {
	parts := strings.Split(dir, "/")
	if len(parts) != len(segments) {
		return nil, false
	}
	captures := map[string]string{}
	for i, s := range segments {
		if s.capture != "" {
			captures[s.capture] = parts[i]
		} else if s.literal != parts[i] {
			return nil, false
		}
	}
	return captures, true
}

func labelsOf(pattern, dir string, captures map[string]string) (map[string]string, error) {
	labels := map[string]string{}
	for _, name := range slices.Sorted(maps.Keys(captures)) {
		value := strings.ToLower(captures[name])
		if problems := validation.IsValidLabelValue(value); len(problems) > 0 {
			return nil, fmt.Errorf("pathPattern %q: directory %q: %q is not a label value: %s", pattern, dir, captures[name], strings.Join(problems, "; "))
		}
		labels[name] = value
	}
	return labels, nil
}

// rendered fills the captures in: into the name in lower case, into paths as they are.
func rendered(a extensionsv1.OutputArtifact, captures, labels map[string]string) output {
	made := output{OutputArtifact: a, labels: labels}
	made.Name = fill(a.Name, labels)
	made.Copy = slices.Clone(a.Copy)
	for i := range made.Copy {
		made.Copy[i].From, made.Copy[i].To = fill(a.Copy[i].From, captures), fill(a.Copy[i].To, captures)
	}
	return made
}

func fill(text string, values map[string]string) string {
	var pairs []string
	for name, value := range values {
		pairs = append(pairs, "{"+name+"}", value)
	}
	return strings.NewReplacer(pairs...).Replace(text)
}

// directories of a tree, sorted, without its root.
func directories(t tree) []string {
	seen := map[string]bool{}
	for _, file := range t.Files(".") {
		for dir := path.Dir(file); dir != "." && !seen[dir]; dir = path.Dir(dir) {
			seen[dir] = true
		}
	}
	return slices.Sorted(maps.Keys(seen))
}
