package diff

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"

	"github.com/gitops-toolkit/flux/internal/cli/ui"
)

// text is the form for terminals.
const text = "text"

// write writes the reports in a form; titles are for several in text.
func write(w io.Writer, form string, reports []Report, titles bool) error {
	switch form {
	case "json":
		encoder := json.NewEncoder(w)
		encoder.SetIndent("", "  ")
		encoder.SetEscapeHTML(false)
		return encoder.Encode(reports)
	case "markdown":
		_, err := io.WriteString(w, markdown(reports))
		return err
	}
	p := painter{ui.Colours(w)}
	var b strings.Builder
	for i := range reports {
		if titles {
			p.title(&b, &reports[i])
		}
		p.report(&b, &reports[i])
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// painter writes the text for a terminal.
type painter struct{ colours bool }

var actionColours = map[Action]string{Created: "32", Drifted: "33", Deleted: "31"}

func (p painter) paint(colour, text string) string {
	if !p.colours || colour == "" {
		return text
	}
	return "\x1b[" + colour + "m" + text + "\x1b[0m"
}

func (p painter) title(b *strings.Builder, r *Report) {
	switch {
	case r.Error != "":
		fmt.Fprintf(b, "📁 %s %s\n", r.subject(), p.paint("31", "failed: "+r.Error))
	case r.Fate != "":
		fmt.Fprintf(b, "📁 %s: %s\n", r.subject(), r.Fate)
	case r.changed():
		fmt.Fprintf(b, "📁 %s changed\n", r.subject())
	case r.Note == "":
		fmt.Fprintf(b, "📁 %s unchanged\n", r.subject())
	}
}

func (p painter) report(b *strings.Builder, r *Report) {
	if r.Note != "" {
		fmt.Fprintf(b, "⚠️ %s skipped: %s\n", r.subject(), r.Note)
	}
	for _, c := range r.Changes {
		fmt.Fprintf(b, "%s\n", p.paint(actionColours[c.Action], fmt.Sprintf("► %s %s", c.Object, c.what())))
		if c.Diff != "" {
			b.WriteString("\n" + p.diff(c.Diff))
		}
	}
	for i := range r.Nested {
		if r.Nested[i].changed() {
			fmt.Fprintf(b, "📁 %s changed\n", r.Nested[i].subject())
		}
		p.report(b, &r.Nested[i])
	}
}

func (p painter) diff(content string) string {
	if !p.colours {
		return content
	}
	var b strings.Builder
	for line := range strings.Lines(content) {
		content := strings.TrimSuffix(line, "\n")
		switch {
		case strings.HasPrefix(line, "+ "):
			content = p.paint("32", content)
		case strings.HasPrefix(line, "- "):
			content = p.paint("31", content)
		}
		b.WriteString(content + "\n")
	}
	return b.String()
}

// markdown is a comment for a pull request.
func markdown(reports []Report) string {
	var b strings.Builder
	total := map[Action]int{}
	var sum func([]Report)
	sum = func(list []Report) {
		for _, r := range list {
			for _, c := range r.Changes {
				total[c.Action]++
			}
			sum(r.Nested)
		}
	}
	sum(reports)
	fmt.Fprintf(&b, "## What this would change\n\n%d created, %d changed, %d deleted\n", total[Created], total[Drifted], total[Deleted])
	for i := range reports {
		section(&b, &reports[i])
	}
	return b.String()
}

func section(b *strings.Builder, r *Report) {
	switch {
	case r.Error != "":
		fmt.Fprintf(b, "\n### %s failed\n\n%s\n", r.subject(), fenced("", r.Error))
	case r.Note != "":
		fmt.Fprintf(b, "\n### %s\n\nSkipped: %s\n", r.subject(), r.Note)
	case len(r.Changes) > 0 || r.Fate != "":
		fmt.Fprintf(b, "\n### %s\n\n", r.subject())
		if r.Fate != "" {
			fmt.Fprintf(b, "%s.\n\n", strings.ToUpper(r.Fate[:1])+r.Fate[1:])
		}
		for _, c := range r.Changes {
			if c.Diff == "" {
				fmt.Fprintf(b, "- `%s` %s\n", c.Object, c.what())
				continue
			}
			fmt.Fprintf(b, "- `%s` %s\n\n<details><summary>differences</summary>\n\n%s\n</details>\n\n", c.Object, c.what(), fenced("diff", strings.TrimRight(c.Diff, "\n")))
		}
	}
	for i := range r.Nested {
		section(b, &r.Nested[i])
	}
}

// fenced quotes text so that nothing in it ends the quotation.
func fenced(kind, text string) string {
	fence := "```"
	for strings.Contains(text, fence) {
		fence += "`"
	}
	return fence + kind + "\n" + text + "\n" + fence
}
