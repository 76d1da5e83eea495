package apply

import (
	"slices"
	"strings"
)

// Action is what happened to one object.
type Action string

// Actions of a change log.
const (
	Created    Action = "created"
	Configured Action = "configured"
	Unchanged  Action = "unchanged"
	Skipped    Action = "skipped"
	Deleted    Action = "deleted"
)

// Change is one line of a change log.
type Change struct {
	Ref
	Action Action
	// Reclaimed says which of our fields were put back and which manager had taken them; empty
	// unless the write corrected a drift that could be explained.
	Reclaimed string
}

// String renders the line: "Kind/namespace/name action".
func (c Change) String() string { return c.Subject() + " " + string(c.Action) }

// ChangeLog lists what happened, in the order in which it happened.
type ChangeLog []Change

// With returns the changes with one of the actions.
func (l ChangeLog) With(actions ...Action) ChangeLog {
	var out ChangeLog
	for _, c := range l {
		if slices.Contains(actions, c.Action) {
			out = append(out, c)
		}
	}
	return out
}

// Changed returns what was created or configured: the lines of the apply event.
func (l ChangeLog) Changed() ChangeLog { return l.With(Created, Configured) }

// String renders one change a line, joined by newlines.
func (l ChangeLog) String() string {
	lines := make([]string, len(l))
	for i, c := range l {
		lines[i] = c.String()
	}
	return strings.Join(lines, "\n")
}

// BySubject maps each subject to its action, for structured logs.
func (l ChangeLog) BySubject() map[string]string {
	out := make(map[string]string, len(l))
	for _, c := range l {
		out[c.Subject()] = string(c.Action)
	}
	return out
}

// ByAction groups the subjects by action, for structured logs.
func (l ChangeLog) ByAction() map[string][]string {
	out := map[string][]string{}
	for _, c := range l {
		out[string(c.Action)] = append(out[string(c.Action)], c.Subject())
	}
	return out
}

// Inventory returns one entry a change, in order.
func (l ChangeLog) Inventory() Inventory {
	inv := make(Inventory, len(l))
	for i, c := range l {
		inv[i] = Entry{ID: c.ID(), Version: c.Version}
	}
	return inv
}
