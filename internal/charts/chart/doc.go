// Package chart reads Helm charts from archives and directories, changes their version, values and dependencies, and
// packs them again.
//
// A chart is a list of files; nothing but Chart.yaml, its dependencies and the values that are merged is interpreted. What
// is packed depends on the files alone: entries have a fixed order, mode and time, and the compressor is a pinned module,
// so the same chart gives the same bytes on any machine. That is also why it does not use Helm's loader, which keeps
// dependencies in a map, and whose packages link the whole client of Kubernetes.
//
// Charts come from anybody. Names that lead out of the chart are refused, and so is what exceeds the [Limits].
package chart

import (
	"errors"
)

// Errors that callers tell apart.
var (
	// ErrNotChart says that the files are no chart.
	ErrNotChart = errors.New("not a chart")
	// ErrLimit says that a chart is larger than allowed.
	ErrLimit = errors.New("exceeds a limit")
	// ErrNoValues says that a values file does not exist.
	ErrNoValues = errors.New("no values file found at path")
)

// Limits of a chart. A zero field means its default.
type Limits struct {
	// Packed is the size of an archive, 10 MiB.
	Packed int64
	// File is the size of one file, 5 MiB.
	File int64
	// Files is how many there are, 20,000.
	Files int
	// Unpacked is the size of all files together, ten times Packed.
	Unpacked int64
}

// WithDefaults fills in what is zero.
func (l Limits) WithDefaults() Limits {
	if l.Packed <= 0 {
		l.Packed = 10 << 20
	}
	if l.File <= 0 {
		l.File = 5 << 20
	}
	if l.Files <= 0 {
		l.Files = 20_000
	}
	if l.Unpacked <= 0 {
		l.Unpacked = 10 * l.Packed
	}
	return l
}

// The files with a meaning.
const (
	metadataFile     = "Chart.yaml"
	lockFile         = "Chart.lock"
	ValuesFile       = "values.yaml"
	schemaFile       = "values.schema.json"
	requirementsFile = "requirements.yaml"
	requirementsLock = "requirements.lock"
	chartsDir        = "charts/"
	templatesDir     = "templates/"
)
