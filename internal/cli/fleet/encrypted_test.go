package fleet

import (
	"encoding/json"
	"strings"
	"testing"

	"sigs.k8s.io/yaml"
)

const enc = "ENC[AES256_GCM,data:xx,iv:yy,tag:zz,type:"

func TestUnseal(t *testing.T) {
	t.Parallel()
	sops := "sops:\n    age:\n        - recipient: age1\n          enc: |\n            -----BEGIN AGE ENCRYPTED FILE-----\n    mac: " + enc + "str]\n    version: 3.8.1\n"
	for name, c := range map[string]struct{ file, in, want string }{
		"plain":    {"a.yaml", "kind: ConfigMap\ndata: {mac: \"ENC[\"}\n", "kind: ConfigMap\ndata: {mac: \"ENC[\"}\n"},
		"string":   {"a.yaml", "kind: Secret\nstringData:\n    a: " + enc + "str]\n    n: " + enc + "int]\n    b: " + enc + "bool]\n" + sops, "kind: Secret\nstringData:\n    a: stand-in\n    n: 0\n    b: false\n"},
		"data":     {"a.yaml", "kind: Secret\ndata:\n    a: " + enc + "str]\n    .dockerconfigjson: " + enc + "str]\n" + sops, "kind: Secret\ndata:\n    a: c3RhbmQtaW4=\n    .dockerconfigjson: eyJhdXRocyI6e319\n"},
		"config":   {"a.yaml", "kind: Secret\nstringData:\n    .dockerconfigjson: " + enc + "str]\n" + sops, "kind: Secret\nstringData:\n    .dockerconfigjson: '{\"auths\":{}}'\n"},
		"two":      {"a.yaml", "kind: Secret\ndata:\n    a: " + enc + "str]\n" + sops + "---\nkind: ConfigMap\ndata:\n    a: b\n", "kind: Secret\ndata:\n    a: c3RhbmQtaW4=\n---\nkind: ConfigMap\ndata:\n    a: b\n"},
		"in front": {"a.yaml", sops + "kind: Secret\ndata:\n    a: " + enc + "str]\n", "kind: Secret\ndata:\n    a: c3RhbmQtaW4=\n"},
		"env":      {"a.env", "A=" + enc + "str]\nsops_version=3.8.1\nsops_mac=" + enc + "str]\n", "A=stand-in\n"},
		"ini":      {"a.ini", "[x]\na = " + enc + "str]\n[sops]\nmac = " + enc + "str]\n", "[x]\na = stand-in\n"},
		"binary":   {"a.bin", `{"data": "` + enc + `str]", "sops": {"mac": "` + enc + `str]"}}`, "stand-in"},
		"json":     {"a.json", `{"a": {"b": ["` + enc + `int]"]}, "sops": {"mac": "` + enc + `str]"}}`, "{\n  \"a\": {\n    \"b\": [\n      0\n    ]\n  }\n}\n"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got, changed := unseal(c.file, []byte(c.in))
			if string(got) != c.want || changed != (c.in != c.want) {
				t.Errorf("changed %t:\n%s\nwant:\n%s", changed, got, c.want)
			}
			if name != "plain" && strings.Contains(string(got), "ENC[") {
				t.Error("something encrypted is left")
			}
		})
	}
}

func FuzzUnseal(f *testing.F) {
	f.Add("a.yaml", "kind: Secret\ndata:\n  a: "+enc+"str]\nsops:\n  mac: "+enc+"str]\n")
	f.Add("a.json", `{"data": "`+enc+`str]", "sops": {"mac": "`+enc+`str]"}}`)
	f.Fuzz(func(t *testing.T, name, text string) {
		got, changed := unseal(name, []byte(text))
		if !changed && string(got) != text {
			t.Error("changed and did not say so")
		}
		var v any
		if strings.HasSuffix(name, ".json") && json.Unmarshal([]byte(text), &v) == nil && yaml.Unmarshal(got, &v) != nil {
			t.Errorf("no longer a document: %s", got)
		}
	})
}
