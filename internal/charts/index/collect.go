package index

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"

	"github.com/Masterminds/semver/v3"
)

const (
	// maxCharts of an index, and maxVersions of a chart.
	maxCharts   = 200_000
	maxVersions = 200_000
)

// collector puts entries aside and writes them when their order is known.
type collector struct {
	head    head
	summary Summary

	aside  *os.File
	buffer *bufio.Writer
	offset int64
	charts map[string][]record
	name   string // of the chart that began last
	total  int
}

// record is where an entry was put: its version, and its JSON after that.
type record struct {
	offset  int64
	json    uint32
	version uint32
}

func newCollector(temp string) (*collector, error) {
	f, err := os.CreateTemp(temp, "index-")
	if err != nil {
		return nil, err
	}
	c := &collector{aside: f}
	c.reset()
	return c, nil
}

// reset forgets what has been collected. What was put aside stays until the end.
func (c *collector) reset() {
	c.head, c.summary, c.charts, c.total = head{}, Summary{}, map[string][]record{}, 0
	c.buffer = bufio.NewWriterSize(io.NewOffsetWriter(c.aside, c.offset), 64<<10)
}

func (c *collector) close() {
	_ = c.aside.Close()
	_ = os.Remove(c.aside.Name())
}

// begin begins a chart.
func (c *collector) begin(name string) error {
	c.name = name
	if _, known := c.charts[name]; known {
		return nil
	}
	if len(c.charts) >= maxCharts {
		return fmt.Errorf("%w: it has more than %d charts", ErrLimit, maxCharts)
	}
	c.charts[name] = nil
	return nil
}

// skip leaves an entry out.
func (c *collector) skip(cause error) {
	if c.summary.Skipped++; len(c.summary.Problems) < maxProblems {
		c.summary.Problems = append(c.summary.Problems, fmt.Sprintf("entry of chart %q: %s", cutText(c.name), cutText(cause.Error())))
	}
}

// cutText bounds what is repeated of an index.
func cutText(s string) string {
	const most = 200
	if len(s) > most {
		return s[:most] + "..."
	}
	return s
}

// add takes an entry if it is valid.
func (c *collector) add(e *Entry) error {
	if _, err := e.check(); err != nil {
		c.skip(err)
		return nil
	}
	data, err := json.Marshal(e)
	if err != nil {
		c.skip(err) // keys that are no text
		return nil
	}
	list := c.charts[c.name]
	if c.total++; c.total > maxEntries || len(list) >= maxVersions {
		return fmt.Errorf("%w: it has more than %d versions, or more than %d of the chart %q", ErrLimit, maxEntries, maxVersions, cutText(c.name))
	}
	c.charts[c.name] = append(list, record{c.offset, uint32(len(data)), uint32(len(e.Version))}) //nolint:gosec // bounded by maxEntry
	for _, part := range [][]byte{[]byte(e.Version), data} {
		if _, err := c.buffer.Write(part); err != nil {
			return err
		}
		c.offset += int64(len(part))
	}
	return nil
}

// write writes the stored form.
func (c *collector) write(out io.Writer) (*Places, error) {
	if err := c.buffer.Flush(); err != nil {
		return nil, err
	}
	w := &counter{w: bufio.NewWriterSize(out, 64<<10)}
	before, after, err := c.head.frame()
	if err != nil {
		return nil, err
	}
	w.write(before)
	places := &Places{charts: make(map[string]place, len(c.charts))}
	for i, name := range slices.Sorted(maps.Keys(c.charts)) {
		w.first(i == 0, "\n    ", ",\n    ")
		quoted, err := json.Marshal(name)
		if err != nil {
			return nil, err
		}
		w.write(quoted)
		w.text(": ")
		from := w.n
		if err := c.writeChart(w, c.charts[name]); err != nil {
			return nil, err
		}
		places.charts[name] = place{from, w.n - from}
		c.summary.Versions += len(c.charts[name])
	}
	if c.summary.Charts = len(c.charts); c.summary.Charts > 0 {
		w.text("\n  ")
	}
	w.write(after)
	return places, w.end()
}

// frame is the JSON of the head, cut where the charts belong.
func (h head) frame() (before, after []byte, err error) {
	type tail struct {
		Entries     json.RawMessage   `json:"entries"`
		PublicKeys  []string          `json:"publicKeys,omitempty"`
		Annotations map[string]string `json:"annotations,omitempty"`
	}
	doc := struct {
		ServerInfo map[string]any `json:"serverInfo,omitempty"`
		APIVersion string         `json:"apiVersion"`
		Generated  moment         `json:"generated"`
		tail
	}{h.ServerInfo, h.APIVersion, h.Generated, tail{json.RawMessage("{}"), h.PublicKeys, h.Annotations}}
	data, err := json.MarshalIndent(doc, "", "  ")
	if err != nil { // keys that are no text
		doc.ServerInfo = nil
		if data, err = json.MarshalIndent(doc, "", "  "); err != nil {
			return nil, nil, err
		}
	}
	// Only the head of ours is indented by two: what ServerInfo holds is further in.
	mark := []byte("\n  \"entries\": {")
	i := bytes.Index(data, mark) + len(mark)
	return data[:i], data[i:], nil
}

// writeChart writes the versions of a chart, the highest first.
func (c *collector) writeChart(w *counter, list []record) error {
	if len(list) == 0 {
		w.text("[]")
		return w.err
	}
	if err := c.sort(list); err != nil {
		return err
	}
	var entry []byte
	var indented bytes.Buffer
	for i, r := range list {
		w.first(i == 0, "[\n      ", ",\n      ")
		entry = slices.Grow(entry[:0], int(r.json))[:r.json]
		if _, err := c.aside.ReadAt(entry, r.offset+int64(r.version)); err != nil {
			return err
		}
		indented.Reset()
		if err := json.Indent(&indented, entry, "      ", "  "); err != nil {
			return err
		}
		w.write(indented.Bytes())
	}
	w.text("\n    ]")
	return w.err
}

// sort puts the highest version first; equal ones stay in their order.
func (c *collector) sort(list []record) error {
	type versioned struct {
		record
		version *semver.Version
	}
	sorted := make([]versioned, len(list))
	var text []byte
	for i, r := range list {
		text = slices.Grow(text[:0], int(r.version))[:r.version]
		if _, err := c.aside.ReadAt(text, r.offset); err != nil {
			return err
		}
		v, err := semver.NewVersion(string(text))
		if err != nil {
			return err
		}
		sorted[i] = versioned{r, v}
	}
	slices.SortStableFunc(sorted, func(a, b versioned) int { return b.version.Compare(a.version) })
	for i := range sorted {
		list[i] = sorted[i].record
	}
	return nil
}

// counter counts what is written, and keeps the first error.
type counter struct {
	w   *bufio.Writer
	n   int64
	err error
}

func (w *counter) write(data []byte) {
	if w.err == nil {
		_, w.err = w.w.Write(data)
		w.n += int64(len(data))
	}
}

func (w *counter) text(s string) { w.write([]byte(s)) }

// first writes what stands before the first element of a list, or between two.
func (w *counter) first(is bool, before, between string) {
	if is {
		w.text(before)
		return
	}
	w.text(between)
}

func (w *counter) end() error {
	if w.err != nil {
		return w.err
	}
	return w.w.Flush()
}
