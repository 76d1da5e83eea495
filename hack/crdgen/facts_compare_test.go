package main

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	extv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	"sigs.k8s.io/yaml"
)

const (
	crdsDir         = "../../manifests/crds"
	differencesFile = "../../api/differences.txt"
)

// TestTables compares every version of every definition with its table, field by field.
func TestTables(t *testing.T) {
	if _, err := os.Stat(factsDir); err != nil {
		t.Skipf("no tables to compare with: %s is not beside this checkout", factsDir)
	}
	allowed := readDifferences(t)
	files, err := filepath.Glob(filepath.Join(crdsDir, "*.yaml"))
	if err != nil || len(files) != 15 {
		t.Fatalf("want the definitions of 15 kinds in %s, got %d (%v)", crdsDir, len(files), err)
	}
	for _, file := range files {
		crd := loadCRD(t, file)
		group := strings.TrimSuffix(strings.TrimSuffix(crd.Spec.Group, ".fluxcd.io"), ".toolkit")
		name := group + "_" + strings.ToLower(crd.Spec.Names.Kind)
		for _, d := range compareKind(t, crd, name) {
			if !allowed.take(d) {
				t.Errorf("%s\n  not in %s", d, differencesFile)
			}
		}
	}
	for _, unused := range allowed.unused() {
		t.Errorf("%s lists a difference that does not exist: %s", differencesFile, unused)
	}
}

// TestEveryServedVersionHasItsTable finds tables that no definition serves.
func TestEveryServedVersionHasItsTable(t *testing.T) {
	tables, err := filepath.Glob(filepath.Join(factsDir, "*.v*.txt"))
	if err != nil || len(tables) == 0 {
		t.Skipf("no tables to compare with: %s is not beside this checkout", factsDir)
	}
	served := map[string]bool{}
	files, _ := filepath.Glob(filepath.Join(crdsDir, "*.yaml"))
	for _, file := range files {
		crd := loadCRD(t, file)
		group := strings.TrimSuffix(strings.TrimSuffix(crd.Spec.Group, ".fluxcd.io"), ".toolkit")
		for _, v := range crd.Spec.Versions {
			served[group+"_"+strings.ToLower(crd.Spec.Names.Kind)+"."+v.Name+".txt"] = true
		}
	}
	for _, table := range tables {
		name := filepath.Base(table)
		if !strings.Contains(name, "alpha") && !served[name] {
			t.Errorf("no definition serves the version of %s", name)
		}
	}
}

func loadCRD(t *testing.T, file string) *extv1.CustomResourceDefinition {
	t.Helper()
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	crd := &extv1.CustomResourceDefinition{}
	if err := yaml.UnmarshalStrict(data, crd); err != nil {
		t.Fatalf("%s: %v", file, err)
	}
	return crd
}

// compareKind returns one line for each difference: "table version: -theirs" and "+ours".
func compareKind(t *testing.T, crd *extv1.CustomResourceDefinition, name string) []string {
	current := readFacts(t, name+".txt")
	diffs := diff(name+" head", headLines(current.head), ourHead(crd))
	for _, v := range crd.Spec.Versions {
		var theirs factVersion
		if v.Storage {
			theirs = current.versions[0]
		} else {
			theirs = readFacts(t, name+"."+v.Name+".txt").versions[0]
		}
		diffs = append(diffs, diff(name+" "+v.Name, versionLines(theirs), ourVersion(v))...)
	}
	return diffs
}

func headLines(head map[string]string) []string {
	var lines []string
	for _, k := range []string{"group", "kind", "listKind", "plural", "singular", "shortNames", "categories", "scope", "crdAnnotations"} {
		lines = append(lines, k+": "+head[k])
	}
	return lines
}

func ourHead(crd *extv1.CustomResourceDefinition) []string {
	n := crd.Spec.Names
	list := func(s []string) string {
		if len(s) == 0 {
			return "-"
		}
		return strings.Join(s, ", ")
	}
	return []string{
		"group: " + crd.Spec.Group, "kind: " + n.Kind, "listKind: " + n.ListKind, "plural: " + n.Plural,
		"singular: " + n.Singular, "shortNames: " + list(n.ShortNames), "categories: " + list(n.Categories),
		"scope: " + string(crd.Spec.Scope), "crdAnnotations: " + compact(crd.Annotations),
	}
}

func versionLines(v factVersion) []string {
	flags := v.flags
	if !strings.Contains(flags, "storage=true") {
		flags = strings.Replace(flags, "storage=false ", "", 1)
	}
	lines := []string{"flags: " + strings.Replace(flags, "storage=true ", "", 1), "subresources: " + v.sub}
	for _, c := range v.columns {
		lines = append(lines, "column: "+c)
	}
	for _, f := range v.fields {
		lines = append(lines, sortConstraints(f))
	}
	return lines
}

func ourVersion(v extv1.CustomResourceDefinitionVersion) []string {
	flags := fmt.Sprintf("served=%t deprecated=%t", v.Served, v.Deprecated)
	if v.DeprecationWarning != nil {
		flags += " deprecationWarning=" + compact(*v.DeprecationWarning)
	}
	sub := "-"
	if v.Subresources != nil && v.Subresources.Status != nil {
		sub = "status"
	}
	lines := []string{"flags: " + flags, "subresources: " + sub}
	for _, c := range v.AdditionalPrinterColumns {
		lines = append(lines, fmt.Sprintf("column: %s | %s | %s | priority=%d", c.Name, c.Type, c.JSONPath, c.Priority))
	}
	for _, f := range flatten(v.Schema.OpenAPIV3Schema) {
		lines = append(lines, sortConstraints(f.String()))
	}
	return lines
}

// sortConstraints makes the order in which a line names its constraints irrelevant.
func sortConstraints(line string) string {
	parts := strings.Split(line, " | ")
	if len(parts) > 3 {
		slices.Sort(parts[3:])
	}
	return strings.Join(parts, " | ")
}

// diff compares line by line; the order of columns counts, that of fields is sorted anyway.
func diff(where string, theirs, ours []string) []string {
	var out []string
	for _, l := range theirs {
		if !slices.Contains(ours, l) {
			out = append(out, where+": -"+l)
		}
	}
	for _, l := range ours {
		if !slices.Contains(theirs, l) {
			out = append(out, where+": +"+l)
		}
	}
	column := func(l string) bool { return !strings.HasPrefix(l, "column: ") }
	a, b := slices.DeleteFunc(slices.Clone(theirs), column), slices.DeleteFunc(slices.Clone(ours), column)
	if len(out) == 0 && !slices.Equal(a, b) {
		out = append(out, where+": columns are in another order")
	}
	return out
}

// differences are the lines of the file, each with how often it was met.
type differences map[string]int

// readDifferences reads lines such as "<table> <version>: +<field line>"; a path that ends in
// "*" stands for all below it. "#" starts a reason, which every group of lines has.
func readDifferences(t *testing.T) differences {
	t.Helper()
	data, err := os.ReadFile(differencesFile)
	if err != nil {
		t.Fatal(err)
	}
	d := differences{}
	for line := range strings.Lines(string(data)) {
		if line = strings.TrimSpace(line); line != "" && line[0] != '#' {
			d[line] = 0
		}
	}
	return d
}

func (d differences) take(line string) bool {
	for pattern := range d {
		prefix, wild := strings.CutSuffix(pattern, "*")
		if line == pattern || wild && strings.HasPrefix(line, prefix) {
			d[pattern]++
			return true
		}
	}
	return false
}

func (d differences) unused() []string {
	var out []string
	for line, n := range d {
		if n == 0 {
			out = append(out, line)
		}
	}
	slices.Sort(out)
	return out
}
