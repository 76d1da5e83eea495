package decrypt

import (
	"bytes"
	"path"
	"strings"

	"github.com/getsops/sops/v3"
	"github.com/getsops/sops/v3/config"
	"github.com/getsops/sops/v3/stores/dotenv"
	"github.com/getsops/sops/v3/stores/ini"
	"github.com/getsops/sops/v3/stores/json"
	"github.com/getsops/sops/v3/stores/yaml"
)

// Format is how a file is written.
type Format string

// The formats that SOPS knows.
const (
	Binary Format = "binary"
	Dotenv Format = "dotenv"
	INI    Format = "ini"
	JSON   Format = "json"
	YAML   Format = "yaml"
)

// markers tell by which format a file was encrypted, in the order in which they are looked for. JSON is also the
// envelope of binary content.
var markers = []struct {
	format Format
	marker []byte
}{
	{JSON, []byte(`"mac": "ENC[`)},
	{Dotenv, []byte("sops_mac=ENC[")},
	{INI, []byte("[sops]")},
	{YAML, []byte("mac: ENC[")},
}

// detect returns the format in which content is encrypted, "" when it is not.
func detect(content []byte) Format {
	for _, m := range markers {
		if bytes.Contains(content, m.marker) {
			return m.format
		}
	}
	if bytes.Contains(content, []byte(`"mac":"ENC[`)) { // JSON that something made compact
		return JSON
	}
	return ""
}

// formatOf returns the format that the name of a file or key stands for, otherwise when it stands for none.
func formatOf(name string, otherwise Format) Format {
	if strings.HasSuffix(name, ".dockerconfigjson") {
		return JSON
	}
	switch path.Ext(name) {
	case ".yaml", ".yml":
		return YAML
	case ".json":
		return JSON
	case ".env":
		return Dotenv
	case ".ini":
		return INI
	}
	return otherwise
}

// output is the format in which content is written again. Only the JSON envelope can hold binary content; what is
// not in it keeps its format.
func output(in, wanted Format) Format {
	if wanted == Binary && in != JSON {
		return in
	}
	return wanted
}

func storeOf(f Format) sops.Store {
	c := config.NewStoresConfig()
	switch f {
	case Dotenv:
		return dotenv.NewStore(&c.Dotenv)
	case INI:
		return ini.NewStore(&c.INI)
	case JSON:
		return json.NewStore(&c.JSON)
	case YAML:
		return yaml.NewStore(&c.YAML)
	}
	return json.NewBinaryStore(&c.JSONBinary)
}
