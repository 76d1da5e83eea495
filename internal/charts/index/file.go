package index

import (
	"bufio"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
)

// Places is where in a stored index each chart is. It is safe for concurrent use.
type Places struct {
	charts map[string]place
}

// place is the list of a chart's versions.
type place struct{ offset, size int64 }

// Len is the number of charts.
func (p *Places) Len() int { return len(p.charts) }

// Version is what finding and fetching a version of a chart takes.
type Version struct {
	// Version of the chart, and its number for comparisons.
	Version string `json:"version"`
	// URLs at which it is, absolute or relative to the repository.
	URLs []string `json:"urls"`
	// Created is when it was made.
	Created moment `json:"created"`
	// Digest is the SHA-256 of the archive in hex, or empty.
	Digest string `json:"digest"`
}

// ErrDigest says that an archive is not the one that the index speaks of.
var ErrDigest = errors.New("the archive is not the one that the index names")

// Check tells whether an archive is that of the version. An index without a SHA-256 leaves it open.
func (v Version) Check(archive []byte) error {
	want := strings.ToLower(strings.TrimPrefix(v.Digest, "sha256:"))
	if raw, err := hex.DecodeString(want); err != nil || len(raw) != sha256.Size {
		return nil
	}
	if got := fmt.Sprintf("%x", sha256.Sum256(archive)); got != want {
		return fmt.Errorf("%w: its SHA-256 is %s, and the index has %s; have the repository indexed anew, once it is known who changed the archive", ErrDigest, got, want)
	}
	return nil
}

// ErrUnknownChart has the text that upstream's users know.
var ErrUnknownChart = errors.New("no chart name found")

// maxChart is the most that is read of a stored index for one chart.
const maxChart = 64 << 20

// Versions reads the versions of a chart, the highest first.
func (p *Places) Versions(in io.ReaderAt, chart string) ([]Version, error) {
	at, ok := p.charts[chart]
	if !ok || at.size <= int64(len("[]")) {
		return nil, ErrUnknownChart
	}
	if at.size > maxChart {
		return nil, fmt.Errorf("%w: the versions of the chart take %d bytes", ErrLimit, at.size)
	}
	var list []Version
	d := json.NewDecoder(bufio.NewReaderSize(io.NewSectionReader(in, at.offset, at.size), 64<<10))
	if err := delimiter(d, '['); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrSyntax, err)
	}
	for d.More() {
		var v Version
		if err := d.Decode(&v); err != nil {
			return nil, fmt.Errorf("%w: %w", ErrSyntax, err)
		}
		list = append(list, v)
	}
	return list, nil
}

// Scan finds the places in a stored index.
func Scan(in io.Reader) (*Places, error) {
	p := &Places{charts: map[string]place{}}
	d := json.NewDecoder(in)
	err := object(d, func(key string) error {
		if key != "entries" {
			return ignore(d)
		}
		return object(d, func(chart string) error {
			var value json.RawMessage
			if err := d.Decode(&value); err != nil {
				return err
			}
			if len(p.charts) >= maxCharts {
				return ErrLimit
			}
			size := int64(len(value))
			p.charts[chart] = place{d.InputOffset() - size, size}
			return nil
		})
	})
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrSyntax, err)
	}
	return p, nil
}

func ignore(d *json.Decoder) error {
	var value json.RawMessage
	return d.Decode(&value)
}

// Known keeps the places of stored indexes by their digests, those of the indexes that were used last. The zero value is
// ready, and safe for concurrent use.
type Known struct {
	mu      sync.Mutex
	indexes map[string]*known
	uses    int64
}

type known struct {
	once   sync.Once
	places *Places
	err    error
	last   int64
}

// maxKnown is how many charts all indexes that are kept may have together; a chart takes some hundred bytes.
const maxKnown = 200_000

// Keep keeps the places of an index.
func (k *Known) Keep(digest string, p *Places) {
	e := &known{places: p}
	e.once.Do(func() {})
	k.put(digest, e)
}

// Places returns those of an index; scan finds them if they are not kept. All who ask at once share one scan.
func (k *Known) Places(digest string, scan func() (*Places, error)) (*Places, error) {
	k.mu.Lock()
	e := k.indexes[digest]
	if e == nil {
		e = &known{}
		k.putLocked(digest, e)
	}
	k.uses++
	e.last = k.uses
	k.mu.Unlock()
	e.once.Do(func() {
		p, err := scan()
		k.mu.Lock()
		defer k.mu.Unlock()
		e.places, e.err = p, err
	})
	k.mu.Lock()
	defer k.mu.Unlock()
	if e.err != nil && k.indexes[digest] == e {
		delete(k.indexes, digest)
	}
	k.trim()
	return e.places, e.err
}

func (k *Known) put(digest string, e *known) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.putLocked(digest, e)
	k.trim()
}

func (k *Known) putLocked(digest string, e *known) {
	if k.indexes == nil {
		k.indexes = map[string]*known{}
	}
	k.uses++
	e.last = k.uses
	k.indexes[digest] = e
}

// trim drops what was not used for longest; one index always stays.
func (k *Known) trim() {
	for {
		oldest, charts := "", 0
		for digest, e := range k.indexes {
			if e.places != nil {
				charts += e.places.Len()
			}
			if oldest == "" || e.last < k.indexes[oldest].last {
				oldest = digest
			}
		}
		if len(k.indexes) <= 1 || charts <= maxKnown && len(k.indexes) <= maxIndexes {
			return
		}
		delete(k.indexes, oldest)
	}
}

// maxIndexes is how many indexes are kept at most.
const maxIndexes = 256
