package index

import (
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"
	"regexp"
	"strings"
	"time"
	"unicode"

	"github.com/Masterminds/semver/v3"
	"go.yaml.in/yaml/v3"
)

// Entry is one version of a chart in an index. The order of its fields is that of the stored form.
type Entry struct {
	Name         string            `json:"name,omitempty" yaml:"name"`
	Home         string            `json:"home,omitempty" yaml:"home"`
	Sources      []string          `json:"sources,omitempty" yaml:"sources"`
	Version      string            `json:"version,omitempty" yaml:"version"`
	Description  string            `json:"description,omitempty" yaml:"description"`
	Keywords     []string          `json:"keywords,omitempty" yaml:"keywords"`
	Maintainers  []*Maintainer     `json:"maintainers,omitempty" yaml:"maintainers"`
	Icon         string            `json:"icon,omitempty" yaml:"icon"`
	APIVersion   string            `json:"apiVersion,omitempty" yaml:"apiVersion"`
	Condition    string            `json:"condition,omitempty" yaml:"condition"`
	Tags         string            `json:"tags,omitempty" yaml:"tags"`
	AppVersion   string            `json:"appVersion,omitempty" yaml:"appVersion"`
	Deprecated   bool              `json:"deprecated,omitempty" yaml:"deprecated"`
	Annotations  map[string]string `json:"annotations,omitempty" yaml:"annotations"`
	KubeVersion  string            `json:"kubeVersion,omitempty" yaml:"kubeVersion"`
	Dependencies []*Dependency     `json:"dependencies,omitempty" yaml:"dependencies"`
	Type         string            `json:"type,omitempty" yaml:"type"`

	URLs    []string `json:"urls" yaml:"urls"`
	Created moment   `json:"created" yaml:"created"`
	Removed bool     `json:"removed,omitempty" yaml:"removed"`
	Digest  string   `json:"digest,omitempty" yaml:"digest"`

	Checksum      string `json:"checksum,omitempty" yaml:"checksum"`
	Engine        string `json:"engine,omitempty" yaml:"engine"`
	TillerVersion string `json:"tillerVersion,omitempty" yaml:"tillerVersion"`
	URL           string `json:"url,omitempty" yaml:"url"`
}

// Maintainer of a chart.
type Maintainer struct {
	Name  string `json:"name,omitempty" yaml:"name"`
	Email string `json:"email,omitempty" yaml:"email"`
	URL   string `json:"url,omitempty" yaml:"url"`
}

// Dependency of a chart on another.
type Dependency struct {
	Name         string   `json:"name" yaml:"name"`
	Version      string   `json:"version,omitempty" yaml:"version"`
	Repository   string   `json:"repository" yaml:"repository"`
	Condition    string   `json:"condition,omitempty" yaml:"condition"`
	Tags         []string `json:"tags,omitempty" yaml:"tags"`
	Enabled      bool     `json:"enabled,omitempty" yaml:"enabled"`
	ImportValues []any    `json:"import-values,omitempty" yaml:"import-values"`
	Alias        string   `json:"alias,omitempty" yaml:"alias"`
}

// moment is a time that is zero if nobody can read it: it only decides between versions that are otherwise equal.
type moment struct{ time.Time }

// UnmarshalYAML implements yaml.Unmarshaler.
func (m *moment) UnmarshalYAML(n *yaml.Node) error {
	m.Time, _ = time.Parse(time.RFC3339, n.Value) //nolint:errcheck // zero otherwise
	return nil
}

// UnmarshalJSON implements json.Unmarshaler.
func (m *moment) UnmarshalJSON(data []byte) error {
	var text string
	if json.Unmarshal(data, &text) == nil {
		m.Time, _ = time.Parse(time.RFC3339, text) //nolint:errcheck // zero otherwise
	}
	return nil
}

// MarshalJSON implements json.Marshaler; years beyond what JSON can hold are nobody's.
func (m moment) MarshalJSON() ([]byte, error) {
	if y := m.Year(); y < 0 || y > 9999 {
		m.Time = time.Time{}
	}
	return m.Time.MarshalJSON()
}

var aliasPattern = regexp.MustCompile(`^[a-zA-Z0-9_-]+$`)

// check cleans an entry as Helm does, and tells why it is not valid.
func (e *Entry) check() (*semver.Version, error) {
	if e.APIVersion == "" {
		e.APIVersion = "v1"
	}
	for _, text := range []*string{&e.Name, &e.Description, &e.Home, &e.Icon, &e.Condition, &e.Tags, &e.AppVersion, &e.KubeVersion} {
		*text = printable(*text)
	}
	for _, list := range [][]string{e.Sources, e.Keywords} {
		for i := range list {
			list[i] = printable(list[i])
		}
	}
	switch {
	case e.Name == "":
		return nil, errors.New("name is missing")
	case e.Name == "." || e.Name == ".." || e.Name != filepath.Base(e.Name) || strings.ContainsAny(e.Name, "\\\x00"):
		return nil, fmt.Errorf("name %q is not a name", e.Name)
	case e.Version == "":
		return nil, errors.New("version is missing")
	case e.Type != "" && e.Type != "application" && e.Type != "library":
		return nil, fmt.Errorf("type %q is neither application nor library", e.Type)
	}
	version, err := semver.NewVersion(e.Version)
	if err != nil {
		return nil, fmt.Errorf("version %q: %w", e.Version, err)
	}
	for _, m := range e.Maintainers {
		if m == nil {
			return nil, errors.New("maintainers has an empty entry")
		}
		m.Name, m.Email, m.URL = printable(m.Name), printable(m.Email), printable(m.URL)
	}
	for _, d := range e.Dependencies {
		if err := d.check(); err != nil {
			return nil, err
		}
	}
	return version, nil
}

func (d *Dependency) check() error {
	if d == nil {
		return errors.New("dependencies has an empty entry")
	}
	for _, text := range []*string{&d.Name, &d.Version, &d.Repository, &d.Condition} {
		*text = printable(*text)
	}
	for i := range d.Tags {
		d.Tags[i] = printable(d.Tags[i])
	}
	if d.Alias != "" && !aliasPattern.MatchString(d.Alias) {
		return fmt.Errorf("dependency %q has an alias with characters other than letters, digits, - and _", d.Name)
	}
	return nil
}

// printable makes every blank a space and drops what cannot be printed.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsSpace(r) {
			return ' '
		}
		if unicode.IsPrint(r) {
			return r
		}
		return -1
	}, s)
}
