package build

import (
	"encoding/base64"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/gitops-toolkit/flux/internal/apply"
)

// Mask stands for what is encrypted.
const Mask = "**SOPS**"

// envs begins the names of the metadata of SOPS among variables.
const envs = "sops_"

// hide masks what is encrypted, and drops the metadata of SOPS. Nothing is decrypted.
func hide(object *unstructured.Unstructured) {
	_, whole := object.Object["sops"]
	delete(object.Object, "sops")
	if object.GetKind() == "Secret" && object.GetAPIVersion() == "v1" {
		hideValues(object.Object["data"], whole, fromBase64)
		hideValues(object.Object["stringData"], whole, func(text string) string { return text })
		return
	}
	if !whole {
		return
	}
	for field, value := range object.Object {
		object.Object[field] = hidden(value)
	}
}

// hideValues masks the values of a Secret: all of one that is encrypted itself, else those that hold encrypted files.
func hideValues(data any, whole bool, plain func(string) string) {
	values, _ := data.(map[string]any)
	_, variables := values[envs+"mac"]
	for key, value := range values {
		text, _ := value.(string)
		switch {
		case variables && strings.HasPrefix(key, envs):
			delete(values, key)
		case whole, strings.Contains(plain(text), apply.Sealed):
			values[key] = Mask
		}
	}
}

func fromBase64(text string) string {
	plain, err := base64.StdEncoding.DecodeString(text)
	if err != nil {
		return text
	}
	return string(plain)
}

// hidden returns a value with masks for what is encrypted in it.
func hidden(value any) any {
	switch v := value.(type) {
	case string:
		if strings.HasPrefix(v, apply.Sealed) {
			return Mask
		}
	case map[string]any:
		for key, item := range v {
			v[key] = hidden(item)
		}
	case []any:
		for i, item := range v {
			v[i] = hidden(item)
		}
	}
	return value
}
