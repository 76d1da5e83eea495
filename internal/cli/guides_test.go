package cli

import (
	"bytes"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/gitops-toolkit/flux/internal/cli/session"
)

// TestGuides reads every command of flux in a console block of the guides, as the program
// would: words and flags must exist and values be such as they take.
func TestGuides(t *testing.T) {
	t.Setenv("FLUXCD_PLUGINS", t.TempDir())
	files, err := filepath.Glob("../../docs/*.md")
	if err != nil {
		t.Fatal(err)
	}
	checked := 0
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, line := range consoleLines(string(text)) {
			if problem := understood(line); problem != nil {
				t.Errorf("%s: %s: %v", filepath.Base(file), line, problem)
			}
			checked++
		}
	}
	if checked < 20 {
		t.Errorf("only %d commands found", checked)
	}
}

// consoleLines returns the flux commands of ```console blocks, with continued lines joined.
func consoleLines(text string) (lines []string) {
	console := false
	for line := range strings.Lines(strings.ReplaceAll(text, "\\\n", " ")) {
		if strings.HasPrefix(line, "```") {
			console = strings.HasPrefix(line, "```console")
			continue
		}
		command, ok := strings.CutPrefix(strings.TrimSpace(line), "$ ")
		if !console || !ok {
			continue
		}
		words := strings.Fields(command)
		for len(words) > 0 && strings.Contains(words[0], "=") && !strings.HasPrefix(words[0], "-") {
			words = words[1:] // a variable for this command
		}
		if len(words) > 1 && words[0] == "flux" && (words[1] != "sandbox" || words[2] == "test") {
			lines = append(lines, strings.Join(words, " "))
		}
	}
	return lines
}

func understood(line string) error {
	words := strings.Fields(line)[1:]
	for i, word := range words {
		if word == ">" || word == "|" || word == "&&" || strings.HasPrefix(word, "#") {
			words = words[:i]
			break
		}
		words[i] = strings.NewReplacer("'", "", `"`, "").Replace(word)
	}
	root := newRoot(session.New(strings.NewReader(""), &bytes.Buffer{}, &bytes.Buffer{}))
	cmd, rest, err := root.Find(words)
	if err != nil {
		return err
	}
	return cmd.ParseFlags(rest)
}

// TestTroubleshooting: every message that the tables of the guides explain is one that the programs give.
func TestTroubleshooting(t *testing.T) {
	t.Parallel()
	var source strings.Builder
	err := filepath.WalkDir("..", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
			return err
		}
		text, err := os.ReadFile(path)
		source.Write(text)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	seen := 0
	for _, file := range []string{"troubleshooting.md", "bootstrap.md"} {
		text, err := os.ReadFile("../../docs/" + file)
		if err != nil {
			t.Fatal(err)
		}
		for line := range strings.Lines(string(text)) {
			message, ok := strings.CutPrefix(line, "| `")
			message, cure, closed := strings.Cut(message, "` | ")
			if !ok || !closed || strings.TrimSpace(cure) == "" {
				continue
			}
			seen++
			for part := range strings.SplitSeq(message, "…") {
				if part = strings.Trim(part, " '[]"); len(part) > 3 && !strings.Contains(source.String(), part) && !apiServerSays(part) {
					t.Errorf("%s: nobody says %q of %q", file, part, message)
				}
			}
		}
	}
	if seen < 30 {
		t.Errorf("only %d messages found", seen)
	}
}

// apiServerSays lists the words of the API server itself.
func apiServerSays(part string) bool {
	return part == "is forbidden" || strings.HasPrefix(part, "unable to create new content") || strings.HasPrefix(part, "because it is being terminated")
}
