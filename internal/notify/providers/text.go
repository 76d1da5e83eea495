package providers

import (
	"fmt"
	"strings"
	"unicode"

	"github.com/gitops-toolkit/flux/internal/notify/event"
)

// dotted names the object as chats do: kind/name.namespace, the kind in lower case.
func dotted(e *event.Event) string {
	o := e.InvolvedObject
	return fmt.Sprintf("%s/%s.%s", strings.ToLower(o.Kind), o.Name, o.Namespace)
}

// pick returns one of two by severity.
func pick(e *event.Event, info, failure string) string {
	if e.IsError() {
		return failure
	}
	return info
}

// words splits a reason at its capitals and puts it in lower case: DependencyNotReady becomes
// "dependency not ready".
func words(reason string) string {
	var out []rune
	runes := []rune(reason)
	for i, r := range runes {
		if i > 0 && unicode.IsUpper(r) && (!unicode.IsUpper(runes[i-1]) || i+1 < len(runes) && unicode.IsLower(runes[i+1])) {
			out = append(out, ' ')
		}
		out = append(out, unicode.ToLower(r))
	}
	return string(out)
}

// cut shortens a text to so many bytes, which is never more characters.
func cut(s string, most int) string {
	if len(s) <= most {
		return s
	}
	const mark = "…"
	return strings.ToValidUTF8(s[:most-len(mark)], "") + mark
}

func firstLine(s string) string {
	line, _, _ := strings.Cut(s, "\n")
	return line
}

// statusMarkdown is the text of comments and of Zulip messages; without names a key to leave out.
func statusMarkdown(e *event.Event, without string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "## Flux Status\n\n%s %s\n\n%s\n", pick(e, "ℹ️", "⚠️"), e.Object(), e.Message)
	heading := "\nMetadata:\n"
	for _, f := range e.Fields() {
		if f.Key == without {
			continue
		}
		fmt.Fprintf(&b, "%s* `%s`: %s\n", heading, f.Key, f.Value)
		heading = ""
	}
	return b.String()
}
