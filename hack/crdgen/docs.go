package main

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	extv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
)

// The marks between which a page's table of fields stands.
const (
	tableBegin = "<!-- fields: made by make generate -->"
	tableEnd   = "<!-- end of fields -->"
)

// writeDocs renews the tables in the pages of the kinds. A kind without a page is an error, so
// that no kind stays undocumented.
func writeDocs(dir string, crds []*extv1.CustomResourceDefinition) error {
	for _, crd := range crds {
		file := filepath.Join(dir, strings.ToLower(crd.Spec.Names.Kind)+".md")
		page, err := os.ReadFile(file)
		if err != nil {
			return err
		}
		before, rest, ok1 := bytes.Cut(page, []byte(tableBegin))
		_, after, ok2 := bytes.Cut(rest, []byte(tableEnd))
		if !ok1 || !ok2 {
			return fmt.Errorf("%s: no place for the table of fields: it needs the lines %q and %q", file, tableBegin, tableEnd)
		}
		var b bytes.Buffer
		b.Write(before)
		b.WriteString(tableBegin + "\n" + fieldTables(crd) + "\n" + tableEnd)
		b.Write(after)
		if err := os.WriteFile(file, b.Bytes(), 0o644); err != nil {
			return err
		}
	}
	return nil
}

// fieldTables is Markdown: the spec, the status, and last the deprecated fields.
func fieldTables(crd *extv1.CustomResourceDefinition) string {
	var spec, status, old []field
	deprecated := "\x00"
	for _, f := range flatten(storage(crd).Schema.OpenAPIV3Schema) {
		switch {
		case f.Path == "spec" || f.Path == "status":
		case strings.HasPrefix(f.Path, deprecated):
		case strings.Contains(f.Description, "Deprecated:"):
			deprecated = f.Path
			old = append(old, f)
		case strings.HasPrefix(f.Path, "status.conditions[]"):
		case strings.HasPrefix(f.Path, "spec"):
			spec = append(spec, f)
		default:
			status = append(status, f)
		}
	}
	return section("Spec", spec) + section("Status", status) + section("Deprecated fields", old)
}

func section(title string, fields []field) string {
	if len(fields) == 0 {
		return ""
	}
	var b strings.Builder
	fmt.Fprintf(&b, "\n### %s\n\n| field | type | meaning |\n|---|---|---|\n", title)
	for _, f := range fields {
		_, path, _ := strings.Cut(f.Path, ".")
		fmt.Fprintf(&b, "| `%s` | %s | %s |\n", path, cell(f.Type), meaning(f))
	}
	return b.String()
}

// meaning is the description, whether the field is required, its default and its choices.
func meaning(f field) string {
	text := strings.Join(strings.Fields(f.Description), " ")
	var notes []string
	if f.Required {
		notes = append(notes, "required")
	}
	for _, c := range f.Constraints {
		name, value, _ := strings.Cut(strings.TrimPrefix(c, "item:"), "=")
		switch name {
		case "default":
			notes = append(notes, "default `"+value+"`")
		case "enum":
			notes = append(notes, "one of `"+strings.Trim(strings.ReplaceAll(value, `","`, `, `), `["]`)+"`")
		}
	}
	if len(notes) > 0 {
		text += " (" + strings.Join(notes, "; ") + ")"
	}
	return cell(strings.TrimSpace(text))
}

// cell escapes what would end a cell or start an element.
func cell(s string) string {
	return strings.NewReplacer("|", `\|`, "<", "&lt;", ">", "&gt;").Replace(s)
}

// storage is the version that is stored: the current one.
func storage(crd *extv1.CustomResourceDefinition) *extv1.CustomResourceDefinitionVersion {
	for i := range crd.Spec.Versions {
		if crd.Spec.Versions[i].Storage {
			return &crd.Spec.Versions[i]
		}
	}
	return &crd.Spec.Versions[0]
}
