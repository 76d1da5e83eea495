package controllers

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/pflag"
)

// Flag is one command line flag.
type Flag struct {
	Name string
	// Type is one of the names in adders.
	Type    string
	Default string
	// Env names a variable that replaces the default when it is set.
	Env string
	// Help of one line. Flags without effect say so.
	Help string
	// Own keeps a flag given for all controllers from meaning this one, because the name means
	// something else here.
	Own bool
}

// without marks flags that are accepted because scripts and manifests carry them.
const without = " (accepted for compatibility, has no effect)"

// adders define a flag of each type in a flag set; def has been checked by TestDefaults.
var adders = map[string]func(fs *pflag.FlagSet, name, def, help string) error{
	"bool": func(fs *pflag.FlagSet, name, def, help string) error {
		v, err := strconv.ParseBool(def)
		fs.Bool(name, v, help)
		return err
	},
	"string": func(fs *pflag.FlagSet, name, def, help string) error {
		fs.String(name, def, help)
		return nil
	},
	"int": func(fs *pflag.FlagSet, name, def, help string) error {
		v, err := strconv.Atoi(def)
		fs.Int(name, v, help)
		return err
	},
	"int64": func(fs *pflag.FlagSet, name, def, help string) error {
		v, err := strconv.ParseInt(def, 10, 64)
		fs.Int64(name, v, help)
		return err
	},
	"uint8": func(fs *pflag.FlagSet, name, def, help string) error {
		v, err := strconv.ParseUint(def, 10, 8)
		fs.Uint8(name, uint8(v), help)
		return err
	},
	"uint16": func(fs *pflag.FlagSet, name, def, help string) error {
		v, err := strconv.ParseUint(def, 10, 16)
		fs.Uint16(name, uint16(v), help)
		return err
	},
	"float32": func(fs *pflag.FlagSet, name, def, help string) error {
		v, err := strconv.ParseFloat(def, 32)
		fs.Float32(name, float32(v), help)
		return err
	},
	"duration": func(fs *pflag.FlagSet, name, def, help string) error {
		v, err := time.ParseDuration(def)
		fs.Duration(name, v, help)
		return err
	},
	"stringSlice": func(fs *pflag.FlagSet, name, _, help string) error {
		fs.StringSlice(name, nil, help)
		return nil
	},
	"stringArray": func(fs *pflag.FlagSet, name, _, help string) error {
		fs.StringArray(name, nil, help)
		return nil
	},
	"gates": func(fs *pflag.FlagSet, name, _, help string) error {
		fs.Var(&gateValue{}, name, help)
		return nil
	},
}

// add defines the flag in fs under prefix+name.
func (f Flag) add(fs *pflag.FlagSet, prefix, help string) error {
	def := f.Default
	if f.Env != "" {
		if v, set := os.LookupEnv(f.Env); set && v != "" {
			def = v
		}
	}
	def = mounted(def)
	add := adders[f.Type]
	if add == nil {
		return fmt.Errorf("flag --%s has the unknown type %s", f.Name, f.Type)
	}
	if err := add(fs, prefix+f.Name, def, help); err != nil {
		return fmt.Errorf("default of flag --%s: %w", f.Name, err)
	}
	return nil
}

// mounted is where a directory lies that a pod has mounted. A node without mounts, such as the sandbox's, says so in
// FLUX_MOUNTS: PATH=DIRECTORY, separated by colons.
func mounted(dir string) string {
	for _, mount := range filepath.SplitList(os.Getenv("FLUX_MOUNTS")) {
		if path, on, ok := strings.Cut(mount, "="); ok && path == dir {
			return on
		}
	}
	return dir
}

// gateValue is a list of Name=true|false, as --feature-gates takes it.
type gateValue struct{ gates map[string]bool }

// Set implements pflag.Value; repeated flags add up.
func (g *gateValue) Set(s string) error {
	if g.gates == nil {
		g.gates = map[string]bool{}
	}
	for _, part := range strings.Split(s, ",") {
		part = strings.TrimSpace(part)
		if part == "" {
			continue
		}
		name, value, found := strings.Cut(part, "=")
		if !found {
			return fmt.Errorf("missing bool value for %s: write %s=true or %s=false", part, part, part)
		}
		on, err := strconv.ParseBool(strings.TrimSpace(value))
		if err != nil {
			return fmt.Errorf("invalid value of %s: %q is neither true nor false", name, value)
		}
		g.gates[strings.TrimSpace(name)] = on
	}
	return nil
}

// String implements pflag.Value.
func (g *gateValue) String() string {
	var parts []string
	for _, name := range sortedKeys(g.gates) {
		parts = append(parts, name+"="+strconv.FormatBool(g.gates[name]))
	}
	return strings.Join(parts, ",")
}

// Type implements pflag.Value.
func (g *gateValue) Type() string { return "mapStringBool" }
