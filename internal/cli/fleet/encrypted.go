package fleet

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"path/filepath"
	"regexp"
	"strings"

	"github.com/gitops-toolkit/flux/internal/apply"
)

// standIn is the value that stands for what nobody knows here.
const standIn = "stand-in"

var (
	sealed     = regexp.MustCompile(`ENC\[AES256_GCM,data:[^\]]*,type:(\w+)\]`)
	sealedYAML = regexp.MustCompile(`(?m)^\s+mac: ENC\[`)
	sealedJSON = regexp.MustCompile(`"mac":\s*"ENC\[`)
	topKey     = regexp.MustCompile(`^"?([A-Za-z_][\w.-]*)"?:`)
	lineKey    = regexp.MustCompile(`^\s*"?([\w.-]+)"?:`)
	secretKind = regexp.MustCompile(`(?m)^kind:\s*"?Secret"?\s*$`)
)

// unseal returns content with stand-ins for what SOPS encrypted, and whether there was any.
func unseal(name string, content []byte) ([]byte, bool) {
	switch {
	case !bytes.Contains(content, []byte(apply.Sealed)):
		return content, false
	case sealedYAML.Match(content):
		return []byte(unsealYAML(string(content))), true
	case bytes.Contains(content, []byte("sops_mac=ENC[")):
		return []byte(unsealLines(string(content), func(line string) bool { return strings.HasPrefix(line, "sops_") })), true
	case bytes.Contains(content, []byte("[sops]")):
		in := false
		return []byte(unsealLines(string(content), func(line string) bool {
			if strings.HasPrefix(line, "[") {
				in = strings.HasPrefix(line, "[sops]")
			}
			return in
		})), true
	case sealedJSON.Match(content):
		return unsealJSON(name, content), true
	}
	return content, false
}

// unsealYAML keeps the lines as they are but for the values and the block of SOPS.
func unsealYAML(text string) string {
	docs := strings.Split(text, "\n---")
	for i, doc := range docs {
		secret, section := secretKind.MatchString(doc), ""
		docs[i] = replaceLines(doc, func(line string) (string, bool) {
			if m := topKey.FindStringSubmatch(line); m != nil {
				section = m[1]
			} else if line != "" && !strings.ContainsAny(line[:1], " -#") {
				section = ""
			}
			if section == "sops" {
				return "", false
			}
			key := ""
			if m := lineKey.FindStringSubmatch(line); m != nil {
				key = m[1]
			}
			return replace(line, func(kind string) string {
				value := plain(kind, key)
				if secret && section == "data" {
					return base64.StdEncoding.EncodeToString([]byte(value))
				}
				if strings.HasPrefix(value, "{") {
					return "'" + value + "'"
				}
				return value
			}), true
		})
	}
	return strings.Join(docs, "\n---")
}

// unsealLines drops the lines of SOPS and replaces the values in the others.
func unsealLines(text string, drop func(line string) bool) string {
	return replaceLines(text, func(line string) (string, bool) {
		if drop(line) {
			return "", false
		}
		return replace(line, func(kind string) string { return plain(kind, "") }), true
	})
}

func unsealJSON(name string, content []byte) []byte {
	var value map[string]any
	if json.Unmarshal(content, &value) != nil {
		return content
	}
	delete(value, "sops")
	data, envelope := value["data"].(string)
	if envelope && len(value) == 1 && sealed.MatchString(data) && filepath.Ext(name) != ".json" {
		return []byte(standIn)
	}
	_, isSecret := value["kind"].(string)
	isSecret = isSecret && value["kind"] == "Secret"
	for key, v := range value {
		value[key] = unsealValue(key, v, isSecret && key == "data")
	}
	out, err := json.MarshalIndent(value, "", "  ")
	if err != nil {
		return content
	}
	return append(out, '\n')
}

func unsealValue(key string, v any, encode bool) any {
	switch v := v.(type) {
	case map[string]any:
		for k, inner := range v {
			v[k] = unsealValue(k, inner, encode)
		}
	case []any:
		for i, inner := range v {
			v[i] = unsealValue(key, inner, encode)
		}
	case string:
		m := sealed.FindStringSubmatch(v)
		switch {
		case m == nil:
		case encode:
			return base64.StdEncoding.EncodeToString([]byte(plain("str", key)))
		case m[1] == "int" || m[1] == "float":
			return 0
		case m[1] == "bool":
			return false
		default:
			return plain(m[1], key)
		}
	}
	return v
}

// plain is a value of the type that was encrypted, and of the form that its key asks for.
func plain(kind, key string) string {
	switch {
	case key == ".dockerconfigjson":
		return `{"auths":{}}`
	case key == ".dockercfg":
		return "{}"
	case kind == "int", kind == "float":
		return "0"
	case kind == "bool":
		return "false"
	}
	return standIn
}

func replace(line string, value func(kind string) string) string {
	return sealed.ReplaceAllStringFunc(line, func(text string) string {
		return value(sealed.FindStringSubmatch(text)[1])
	})
}

func replaceLines(text string, each func(line string) (string, bool)) string {
	var kept []string
	for line := range strings.SplitSeq(text, "\n") {
		if line, ok := each(line); ok {
			kept = append(kept, line)
		}
	}
	if strings.HasSuffix(text, "\n") && len(kept) > 0 && kept[len(kept)-1] != "" {
		kept = append(kept, "") // the end of the last line was that of one that went
	}
	return strings.Join(kept, "\n")
}
