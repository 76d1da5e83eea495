package tracker

import (
	"flag"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write the table of docs/drift.md")

// TestPage holds the table of the users' page to what TestEdits proves.
func TestPage(t *testing.T) {
	t.Parallel()
	const path, mark = "../../../docs/drift.md", "<!-- edits -->\n"
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	parts := strings.Split(string(data), mark)
	if len(parts) != 3 {
		t.Fatalf("%s has %d marks, want two", path, len(parts)-1)
	}
	table := "| somebody changes | upstream, at its interval | here | requests |\n|---|---|---|---|\n"
	for _, e := range slices.Concat(edits, customEdits) {
		table += fmt.Sprintf("| %s | %s | %s | %s |\n", e.reason, e.upstream, e.here(), e.spent())
	}
	if *update {
		if err := os.WriteFile(path, []byte(parts[0]+mark+table+mark+parts[2]), 0o644); err != nil {
			t.Fatal(err)
		}
	} else if parts[1] != table {
		t.Errorf("the table of %s is stale: run this test with -update", path)
	}
	if n := len(edits) + len(customEdits); n < 40 {
		t.Errorf("only %d kinds of edits", n)
	}
}

// here says what we do about an edit, and when.
func (e *edit) here() string {
	did := map[bool]string{true: "left alone", false: "put back"}[e.changes == none]
	if e.changes == "created" {
		did = createdAnew
	}
	switch e.state {
	case InStep:
		return "left alone, not looked at"
	case Moved:
		return "looked at within seconds, " + did
	case Foreign:
		return "taken out at the interval"
	case Elsewhere:
		return did + " at the interval"
	}
	return did + " at once"
}

func (e *edit) spent() string {
	switch e.requests {
	case none:
		return "0"
	case "ANY":
		return "1 dry-run, 1 apply, 1 get, 1 patch" // and as many again as the object changes meanwhile
	}
	return e.requests
}
