package apply

import (
	"encoding/base64"
	"errors"
	"fmt"
	"regexp"
	"slices"
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
			values = leaves(value, values)
		}
	}
	if !secret {
		for _, value := range v.item.obj.GetAnnotations() {
			values = leaves(value, values)
		}
	}
	slices.SortFunc(values, func(a, b string) int { return len(b) - len(a) }) // whole before part
	clean := func(text string) string {
		for _, value := range values {
			text = strings.ReplaceAll(text, value, "***")
		}
		return quotedValue.ReplaceAllString(text, "${1}***}")
	}
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

// leaves collects the values below v, decoded ones too. Very short ones are left out: they would
// blot out ordinary words.
func leaves(v any, into []string) []string {
	switch v := v.(type) {
	case map[string]any:
		for _, child := range v {
			into = leaves(child, into)
		}
	case []any:
		for _, child := range v {
			into = leaves(child, into)
		}
	case nil:
	default:
		text := fmt.Sprint(v)
		if len(text) >= 4 {
			into = append(into, text)
		}
		if plain, err := base64.StdEncoding.DecodeString(text); err == nil && len(plain) >= 4 {
			into = append(into, string(plain))
		}
	}
	return into
}
