package index

import (
	"errors"
	"io"
	"os"
)

// Lookup returns the versions of a chart in an index that nobody keeps. fetch writes the index; temp is the directory for
// files that are gone afterwards, that of the system when empty.
func Lookup(chart, temp string, fetch func(io.Writer) error) (list []Version, err error) {
	dir, err := os.MkdirTemp(temp, "index-")
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	in, err := os.CreateTemp(dir, "fetched-")
	if err != nil {
		return nil, err
	}
	defer in.Close() //nolint:errcheck // only read from here on
	out, err := os.CreateTemp(dir, "converted-")
	if err != nil {
		return nil, err
	}
	defer out.Close() //nolint:errcheck // only read from here on
	if err := fetch(in); err != nil {
		return nil, err
	}
	if _, err := in.Seek(0, io.SeekStart); err != nil {
		return nil, err
	}
	places, _, err := Convert(in, out, dir)
	if err != nil {
		return nil, err
	}
	return places.Versions(out, chart)
}
