package diff

import (
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strconv"
	"strings"

	"sigs.k8s.io/yaml"
)

// report writes the differences of two documents for people, one block for each place:
//
//	spec.template.spec.containers.app.image
//	± value change
//	- app:1
//	+ app:2
//
// Entries of a list that have names are compared by name.
func report(from, to map[string]any) string {
	r := &reporter{}
	r.maps("", from, to)
	return r.text.String()
}

type reporter struct{ text strings.Builder }

func (r *reporter) block(path string, lines ...string) {
	if path == "" {
		path = "(root level)"
	}
	r.text.WriteString(path + "\n" + strings.Join(lines, "\n") + "\n\n")
}

func below(path, name string) string {
	if path == "" {
		return name
	}
	return path + "." + name
}

func (r *reporter) values(path string, from, to any) {
	if reflect.DeepEqual(from, to) {
		return
	}
	switch a := from.(type) {
	case map[string]any:
		if b, ok := to.(map[string]any); ok {
			r.maps(path, a, b)
			return
		}
	case []any:
		if b, ok := to.([]any); ok {
			r.lists(path, a, b)
			return
		}
	}
	if x, y := kindOf(from), kindOf(to); x != y {
		r.block(path, fmt.Sprintf("± type change from %s to %s", x, y), prefixed("- ", scalar(from)), prefixed("+ ", scalar(to)))
		return
	}
	a, b := scalar(from), scalar(to)
	if strings.Contains(a, "\n") || strings.Contains(b, "\n") {
		r.multiline(path, a, b)
		return
	}
	r.block(path, "± value change", "- "+a, "+ "+b)
}

func (r *reporter) maps(path string, from, to map[string]any) {
	removed, added := map[string]any{}, map[string]any{}
	for key, value := range from {
		if _, ok := to[key]; !ok {
			removed[key] = value
		}
	}
	for key, value := range to {
		if _, ok := from[key]; !ok {
			added[key] = value
		}
	}
	if len(removed) > 0 {
		r.block(path, "- "+count(len(removed), "map")+" removed:", indented(removed))
	}
	if len(added) > 0 {
		r.block(path, "+ "+count(len(added), "map")+" added:", indented(added))
	}
	for _, key := range slices.Sorted(maps.Keys(from)) {
		if other, ok := to[key]; ok {
			r.values(below(path, key), from[key], other)
		}
	}
}

func (r *reporter) lists(path string, from, to []any) {
	if names(from) != nil && names(to) != nil {
		r.named(path, from, to)
		return
	}
	if len(from) == 1 && len(to) == 1 {
		r.values(below(path, "0"), from[0], to[0])
		return
	}
	removed, added := without(from, to), without(to, from)
	if len(removed) > 0 {
		r.block(path, "- "+count(len(removed), "list")+" removed:", indented(removed))
	}
	if len(added) > 0 {
		r.block(path, "+ "+count(len(added), "list")+" added:", indented(added))
	}
	if len(removed) == 0 && len(added) == 0 {
		r.block(path, "⇆ order changed", "- "+flow(from), "+ "+flow(to))
	}
}

// named compares lists whose entries have names of their own.
func (r *reporter) named(path string, from, to []any) {
	a, b := names(from), names(to)
	var removed, added []any
	for i, name := range a {
		if !slices.Contains(b, name) {
			removed = append(removed, from[i])
		}
	}
	for i, name := range b {
		if !slices.Contains(a, name) {
			added = append(added, to[i])
		}
	}
	if len(removed) > 0 {
		r.block(path, "- "+count(len(removed), "list")+" removed:", indented(removed))
	}
	if len(added) > 0 {
		r.block(path, "+ "+count(len(added), "list")+" added:", indented(added))
	}
	if len(removed) == 0 && len(added) == 0 && !slices.Equal(a, b) {
		r.block(path, "⇆ order changed", "- "+strings.Join(a, ", "), "+ "+strings.Join(b, ", "))
	}
	for i, name := range a {
		if j := slices.Index(b, name); j >= 0 {
			r.values(below(path, name), from[i], to[j])
		}
	}
}

// names returns the names of the entries if each has one that no other has.
func names(list []any) []string {
	var out []string
	for _, entry := range list {
		m, _ := entry.(map[string]any)
		name, ok := m["name"].(string)
		if !ok || slices.Contains(out, name) {
			return nil
		}
		out = append(out, name)
	}
	return out
}

// without returns the entries of a list that another has not, counting repetitions.
func without(list, other []any) (out []any) {
	rest := slices.Clone(other)
	for _, entry := range list {
		if i := slices.IndexFunc(rest, func(o any) bool { return reflect.DeepEqual(o, entry) }); i >= 0 {
			rest = slices.Delete(rest, i, i+1)
			continue
		}
		out = append(out, entry)
	}
	return out
}

// multiline shows the lines that differ.
func (r *reporter) multiline(path, from, to string) {
	a, b := strings.Split(from, "\n"), strings.Split(to, "\n")
	lines, deletions, insertions := lineDiff(a, b)
	r.block(path, append([]string{fmt.Sprintf("± value change in multiline text (%s, %s)", number(insertions, "insert"), number(deletions, "deletion"))}, lines...)...)
}

// maxLines bounds texts that are compared line by line.
const maxLines = 2000

// lineDiff keeps the longest common sequence of lines.
func lineDiff(a, b []string) (lines []string, deletions, insertions int) {
	if len(a) > maxLines || len(b) > maxLines {
		return []string{"- (" + strconv.Itoa(len(a)) + " lines)", "+ (" + strconv.Itoa(len(b)) + " lines)"}, len(a), len(b)
	}
	length := make([][]int, len(a)+1)
	for i := range length {
		length[i] = make([]int, len(b)+1)
	}
	for i := len(a) - 1; i >= 0; i-- {
		for j := len(b) - 1; j >= 0; j-- {
			length[i][j] = max(length[i+1][j], length[i][j+1])
			if a[i] == b[j] {
				length[i][j] = length[i+1][j+1] + 1
			}
		}
	}
	for i, j := 0, 0; i < len(a) || j < len(b); {
		switch {
		case i < len(a) && j < len(b) && a[i] == b[j]:
			i, j = i+1, j+1
		case j == len(b) || i < len(a) && length[i+1][j] >= length[i][j+1]:
			lines, deletions, i = append(lines, "- "+a[i]), deletions+1, i+1
		default:
			lines, insertions, j = append(lines, "+ "+b[j]), insertions+1, j+1
		}
	}
	return lines, deletions, insertions
}

var words = []string{"no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve"}

func word(n int) string {
	if n < len(words) {
		return words[n]
	}
	return strconv.Itoa(n)
}

func number(n int, what string) string {
	if n != 1 {
		what += "s"
	}
	return word(n) + " " + what
}

func count(n int, container string) string {
	if n == 1 {
		return "one " + container + " entry"
	}
	return word(n) + " " + container + " entries"
}

func indented(value any) string {
	text, err := yaml.Marshal(value)
	if err != nil {
		return fmt.Sprint(value)
	}
	return prefixed("  ", strings.TrimRight(string(text), "\n"))
}

func prefixed(prefix, text string) string {
	return prefix + strings.ReplaceAll(text, "\n", "\n"+prefix)
}

func flow(list []any) string {
	parts := make([]string, len(list))
	for i, entry := range list {
		parts[i] = strings.ReplaceAll(scalar(entry), "\n", " ")
	}
	return strings.Join(parts, ", ")
}

func scalar(value any) string {
	switch v := value.(type) {
	case string:
		return v
	case nil:
		return "<nil>"
	case map[string]any, []any:
		text, err := yaml.Marshal(v)
		if err == nil {
			return strings.TrimRight(string(text), "\n")
		}
	}
	return fmt.Sprint(value)
}

func kindOf(value any) string {
	switch value.(type) {
	case map[string]any:
		return "map"
	case []any:
		return "list"
	case string:
		return "string"
	case bool:
		return "bool"
	case nil:
		return "<nil>"
	case float64:
		return "float"
	}
	return "int"
}
