// Package message makes commit messages from templates: Go's text/template with those functions of Sprig that give the
// same result for the same input.
package message

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"text/template"

	"github.com/Masterminds/sprig/v3"

	"github.com/gitops-toolkit/flux/internal/image/edits"
	"github.com/gitops-toolkit/flux/internal/image/setters"
)

// Default is the message without a template.
const Default = "Update from image update automation"

// maxMessage bounds a message, in bytes.
const maxMessage = 1 << 20

// Name is who the automation is; it prints as <namespace>/<name>.
type Name struct{ Namespace, Name string }

// String returns <namespace>/<name>.
func (n Name) String() string { return n.Namespace + "/" + n.Name }

// data is what templates see. Updated is that of the beta versions.
type data struct {
	AutomationObject Name
	Changed          Result
	Updated          ImageResult
	Values           map[string]string
}

// Object is what a change is in.
type Object = setters.Object

// Change is a value that is other than before.
type Change struct{ OldValue, NewValue, Setter string }

// ObjectChanges are the changes of each object.
type ObjectChanges map[Object][]Change

// Result is what an automation did.
type Result struct {
	// FileChanges by file, relative to the directory that was updated.
	FileChanges map[string]ObjectChanges
	// ImageResult tells it in the way of the beta versions.
	ImageResult ImageResult
}

// Objects returns the changes of each object, whichever file they are in.
func (r Result) Objects() ObjectChanges {
	out := ObjectChanges{}
	for _, file := range slices.Sorted(maps.Keys(r.FileChanges)) {
		for object, changes := range r.FileChanges[file] {
			out[object] = append(out[object], changes...)
		}
	}
	return out
}

// Changes returns what was changed, each once.
func (r Result) Changes() []Change {
	var out []Change
	for _, file := range slices.Sorted(maps.Keys(r.FileChanges)) {
		objects := r.FileChanges[file]
		for _, object := range slices.SortedFunc(maps.Keys(objects), compare) {
			for _, c := range objects[object] {
				if !slices.Contains(out, c) {
					out = append(out, c)
				}
			}
		}
	}
	return out
}

func compare(a, b Object) int {
	return slices.Compare([]string{a.Kind, a.Namespace, a.Name, a.APIVersion}, []string{b.Kind, b.Namespace, b.Name, b.APIVersion})
}

// NewResult sorts changes for templates.
func NewResult(changes []edits.Change) Result {
	r := Result{FileChanges: map[string]ObjectChanges{}, ImageResult: ImageResult{Files: map[string]FileResult{}}}
	for _, c := range changes {
		if r.FileChanges[c.File] == nil {
			r.FileChanges[c.File] = ObjectChanges{}
			r.ImageResult.Files[c.File] = FileResult{Objects: map[Object][]ImageRef{}}
		}
		r.FileChanges[c.File][c.Object] = append(r.FileChanges[c.File][c.Object], Change{OldValue: c.Old, NewValue: c.New, Setter: c.Setter})
		images := r.ImageResult.Files[c.File].Objects
		images[c.Object] = append(images[c.Object], newImageRef(c))
	}
	return r
}

// Template is one that was parsed.
type Template struct{ parsed *template.Template }

// Parse parses a template; an empty one means Default.
func Parse(text string) (*Template, error) {
	if text == "" {
		text = Default
	}
	t, err := template.New("commit message").Funcs(functions()).Parse(text)
	if err != nil {
		return nil, fmt.Errorf("unable to create commit message template from spec: %w", err)
	}
	return &Template{t}, nil
}

// maxCount is how often a template may repeat something.
const maxCount = 10_000

// functions are those of Sprig, but for the few that could take all memory.
func functions() template.FuncMap {
	f := sprig.HermeticTxtFuncMap()
	count := func(n int) error {
		if n > maxCount || n < -maxCount {
			return fmt.Errorf("%d is more than the limit of %d", n, maxCount)
		}
		return nil
	}
	repeat := f["repeat"].(func(int, string) string)
	f["repeat"] = func(n int, s string) (string, error) {
		if err := count(n); err != nil || n < 0 {
			return "", err
		}
		return repeat(n, s), nil
	}
	until := f["until"].(func(int) []int)
	f["until"] = func(n int) ([]int, error) {
		if err := count(n); err != nil {
			return nil, err
		}
		return until(n), nil
	}
	step := f["untilStep"].(func(int, int, int) []int)
	f["untilStep"] = func(start, stop, by int) ([]int, error) {
		if err := count(stop - start); err != nil || by == 0 {
			return nil, err
		}
		return step(start, stop, by), nil
	}
	seq := f["seq"].(func(...int) string)
	f["seq"] = func(args ...int) (string, error) {
		for _, n := range args {
			if err := count(n); err != nil {
				return "", err
			}
		}
		return seq(args...), nil
	}
	return f
}

// Render runs the template.
func (t *Template) Render(automation Name, r Result, values map[string]string) (string, error) {
	var b limited
	err := t.parsed.Execute(&b, data{AutomationObject: automation, Changed: r, Updated: r.ImageResult, Values: values})
	if err == nil && strings.TrimSpace(b.String()) == "" {
		err = errors.New("the message is empty; correct spec.git.commit.messageTemplate")
	}
	if err != nil {
		return "", fmt.Errorf("failed to run template from spec: %w", err)
	}
	return b.String(), nil
}

// limited is a writer that takes no more than maxMessage.
type limited struct{ strings.Builder }

// Write adds to the message.
func (l *limited) Write(p []byte) (int, error) {
	if l.Len()+len(p) > maxMessage {
		return 0, fmt.Errorf("the message is longer than %d bytes", maxMessage)
	}
	return l.Builder.Write(p)
}
