package chart

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"github.com/Masterminds/semver/v3"
	"sigs.k8s.io/yaml"
)

// Chart is a chart in memory.
type Chart struct {
	Name, Version, APIVersion string
	// Dependencies that Chart.yaml names, or requirements.yaml for a chart of the first API.
	Dependencies []Dependency
	// Lock holds the versions that the lock file names, nil if there is none.
	Lock []Dependency

	metadata map[string]any
	files    []file
}

// Dependency of a chart on another.
type Dependency struct {
	Name       string `json:"name"`
	Version    string `json:"version"`
	Repository string `json:"repository"`
}

type file struct {
	name string
	data []byte
}

// newChart interprets the files of a chart.
func newChart(files []file) (*Chart, error) {
	c := &Chart{files: files}
	data, ok := c.read(metadataFile)
	if !ok {
		return nil, fmt.Errorf("%w: Chart.yaml file is missing", ErrNotChart)
	}
	if err := decode(data, &c.metadata); err != nil {
		return nil, fmt.Errorf("%w: cannot load Chart.yaml: %w", ErrNotChart, err)
	}
	c.Name, c.Version, c.APIVersion = text(c.metadata["name"]), text(c.metadata["version"]), text(c.metadata["apiVersion"])
	if err := c.check(); err != nil {
		return nil, fmt.Errorf("%w: Chart.yaml: %w", ErrNotChart, err)
	}
	if err := c.readDependencies(); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrNotChart, err)
	}
	return c, nil
}

// decode parses YAML without changing numbers.
func decode(data []byte, into any) error {
	return yaml.Unmarshal(data, into, func(d *json.Decoder) *json.Decoder { d.UseNumber(); return d })
}

// text is a scalar as it was written; `version: 1` is a text to Helm as well.
func text(v any) string {
	switch v := v.(type) {
	case string:
		return v
	case json.Number:
		return v.String()
	}
	return ""
}

func (c *Chart) check() error {
	switch kind := text(c.metadata["type"]); {
	case c.APIVersion == "":
		return errors.New("apiVersion is missing")
	case c.Name == "":
		return errors.New("name is missing")
	case c.Name == "." || c.Name == ".." || c.Name != filepath.Base(c.Name) || strings.ContainsAny(c.Name, "\\\x00"):
		return fmt.Errorf("name %q is not a name", c.Name)
	case c.Version == "":
		return errors.New("version is missing")
	case kind != "" && kind != "application" && kind != "library":
		return fmt.Errorf("type %q is neither application nor library", kind)
	}
	if _, err := semver.NewVersion(c.Version); err != nil || strings.ContainsAny(c.Version, "/\\") {
		return fmt.Errorf("version %q is not a semantic version", c.Version)
	}
	return nil
}

// readDependencies reads them from where the version of the API has them.
func (c *Chart) readDependencies() error {
	from, lock := metadataFile, lockFile
	if _, ok := c.read(requirementsFile); ok {
		from = requirementsFile
	}
	if c.APIVersion == "v1" {
		lock = requirementsLock
	}
	var err error
	if c.Dependencies, err = c.dependenciesIn(from); err == nil {
		c.Lock, err = c.dependenciesIn(lock)
	}
	if err == nil && from == requirementsFile && c.APIVersion != "v1" {
		err = c.adopt()
	}
	return err
}

func (c *Chart) dependenciesIn(name string) ([]Dependency, error) {
	data, ok := c.read(name)
	if !ok {
		return nil, nil
	}
	var doc struct{ Dependencies []*Dependency }
	if err := decode(data, &doc); err != nil {
		return nil, fmt.Errorf("cannot load %s: %w", name, err)
	}
	var list []Dependency
	for _, d := range doc.Dependencies {
		switch {
		case d == nil:
			return nil, fmt.Errorf("%s: dependencies has an empty entry", name)
		case d.Name == "" || d.Name != filepath.Base(d.Name) || d.Name == ".." || d.Name == ".":
			return nil, fmt.Errorf("%s: %q is not the name of a chart", name, d.Name)
		}
		list = append(list, *d)
	}
	return list, nil
}

// adopt moves the dependencies that requirements.yaml names to Chart.yaml, where this version of the API has them.
func (c *Chart) adopt() error {
	data, _ := c.read(requirementsFile)
	var doc map[string]any
	if err := decode(data, &doc); err != nil {
		return err
	}
	if list, ok := doc["dependencies"]; ok {
		c.metadata["dependencies"] = list
	}
	c.files = slices.DeleteFunc(c.files, func(f file) bool { return f.name == requirementsFile })
	return nil
}

func (c *Chart) read(name string) ([]byte, bool) {
	i := slices.IndexFunc(c.files, func(f file) bool { return f.name == name })
	if i < 0 {
		return nil, false
	}
	return c.files[i].data, true
}

// ReadFile returns a file of the chart by its path there, which may begin with "./".
func (c *Chart) ReadFile(name string) ([]byte, error) {
	if data, ok := c.read(path.Clean(name)); ok {
		return data, nil
	}
	return nil, fmt.Errorf("%w '%s'", ErrNoValues, name)
}

// SetValues replaces the chart's values.
func (c *Chart) SetValues(data []byte) { c.write(ValuesFile, data) }

// write replaces or adds a file.
func (c *Chart) write(name string, data []byte) {
	i := slices.IndexFunc(c.files, func(f file) bool { return f.name == name })
	if i < 0 {
		c.files = append(c.files, file{name, data})
		return
	}
	c.files[i].data = data
}

// SetVersion changes the version in Chart.yaml.
func (c *Chart) SetVersion(version string) {
	c.Version = version
	c.metadata["version"] = version
}

// WithMetadata appends build metadata to a version, in place of what it has.
func WithMetadata(version, metadata string) (string, error) {
	v, err := semver.NewVersion(version)
	if err != nil {
		return "", fmt.Errorf("version %q: %w", version, err)
	}
	changed, err := v.SetMetadata(metadata)
	if err != nil {
		return "", fmt.Errorf("version %q with metadata %q: %w", version, metadata, err)
	}
	return changed.String(), nil
}

// AddDependency puts a packed chart into the directory of the dependencies.
func (c *Chart) AddDependency(dependency *Chart, packed []byte) {
	c.write(chartsDir+dependency.Name+"-"+dependency.Version+".tgz", packed)
}

// Vendored lists the charts in the directory of the dependencies, their names and versions.
func (c *Chart) Vendored(limits Limits) ([]Dependency, error) {
	var list []Dependency
	for _, f := range c.files {
		name, ok := strings.CutPrefix(f.name, chartsDir)
		if !ok || strings.HasPrefix(name, "_") || strings.HasPrefix(name, ".") {
			continue
		}
		dir, rest, nested := strings.Cut(name, "/")
		switch {
		case nested && rest == metadataFile:
			var m struct{ Name, Version string }
			if err := decode(f.data, &m); err != nil {
				return nil, fmt.Errorf("charts/%s/Chart.yaml: %w", dir, err)
			}
			list = append(list, Dependency{Name: m.Name, Version: m.Version})
		case !nested && strings.HasSuffix(name, ".tgz"):
			sub, err := LoadArchive(bytes.NewReader(f.data), limits)
			if err != nil {
				return nil, fmt.Errorf("charts/%s: %w", name, err)
			}
			list = append(list, Dependency{Name: sub.Name, Version: sub.Version})
		}
	}
	return list, nil
}
