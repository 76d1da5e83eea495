// Lint is a tool for `go vet -vettool`: the analysers of go vet and those of staticcheck, in one reading of our own
// packages.
//
// Both of them by themselves read every package that ours depend on, six minutes of a processor to learn which functions
// of other people print or never return. This one takes from others only what is deprecated, and hack/vettool.sh has it
// look only at those packages of theirs that ours import themselves.
package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/tools/go/analysis"
	"golang.org/x/tools/go/analysis/unitchecker"
	"honnef.co/go/tools/analysis/facts/deprecated"
)

func main() {
	if unit := readUnit(); unit.VetxOnly && !unit.ours() {
		unitchecker.Main(deprecated.Analyzer)
	}
	unitchecker.Main(append(slices.Clone(vet), staticChecks()...)...)
}

// unit is what go vet writes about one package, as far as it matters here. VetxOnly asks for facts, not for a verdict.
type unit struct {
	ModulePath, ModuleVersion string
	VetxOnly                  bool
}

func readUnit() (u unit) {
	config := os.Args[len(os.Args)-1]
	if !strings.HasSuffix(config, ".cfg") {
		return u
	}
	data, err := os.ReadFile(config)
	if err == nil {
		err = json.Unmarshal(data, &u)
	}
	if err != nil {
		panic(err)
	}
	return u
}

// ours reports whether the package is of the module that is looked at: the standard library has no module, and the modules
// of others have versions.
func (u unit) ours() bool { return u.ModulePath != "" && u.ModuleVersion == "" }

// heedIgnore has an analyser of staticcheck heed `//lint:ignore CHECK reason`, which staticcheck's own command does for it.
func heedIgnore(a *analysis.Analyzer) {
	run := a.Run
	a.Run = func(pass *analysis.Pass) (any, error) {
		report := pass.Report
		pass.Report = func(d analysis.Diagnostic) {
			at := pass.Fset.Position(d.Pos)
			for _, l := range ignoredLines(pass) {
				if match, _ := filepath.Match(l.check, a.Name); match && l.file == at.Filename && (l.line == at.Line || l.line == 0) {
					return
				}
			}
			d.Message += " (" + a.Name + ")"
			report(d)
		}
		return run(pass)
	}
}
