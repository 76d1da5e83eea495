package message_test

import (
	"strings"
	"testing"

	"github.com/gitops-toolkit/flux/internal/image/edits"
	"github.com/gitops-toolkit/flux/internal/image/message"
	"github.com/gitops-toolkit/flux/internal/image/setters"
)

func result() message.Result {
	web := setters.Object{Name: "web", Namespace: "apps", APIVersion: "apps/v1", Kind: "Deployment"}
	app := setters.Image{Name: "ghcr.io/org/app", Tag: "1.1.0"}
	change := func(file, old, new, setter string) edits.Change {
		return edits.Change{File: file, Change: setters.Change{Object: web, Old: old, New: new, Setter: setter, Image: app}}
	}
	return message.NewResult([]edits.Change{
		change("b.yaml", "1.0.0", "1.1.0", "ns:app:tag"), change("a.yaml", "1.0.0", "1.1.0", "ns:app:tag"), change("a.yaml", "x", "ghcr.io/org/app", "ns:app:name"),
	})
}

// TestTemplates has the templates of the documentation of all versions.
func TestTemplates(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct{ reason, text, want string }{
		{"the default", "", message.Default},
		{"who", "{{ .AutomationObject }} {{ .AutomationObject.Name }}", "ns/auto auto"},
		{"values", "cluster {{ .Values.cluster }}", "cluster prod"},
		{"files", "{{ range $f, $_ := .Changed.FileChanges }}- {{ $f }} {{ end }}", "- a.yaml - b.yaml "},
		{"objects", "{{ range $o, $c := .Changed.Objects }}{{ $o.Kind | lower }} {{ $o.Namespace }}/{{ $o.Name }}: {{ len $c }}{{ end }}", "deployment apps/web: 3"},
		{"changes, each once", "{{ range .Changed.Changes }}{{ .OldValue }} -> {{ .NewValue }} ({{ .Setter }}), {{ end }}",
			"1.0.0 -> 1.1.0 (ns:app:tag), x -> ghcr.io/org/app (ns:app:name), "},
		{"images of old", "{{ range .Updated.Images }}- {{ . }} {{ .Registry }} {{ .Repository }} {{ .Identifier }} {{ .Name }}{{ end }}",
			"- ghcr.io/org/app:1.1.0 ghcr.io org/app 1.1.0 ghcr.io/org/app:1.1.0"},
		{"files and objects of old", "{{ range $f, $_ := .Updated.Files }}{{ $f }} {{ end }}{{ range $o, $i := .Updated.Objects }}{{ $o.Kind }} {{ len $i }}{{ end }}", "a.yaml b.yaml Deployment 3"},
		{"in between", "{{ range .Changed.ImageResult.Images }}{{ . }}{{ end }}", "ghcr.io/org/app:1.1.0"},
		{"a change id", `{{ $id := .AutomationObject }}{{ $id = printf "%s%s" $id ( .Changed.FileChanges | toString ) }}I{{ sha256sum $id | trunc 4 }}`, "I"},
	} {
		m, err := message.Parse(tc.text)
		if err != nil {
			t.Errorf("%s: %v", tc.reason, err)
			continue
		}
		got, err := m.Render(message.Name{Namespace: "ns", Name: "auto"}, result(), map[string]string{"cluster": "prod"})
		if again, _ := m.Render(message.Name{Namespace: "ns", Name: "auto"}, result(), map[string]string{"cluster": "prod"}); again != got {
			t.Errorf("%s: once %q, once %q", tc.reason, got, again)
		}
		if err != nil || got != tc.want && !(tc.want == "I" && len(got) == 5) {
			t.Errorf("%s: got %q, want %q, %v", tc.reason, got, tc.want, err)
		}
	}
}

func TestBadTemplates(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"{{ .Nothing }":                  "unable to create commit message template from spec: ",
		`{{ env "HOME" }}`:               "unable to create commit message template from spec: ",
		"{{ now }}":                      "unable to create commit message template from spec: ",
		"{{ .Nothing }}":                 "failed to run template from spec: ",
		"{{ .Changed.Nothing }}":         "failed to run template from spec: ",
		" ":                              "the message is empty",
		`{{ repeat 1000000000 "x" }}`:    "limit",
		"{{ until 1000000000 }}":         "limit",
		"{{ untilStep 0 1000000000 1 }}": "limit",
		"{{ seq 1 1000000000 }}":         "limit",
		`{{ range until 10000 }}{{ repeat 10000 "x" }}{{ end }}`: "longer than",
	} {
		m, err := message.Parse(text)
		if err == nil {
			_, err = m.Render(message.Name{}, result(), nil)
		}
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", text, err)
		}
	}
}
