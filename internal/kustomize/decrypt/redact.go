package decrypt

import (
	"encoding/base64"
	"fmt"
	"regexp"
	"slices"
	"strings"
)

// shortest is the length from which a decrypted value is taken out of errors: shorter ones would blot out words.
const shortest = 4

// maxSecrets bounds how many values are kept in mind for one build.
const maxSecrets = 100_000

// secrets are values that were decrypted.
type secrets struct{ values []string }

func (s *secrets) add(value any) {
	text, ok := value.(string)
	if !ok {
		text = fmt.Sprint(value)
	}
	if len(s.values) >= maxSecrets {
		return
	}
	if len(text) >= shortest {
		s.values = append(s.values, text)
	}
	if plain, err := base64.StdEncoding.DecodeString(text); err == nil && len(plain) >= shortest {
		s.values = append(s.values, string(plain))
	}
}

// Decrypted reports whether anything was decrypted.
func (d *Decryptor) Decrypted() bool { return len(d.plain.values) > 0 }

// Redact takes every decrypted value out of a text, and every line of one: errors of parsers quote lines.
func (d *Decryptor) Redact(text string) string {
	var words []string
	for _, value := range d.plain.values {
		words = append(words, value)
		for _, line := range strings.Split(value, "\n") {
			words = append(words, pieces(line)...)
		}
	}
	words = slices.DeleteFunc(words, func(w string) bool { return len(w) < shortest || !strings.Contains(text, w) })
	slices.SortFunc(words, func(a, b string) int { return len(b) - len(a) }) // the longest first, whole
	for _, word := range slices.Compact(words) {
		text = strings.ReplaceAll(text, word, "***")
	}
	if d.Decrypted() {
		text = bytesInDigits.ReplaceAllString(text, "[***]")
	}
	return text
}

// bytesInDigits is how kustomize quotes a line that is no text.
var bytesInDigits = regexp.MustCompile(`\[\d{1,3}(?: \d{1,3}){3,}\]`)

// pieces are a line and what a parser might quote of it: the sides of its first "=" or ":".
func pieces(line string) []string {
	line = strings.TrimSpace(line)
	out := []string{line}
	for _, separator := range []string{"=", ":"} {
		if name, value, ok := strings.Cut(line, separator); ok {
			out = append(out, strings.TrimSpace(name), strings.Trim(value, ` "'`))
		}
	}
	return out
}
