package archive

import (
	"bytes"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// recorded is a live run of upstream as data, beside the checkout on the machines that have it.
const recorded = "../../../../shared/recorded"

// TestRecordedArtifacts makes each archive of the recorded run again from its content: the tar
// stream must be equal byte for byte, only its compression may differ.
func TestRecordedArtifacts(t *testing.T) {
	t.Parallel()
	var files []string
	for _, kind := range []string{"source-controller/gitrepository", "source-controller/bucket", "source-watcher/externalartifact"} {
		found, err := filepath.Glob(filepath.Join(recorded, "artifacts/files", kind, "*/*/*.tar.gz"))
		must(t, err)
		files = append(files, found...)
	}
	if len(files) == 0 {
		t.Skip("the recorded run is not on this machine")
	}
	for _, file := range files {
		data, err := os.ReadFile(file)
		must(t, err)
		content := map[string]string{}
		for _, i := range untar(t, data) {
			switch {
			case i.header.FileInfo().IsDir():
			case i.header.Mode == 0o700:
				content[i.header.Name+"*"] = i.content
			default:
				content[i.header.Name] = i.content
			}
		}
		got, _ := write(t, NewBuilder(Options{}), newTree(content), Ignore{})
		if want := gunzip(t, data); !bytes.Equal(gunzip(t, got), want) {
			t.Errorf("%s: the tar stream differs; entries are %q", file, names(t, got))
		}
		if !bytes.Equal(got[:10], data[:10]) {
			t.Errorf("%s: gzip header is %x, recorded %x", file, got[:10], data[:10])
		}
	}
}

// TestRecordedFleet archives the recorded input with the ignore rules of the recorded objects and
// compares with the recorded file lists.
func TestRecordedFleet(t *testing.T) {
	t.Parallel()
	listing, err := os.ReadFile(filepath.Join(recorded, "artifacts/listing-1-initial.txt"))
	if err != nil {
		t.Skip("the recorded run is not on this machine")
	}
	const commit = "f86e4e4b30745bb548c5dc5e772d7ae0c8a6b1c8.tar.gz"
	tree, err := OpenDir(filepath.Join(recorded, "inputs/fleet"))
	must(t, err)
	defer tree.Close() //nolint:errcheck // read only
	for object, spec := range map[string]string{"fleet": "", "fleet-include": "/*\n!/plain"} {
		got, _ := write(t, NewBuilder(Options{}), tree, Ignore{Spec: spec, SourceIgnore: true, Defaults: true})
		want := recordedNames(string(listing), object+"/"+commit+" ")
		want = slices.DeleteFunc(want, func(name string) bool { return name == "NOTE" }) // committed by a step of the run
		if lines := names(t, got); !slices.Equal(lines, want) || len(want) < 5 {
			t.Errorf("%s: got\n%q\nwant\n%q", object, lines, want)
		}
	}
}

// recordedNames returns the entries that a listing gives for one artifact.
func recordedNames(listing, artifact string) (names []string) {
	inside := false
	for line := range strings.Lines(listing) {
		if !strings.HasPrefix(line, "  ") {
			inside = strings.Contains(line, artifact)
		} else if i := strings.Index(line, "prefix='' "); inside && i >= 0 {
			names = append(names, strings.TrimSpace(line[i+len("prefix='' "):]))
		}
	}
	return names
}
