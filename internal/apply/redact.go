package apply

import (
	"encoding/base64"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
)

// quotedValue is how the server quotes a value that does not fit its type.
var quotedValue = regexp.MustCompile(`(valueUnstructured\{Value:)[^}]*\}`)

// redacted returns the refusal of an object; that of a Secret, or of an object that holds something decrypted, is
// cleared of the object's values, since refusals end in conditions and events.
func redacted(v *verdict) error {
	secret := v.item.ref.Group == "" && v.item.ref.Kind == "Secret"
	if !secret && !v.item.sensitive {
		return v.err
	}
	var values []string
	for field, value := range v.item.obj.Object {
		if field == "data" || field == "stringData" || !secret && !plainFields[field] {
			values = Texts(value, values)
		}
	}
	if !secret {
		for _, value := range v.item.obj.GetAnnotations() {
			values = Texts(value, values)
		}
	}
	clean := func(text string) string { return quotedValue.ReplaceAllString(Conceal(text, values), "${1}***}") }
	var status *apierrors.StatusError
	if !errors.As(v.err, &status) {
		return errors.New(clean(v.err.Error()))
	}
	out := *status.ErrStatus.DeepCopy()
	out.Message = clean(v.err.Error())
	if out.Details != nil {
		for i := range out.Details.Causes {
			out.Details.Causes[i].Message = clean(out.Details.Causes[i].Message)
		}
	}
	return &apierrors.StatusError{ErrStatus: out}
}

// plainFields of an object say what it is; of metadata, only annotations can be encrypted.
var plainFields = map[string]bool{"apiVersion": true, "kind": true, "metadata": true}

// Conceal replaces values in a text, whole before part.
func Conceal(text string, values []string) string {
	values = slices.Clone(values)
	slices.SortFunc(values, func(a, b string) int { return len(b) - len(a) })
	for _, value := range values {
		text = strings.ReplaceAll(text, value, "***")
	}
	return text
}

// shortest is the length from which on a value is hidden: shorter ones would blot out ordinary words.
const shortest = 4

// Texts collects the texts in which the values below v may appear: as they are, line by line, numbers as templates print
// them, encoded and decoded.
func Texts(v any, into []string) []string {
	switch v := v.(type) {
	case map[string]any:
		for _, child := range v {
			into = Texts(child, into)
		}
	case []any:
		for _, child := range v {
			into = Texts(child, into)
		}
	case nil, bool:
	case float64: // as a template prints it, not with an exponent
		into = Texts(strconv.FormatFloat(v, 'f', -1, 64), into)
	default:
		text := fmt.Sprint(v)
		if len(text) >= shortest {
			into = append(lines(text, into), text, base64.StdEncoding.EncodeToString([]byte(text)))
		}
		if plain, err := base64.StdEncoding.DecodeString(text); err == nil && len(plain) >= shortest {
			into = append(lines(string(plain), into), string(plain))
		}
	}
	return into
}

// lines collects those of a text that has several.
func lines(text string, into []string) []string {
	if !strings.Contains(text, "\n") {
		return into
	}
	for line := range strings.Lines(text) {
		if line = strings.TrimSpace(line); len(line) >= shortest {
			into = append(into, line)
		}
	}
	return into
}
