package controllers

import (
	"slices"
	"strings"
)

// idleNote ends the help of what is accepted because manifests and scripts carry it, but has
// nothing to act on here.
const idleNote = " (no effect)"

// names is a set of flags or feature gates.
type names func(name string) bool

func only(list ...string) names {
	return func(name string) bool { return slices.Contains(list, name) }
}

// help is what --help shows for a flag of the controller.
func (c Controller) help(f Flag) string {
	text := strings.TrimSuffix(f.Help, ".")
	if f.Type == "gates" {
		text += "; known: " + c.gateList()
	}
	if c.Idle(f.Name) && !strings.Contains(text, without) {
		text += idleNote
	}
	return text + "."
}

// gateList names the controller's gates; those without effect say so.
func (c Controller) gateList() string {
	list := sortedKeys(c.Gates)
	for i, name := range list {
		if c.IdleGates(name) {
			list[i] += idleNote
		}
	}
	return strings.Join(list, ", ")
}
