package build

import (
	"fmt"
	"regexp"
	"strings"
)

// incomplete is how kustomize prints an object without a kind or a name: as a Go struct.
var incomplete = regexp.MustCompile(`missing (kind|metadata\.name) in object \{\{(\S*) (\S*)\} \{\{(\S*) (\S*)\} map\[.*?\] map\[.*?\]\}\}`)

// reworded is an error whose text a person can read.
type reworded struct {
	text string
	err  error
}

func (e *reworded) Error() string { return e.text }
func (e *reworded) Unwrap() error { return e.err }

// bookkeeping are annotations of kustomize's own in objects that it prints.
var bookkeeping = regexp.MustCompile(`"annotations":\{"internal\.config\.kubernetes\.io/[^}]*\},?`)

// sayings are errors of kustomize, with what to do about them; the first that fits counts. $1 is what the error names.
var sayings = []struct {
	pattern *regexp.Regexp
	advice  string
}{
	{regexp.MustCompile(`missing Resource metadata`), "the file holds something else than Kubernetes objects: leave it out with spec.ignore or a .sourceignore of the source, or list the manifests in a kustomization.yaml"},
	{regexp.MustCompile(`invalid Kustomization: json: unknown field "spec"`), "only files of kustomize may have this name: rename the file if it holds a Kustomization of Flux"},
	{regexp.MustCompile(`invalid Kustomization: json: unknown field "([^"]+)"`), "correct or remove the field $1"},
	{regexp.MustCompile(`invalid Kustomization: json: cannot unmarshal .* into Go struct field (\S+) of type (\S+)`), "correct the field $1: its type is $2"},
	{regexp.MustCompile(`invalid Kustomization: `), "correct the file"},
	{regexp.MustCompile(`apiVersion for \S+ should be (\S+)`), "set it to $1, or leave it out"},
	{regexp.MustCompile(`Found multiple kustomization files`), "keep one of them"},
	{regexp.MustCompile(`already registered id`), "keep one of the two"},
	{regexp.MustCompile(`produces ID conflict`), "rename one of the two, or let them keep their namespaces"},
	{regexp.MustCompile(`cycle detected`), "remove one of these references"},
	{regexp.MustCompile(`can not use behavior: 'unspecified'`), "rename one of the generators, or give the later one a behavior: merge or replace"},
	{regexp.MustCompile(`no matches for Id|failed to find unique target`), "correct apiVersion, kind, name and namespace in the patch, or give it a target"},
	{regexp.MustCompile(`unable to parse SM or JSON patch`), "write the patch as a part of an object, or as a list of JSON patch operations"},
	{regexp.MustCompile(`error parsing regexp`), "correct the patterns of the patch's target"},
	{regexp.MustCompile(`doc is missing|nonexistent key|missing value`), "correct the path of the operation: the object has nothing there"},
	{regexp.MustCompile(`must specify --enable-helm`), "use a HelmRelease: charts are not rendered here"},
	{regexp.MustCompile(`Unexpected kind: (\S+)`), "use add, remove, replace, move, copy or test instead of the operation $1"},
	{regexp.MustCompile(`has invalid utf8 bytes`), "write the file in UTF-8"},
	{regexp.MustCompile(`control characters are not allowed`), "correct the file, or leave it out of the build"},
	{regexp.MustCompile(`mapping key .* already defined`), "keep one of them"},
	{regexp.MustCompile(`nested deeper than|more than \d+ nodes|reads more than|bytes, more than the limit`), "make it simpler, or leave it out of the build"},
	{regexp.MustCompile(`external plugins disabled`), "use what is built into kustomize: plugins are not run"},
	{regexp.MustCompile(`leads out of the artifact`), "refer only to what is in the source"},
	{regexp.MustCompile(`accumulating components: .*no such file`), "correct the path among the components, or add the directory to the source; spec.ignoreMissingComponents passes over missing ones of spec.components"},
	{regexp.MustCompile(`no such file or directory`), "correct the path, or add what it names to the source, whose spec.ignore or .sourceignore may leave it out"},
}

// advice is what to do about an error of kustomize, "" where its words have to do.
func advice(text string) string {
	for _, s := range sayings {
		if m := s.pattern.FindStringSubmatchIndex(text); m != nil {
			return "; " + string(s.pattern.ExpandString(nil, s.advice, text, m))
		}
	}
	return ""
}

// readable rewords what kustomize says in the language of its code, and adds what to do next.
func readable(err error) error {
	text := err.Error()
	better := bookkeeping.ReplaceAllString(completed(text), "")
	better += advice(better)
	if better == text {
		return err
	}
	return &reworded{text: better, err: err}
}

// completed rewords what is said about objects that are not whole.
func completed(text string) string {
	return incomplete.ReplaceAllStringFunc(text, func(match string) string {
		m := incomplete.FindStringSubmatch(match)
		var has []string
		for i, field := range []string{"apiVersion", "kind", "metadata.name", "metadata.namespace"} {
			if value := m[i+2]; value != "" {
				has = append(has, fmt.Sprintf("%s '%s'", field, value))
			}
		}
		object := "object"
		if len(has) > 0 {
			object += " with " + strings.Join(has, ", ")
		}
		return fmt.Sprintf("missing %s in %s; add it, or leave the file out of the build", m[1], object)
	})
}
