package ui

import (
	"bufio"
	"io"
	"strings"
	"unicode/utf8"
)

// Table is a borderless table: cells padded to their column and divided by tabs, so that both
// a person and `cut -f` can read it. A cell with several lines takes several rows.
type Table struct {
	// Header cells are printed in upper case; none are printed when NoHeader is set.
	Header   []string
	Rows     [][]string
	NoHeader bool

	widths []int // grows with the rows printed so far, for tables that are printed as they come
}

// Append adds a row.
func (t *Table) Append(cells ...string) { t.Rows = append(t.Rows, cells) }

// Write prints header and rows.
func (t *Table) Write(w io.Writer) error {
	t.measure()
	out := bufio.NewWriter(w)
	t.writeHeader(out)
	for _, row := range t.Rows {
		t.writeRow(out, row)
	}
	return out.Flush()
}

// WriteNew prints the rows that were appended since the last call, and the header before the
// first of them. It serves watches: columns only ever grow.
func (t *Table) WriteNew(w io.Writer) error {
	first := t.widths == nil
	t.measure()
	out := bufio.NewWriter(w)
	if first {
		t.writeHeader(out)
	}
	for _, row := range t.Rows {
		t.writeRow(out, row)
	}
	t.Rows = t.Rows[:0]
	return out.Flush()
}

func (t *Table) measure() {
	if t.widths == nil {
		t.widths = make([]int, len(t.Header))
	}
	grow := func(row []string) {
		for i, cell := range row {
			for line := range strings.SplitSeq(cell, "\n") {
				t.widths[i] = max(t.widths[i], utf8.RuneCountInString(line))
			}
		}
	}
	if !t.NoHeader {
		grow(t.Header)
	}
	for _, row := range t.Rows {
		grow(row)
	}
}

func (t *Table) writeHeader(out *bufio.Writer) {
	if t.NoHeader {
		return
	}
	for i, cell := range t.Header {
		if i > 0 {
			out.WriteByte('\t')
		}
		pad(out, strings.ToUpper(cell), t.widths[i])
	}
	out.WriteByte('\n')
}

func (t *Table) writeRow(out *bufio.Writer, row []string) {
	cells := make([][]string, len(row))
	height := 1
	for i, cell := range row {
		cells[i] = strings.Split(cell, "\n")
		height = max(height, len(cells[i]))
	}
	for line := range height {
		for i := range cells {
			text := ""
			if line < len(cells[i]) {
				text = cells[i][line]
			}
			pad(out, text, t.widths[i])
			out.WriteByte('\t')
		}
		out.WriteByte('\n')
	}
}

func pad(out *bufio.Writer, text string, width int) {
	out.WriteString(text)
	for n := width - utf8.RuneCountInString(text); n > 0; n-- {
		out.WriteByte(' ')
	}
}
