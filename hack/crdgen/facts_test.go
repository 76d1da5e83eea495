package main

import (
	"bufio"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// factsDir holds the tables of the API that we are compatible with. It is absent in a checkout
// of this repository alone.
const factsDir = "../../../shared/facts/crds"

// factTable is one file: the head lines by key, and the versions.
type factTable struct {
	head     map[string]string
	versions []factVersion
}

type factVersion struct {
	name    string
	flags   string
	sub     string
	columns []string
	fields  []string
}

func readFacts(t *testing.T, name string) factTable {
	t.Helper()
	f, err := os.Open(filepath.Join(factsDir, name))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	table := factTable{head: map[string]string{}}
	lines := bufio.NewScanner(f)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		table.add(lines.Text())
	}
	if err := lines.Err(); err != nil {
		t.Fatal(err)
	}
	return table
}

func (f *factTable) add(line string) {
	if rest, ok := strings.CutPrefix(line, "## version "); ok {
		name, flags, _ := strings.Cut(rest, " ")
		f.versions = append(f.versions, factVersion{name: name, flags: flags})
		return
	}
	key, value, _ := strings.Cut(line, ": ")
	if len(f.versions) == 0 {
		f.head[key] = value
		return
	}
	v := &f.versions[len(f.versions)-1]
	switch {
	case strings.HasPrefix(line, "column: "):
		v.columns = append(v.columns, value)
	case strings.HasPrefix(line, "subresources: "):
		v.sub = value
	case strings.HasPrefix(line, "spec") || strings.HasPrefix(line, "status"):
		v.fields = append(v.fields, line)
	}
}
