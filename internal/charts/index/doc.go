// Package index reads the indexes of Helm repositories, which may be large and come from anybody.
//
// [Convert] reads an index as a stream and writes the form in which it is stored: JSON with the charts sorted by name,
// the versions of a chart sorted downwards, and entries that are not valid left out. Neither the index nor its JSON is
// ever in memory as a whole: an index in JSON is read token by token, one in YAML is cut into the text of its entries
// (cut.go), and each entry is parsed for itself and put aside in a file until its place is known. What stays in memory
// is the version and the place of each entry.
//
// YAML that people and tools write for indexes can be cut: block style down to the entries, anything within them. What
// cannot (an anchor in one entry used in another, flow style above the entries) is parsed as a whole if it is small,
// and refused otherwise.
//
// A [File] looks up charts in what Convert has written. It knows where in the file each chart is and reads just that;
// a [Files] keeps those places for the indexes that were used last, so that all charts of a repository share them.
package index

import "errors"

// Errors that callers tell apart.
var (
	// ErrSyntax says that an index cannot be parsed.
	ErrSyntax = errors.New("not an index of charts")
	// ErrLimit says that a part of an index is larger than allowed.
	ErrLimit = errors.New("index exceeds a limit")
	// ErrNoAPIVersion has the text that Helm users know.
	ErrNoAPIVersion = errors.New("no API version specified")
	// ErrEmpty says that there is nothing in an index at all.
	ErrEmpty = errors.New("empty index.yaml file")
)

// The limits of what is in an index; how large it may be as a whole is for its fetcher to say.
const (
	// maxEntry is the text of one entry, or of one field beside the entries.
	maxEntry = 4 << 20
	// maxEntries of all charts together.
	maxEntries = 2_000_000
	// maxWhole is the size up to which YAML that cannot be cut is parsed as a whole; parsing takes some twenty times that
	// in memory.
	maxWhole = 4 << 20
)
