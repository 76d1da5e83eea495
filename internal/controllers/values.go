package controllers

import (
	"maps"
	"slices"
	"time"

	"github.com/spf13/pflag"
)

// Values are what a controller is registered with: its flags after parsing, and what it shares with the
// others of the process.
type Values struct {
	flags  *pflag.FlagSet
	prefix string
	shared
	// own are the flags that only count with the prefix.
	own map[string]bool
}

// shared is what the controllers of a process have in common.
type shared struct {
	listeners listeners
	mirrors   mirrors
}

func newShared() shared { return shared{listeners{}, mirrors{}} }

func valuesOf(fs *pflag.FlagSet, c Controller, prefix string, s shared) Values {
	v := Values{flags: fs, prefix: prefix, shared: s, own: map[string]bool{}}
	for _, f := range c.Flags {
		v.own[f.Name] = f.Own
	}
	return v
}

// flag returns the one that counts: with the controller's prefix if it was given, else without.
func (v Values) flag(name string) *pflag.Flag {
	own := v.flags.Lookup(v.prefix + name)
	if v.prefix == "" || v.own[name] || own != nil && own.Changed {
		return own
	}
	if all := v.flags.Lookup(name); all != nil && all.Changed {
		return all
	}
	return own
}

// of reads a flag by one of pflag's getters. Names and types come from the description, so a
// mismatch is a mistake in this program.
func of[T any](v Values, name string, get func(string) (T, error)) T {
	f := v.flag(name)
	if f == nil {
		panic("controllers: no flag --" + name)
	}
	value, err := get(f.Name)
	if err != nil {
		panic("controllers: flag --" + name + ": " + err.Error())
	}
	return value
}

// Has tells whether the controller has a flag of this name.
func (v Values) Has(name string) bool { return v.flags.Lookup(v.prefix+name) != nil }

// Bool returns the value of a flag.
func (v Values) Bool(name string) bool { return of(v, name, v.flags.GetBool) }

// String returns the value of a flag.
func (v Values) String(name string) string { return of(v, name, v.flags.GetString) }

// Int returns the value of a flag.
func (v Values) Int(name string) int { return of(v, name, v.flags.GetInt) }

// Int64 returns the value of a flag.
func (v Values) Int64(name string) int64 { return of(v, name, v.flags.GetInt64) }

// Uint8 returns the value of a flag.
func (v Values) Uint8(name string) uint8 { return of(v, name, v.flags.GetUint8) }

// Uint16 returns the value of a flag.
func (v Values) Uint16(name string) uint16 { return of(v, name, v.flags.GetUint16) }

// Float32 returns the value of a flag.
func (v Values) Float32(name string) float32 { return of(v, name, v.flags.GetFloat32) }

// Duration returns the value of a flag.
func (v Values) Duration(name string) time.Duration { return of(v, name, v.flags.GetDuration) }

// Strings returns the values of a flag that takes a list.
func (v Values) Strings(name string) []string {
	if v.flag(name).Value.Type() == "stringArray" {
		return of(v, name, v.flags.GetStringArray)
	}
	return of(v, name, v.flags.GetStringSlice)
}

// gates returns the feature gates given for the controller, and those given for all.
func (v Values) gates() (own, shared map[string]bool) {
	read := func(name string) map[string]bool {
		if f := v.flags.Lookup(name); f != nil {
			if g, ok := f.Value.(*gateValue); ok {
				return g.gates
			}
		}
		return nil
	}
	if v.prefix == "" {
		return read("feature-gates"), nil
	}
	return read(v.prefix + "feature-gates"), read("feature-gates")
}

func sortedKeys[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }
