package unpack

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

type entry struct {
	tar.Header
	content string
}

func file(name, content string) entry {
	return entry{tar.Header{Typeflag: tar.TypeReg, Name: name, Mode: 0o600, Size: int64(len(content))}, content}
}

func link(kind byte, name, target string) entry {
	return entry{tar.Header{Typeflag: kind, Name: name, Linkname: target}, ""}
}

func pack(t testing.TB, entries ...entry) []byte {
	t.Helper()
	var out bytes.Buffer
	gz := gzip.NewWriter(&out)
	w := tar.NewWriter(gz)
	for _, e := range entries {
		must(t, w.WriteHeader(&e.Header))
		_, err := io.WriteString(w, e.content)
		must(t, err)
	}
	must(t, w.Close())
	must(t, gz.Close())
	return out.Bytes()
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// outer makes a directory to unpack into, beside one file that must stay alone and as it is.
func outer(t testing.TB) (dir string, check func()) {
	t.Helper()
	parent := t.TempDir()
	secret := filepath.Join(parent, "secret")
	must(t, os.WriteFile(secret, []byte("secret"), 0o600))
	dir = filepath.Join(parent, "in")
	must(t, os.Mkdir(dir, 0o700))
	return dir, func() {
		t.Helper()
		entries, err := os.ReadDir(parent)
		must(t, err)
		data, err := os.ReadFile(secret)
		if err != nil || len(entries) != 2 || string(data) != "secret" {
			t.Errorf("something was written outside: %v, %q, %v", entries, data, err)
		}
		must(t, filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
			if err == nil && !d.IsDir() && !d.Type().IsRegular() {
				t.Errorf("%s is %v", path, d.Type())
			}
			return err
		}))
	}
}

func TestUnpack(t *testing.T) {
	t.Parallel()
	run := file("a/b/run.sh", "#!")
	run.Mode = 0o755
	data := pack(t,
		entry{tar.Header{Typeflag: tar.TypeXGlobalHeader, PAXRecords: map[string]string{"comment": "git archive writes this"}}, ""},
		entry{tar.Header{Typeflag: tar.TypeDir, Name: ".", Mode: 0o750}, ""},
		entry{tar.Header{Typeflag: tar.TypeDir, Name: "empty/", Mode: 0o750}, ""},
		run,
		file("./dot.yaml", "dot"),
		file("twice", "first one"),
		file("twice", "second"),
		link(tar.TypeSymlink, "a/inside", "../dot.yaml"),
		link(tar.TypeLink, "hard", "dot.yaml"),
		file(strings.Repeat("long/", 60)+"ä", "l"),
	)
	dir, check := outer(t)
	result, err := TarGz(t.Context(), bytes.NewReader(data), dir, Limits{})
	must(t, err)
	check()
	var got []string
	for _, f := range result.Files {
		content, err := os.ReadFile(filepath.Join(dir, f.Path))
		must(t, err)
		info, err := os.Stat(filepath.Join(dir, f.Path))
		must(t, err)
		if sha256.Sum256(content) != f.SHA256 || info.Size() != f.Size || info.Mode()&0o100 != 0 != f.Executable {
			t.Errorf("%s is not as the result says", f.Path)
		}
		got = append(got, f.Path+"="+string(content))
	}
	want := []string{"a/b/run.sh=#!", "dot.yaml=dot", "twice=second", strings.Repeat("long/", 60) + "ä=l"}
	if !slices.Equal(got, want) || result.Bytes != 12 {
		t.Errorf("got %q, %d bytes; want %q", got, result.Bytes, want)
	}
	if !slices.Equal(result.Skipped, []string{"a/inside", "hard"}) || !slices.Equal(result.Dirs[:3], []string{"empty", "a", "a/b"}) {
		t.Errorf("skipped %q, directories %q", result.Skipped, result.Dirs)
	}
}

func TestHostile(t *testing.T) {
	t.Parallel()
	many := func(n int) (entries []entry) {
		for i := range n {
			entries = append(entries, file(fmt.Sprint(i), ""))
		}
		return entries
	}
	small := Limits{Entries: 10, Bytes: 5000, FileBytes: 4000}
	for _, tt := range []struct {
		reason string
		data   []byte
		limits Limits
		is     error
		text   string
	}{
		{reason: "parent", data: pack(t, file("../secret", "x")), is: ErrUnsafe, text: "'../secret'"},
		{reason: "parent in the middle", data: pack(t, file("a/../../secret", "x")), is: ErrUnsafe, text: "'a/../../secret'"},
		{reason: "parent that stays inside is refused all the same", data: pack(t, file("a/../b", "x")), is: ErrUnsafe, text: "'a/../b'"},
		{reason: "absolute", data: pack(t, file("/etc/passwd", "x")), is: ErrUnsafe, text: "'/etc/passwd'"},
		{reason: "absolute directory", data: pack(t, entry{tar.Header{Typeflag: tar.TypeDir, Name: "/tmp/x"}, ""}), is: ErrUnsafe},
		{reason: "link out", data: pack(t, link(tar.TypeSymlink, "l", "../secret")), is: ErrUnsafe, text: "'l': archive is not safe to unpack: link to '../secret'"},
		{reason: "link out from below", data: pack(t, link(tar.TypeSymlink, "a/l", "../../secret")), is: ErrUnsafe},
		{reason: "absolute link", data: pack(t, link(tar.TypeSymlink, "l", "/etc/passwd")), is: ErrUnsafe},
		{reason: "hard link out", data: pack(t, link(tar.TypeLink, "l", "../secret")), is: ErrUnsafe},
		{reason: "absolute hard link", data: pack(t, link(tar.TypeLink, "l", "/etc/passwd")), is: ErrUnsafe},
		{reason: "character device", data: pack(t, link(tar.TypeChar, "null", "")), is: ErrUnsafe, text: "'null'"},
		{reason: "block device", data: pack(t, link(tar.TypeBlock, "sda", "")), is: ErrUnsafe},
		{reason: "pipe", data: pack(t, link(tar.TypeFifo, "p", "")), is: ErrUnsafe},
		{reason: "file below a file", data: pack(t, file("a", "x"), file("a/b", "y")), text: "'a/b'"},
		{reason: "directory over a file", data: pack(t, file("a", "x"), entry{tar.Header{Typeflag: tar.TypeDir, Name: "a"}, ""}), text: "'a'"},
		{reason: "file over a directory", data: pack(t, file("a/b", "x"), file("a", "y")), text: "'a'"},
		{reason: "file instead of the root", data: pack(t, file(".", "x")), text: "'.'"},
		{reason: "deep", data: pack(t, file(strings.Repeat("d/", 200)+"f", "x")), is: ErrLimit},
		{reason: "long name", data: pack(t, file(strings.Repeat("n", 5000), "x")), is: ErrLimit},
		{reason: "too many entries", data: pack(t, many(11)...), limits: small, is: ErrLimit, text: "at '10'"},
		{reason: "too many implied directories", data: pack(t, file("a/b/c/d/e/f/g/h/i/j/k/l", "")), limits: small, is: ErrLimit},
		{reason: "large file", data: pack(t, file("big", strings.Repeat("x", 4001))), limits: small, is: ErrLimit, text: "'big'"},
		{reason: "large together", data: pack(t, file("a", strings.Repeat("x", 3000)), file("b", strings.Repeat("x", 3000))), limits: small, is: ErrLimit, text: "'b'"},
		{reason: "headers alone exceed the bytes", data: pack(t, many(40)...), limits: Limits{Entries: 100, Bytes: 5000}, is: ErrLimit},
		{reason: "bomb", data: pack(t, file("zeros", strings.Repeat("\x00", 4<<20))), limits: Limits{RatioFloor: 1 << 20}, is: ErrLimit, text: "ratio above 200"},
		{reason: "names that fill the memory", data: pack(t, longNames(20)...), limits: Limits{NameBytes: 50_000}, is: ErrLimit, text: "names of more than"},
		{reason: "not gzip", data: []byte("hello, this is text"), text: "not gzip"},
		{reason: "empty input", data: nil, text: "not gzip"},
		{reason: "cut short", data: pack(t, file("a", strings.Repeat("xyz", 1000)))[:60]},
		{reason: "garbage inside", data: gzipped(t, strings.Repeat("garbage", 200))},
		{reason: "sparse", data: sparseArchive(t), is: ErrUnsafe, text: "sparse"},
	} {
		t.Run(tt.reason, func(t *testing.T) {
			t.Parallel()
			dir, check := outer(t)
			_, err := TarGz(t.Context(), bytes.NewReader(tt.data), dir, tt.limits)
			if err == nil || !strings.Contains(err.Error(), tt.text) || tt.is != nil && !errors.Is(err, tt.is) {
				t.Errorf("got %v, want %v with %q", err, tt.is, tt.text)
			}
			check()
		})
	}
}

// longNames are n empty files in one directory, with paths as long as they may be.
func longNames(n int) (entries []entry) {
	dir := strings.Repeat(strings.Repeat("d", 200)+"/", 19)
	for i := range n {
		entries = append(entries, link(tar.TypeSymlink, fmt.Sprint(dir, i, strings.Repeat("n", 200)), "x"))
	}
	return entries
}

func gzipped(t testing.TB, text string) []byte {
	t.Helper()
	var out bytes.Buffer
	w := gzip.NewWriter(&out)
	_, err := io.WriteString(w, text)
	must(t, err)
	must(t, w.Close())
	return out.Bytes()
}

// sparseArchive writes by hand what archive/tar does not: a PAX sparse file of 1 TiB in no bytes.
func sparseArchive(t testing.TB) []byte {
	t.Helper()
	records := ""
	for _, r := range []string{"GNU.sparse.major=1\n", "GNU.sparse.minor=0\n", "GNU.sparse.name=sparse\n", "GNU.sparse.realsize=1099511627776\n"} {
		n := len(r) + 3
		if n >= 100 {
			n++
		}
		records += fmt.Sprintf("%d %s", n, r)
	}
	sparseMap := "0\n" + strings.Repeat("\x00", 510)
	var out bytes.Buffer
	for _, b := range []struct {
		kind byte
		name string
		data string
	}{{tar.TypeXHeader, "x", records}, {tar.TypeReg, "sparse", sparseMap}} {
		var one bytes.Buffer
		w := tar.NewWriter(&one)
		must(t, w.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: b.name, Size: int64(len(b.data))}))
		_, err := io.WriteString(w, b.data)
		must(t, err)
		must(t, w.Flush())
		raw := one.Bytes()
		raw[156] = b.kind
		checksum(raw[:512])
		out.Write(raw)
	}
	return gzipped(t, out.String())
}

// checksum writes the sum of a header block into it.
func checksum(block []byte) {
	copy(block[148:156], "        ")
	sum := 0
	for _, b := range block {
		sum += int(b)
	}
	copy(block[148:156], fmt.Sprintf("%06o\x00 ", sum))
}

func TestSeveralMembers(t *testing.T) {
	t.Parallel()
	var raw bytes.Buffer
	w := tar.NewWriter(&raw)
	for _, name := range []string{"a", "b"} {
		must(t, w.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: name, Size: 1}))
		_, err := io.WriteString(w, name)
		must(t, err)
	}
	must(t, w.Close())
	half := raw.Len() / 2
	data := append(gzipped(t, raw.String()[:half]), gzipped(t, raw.String()[half:])...)
	dir, _ := outer(t)
	if result, err := TarGz(t.Context(), bytes.NewReader(data), dir, Limits{}); err != nil || len(result.Files) != 2 {
		t.Errorf("%v, %v", result, err)
	}
}

func TestCancelled(t *testing.T) {
	t.Parallel()
	cause := errors.New("superseded")
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(cause)
	dir, _ := outer(t)
	if _, err := TarGz(ctx, bytes.NewReader(pack(t, file("a", "a"))), dir, Limits{}); !errors.Is(err, cause) {
		t.Errorf("got %v", err)
	}
}

func FuzzTarGz(f *testing.F) {
	for _, entries := range [][]entry{
		{file("a/b", "x"), file("a/b", "y")},
		{file("../x", "x")},
		{link(tar.TypeSymlink, "a", "b"), file("a/c", "x")},
		{link(tar.TypeSymlink, "a", ".."), file("a/c", "x")},
		{link(tar.TypeLink, "a", "b"), link(tar.TypeFifo, "p", "")},
		{file(strings.Repeat("long/", 60)+"ä", "l")},
	} {
		var raw bytes.Buffer
		w := tar.NewWriter(&raw)
		for _, e := range entries {
			must(f, w.WriteHeader(&e.Header))
			_, err := io.WriteString(w, e.content)
			must(f, err)
		}
		must(f, w.Close())
		f.Add(raw.Bytes(), true)
		f.Add(pack(f, entries...), false)
	}
	f.Fuzz(func(t *testing.T, data []byte, compress bool) {
		if compress { // so that the fuzzer reaches the tar reader
			data = gzipped(t, string(data))
		}
		dir, check := outer(t)
		result, err := TarGz(t.Context(), bytes.NewReader(data), dir, Limits{Entries: 100, Bytes: 1 << 20, RatioFloor: 1 << 16})
		check()
		if err != nil {
			return
		}
		for _, file := range result.Files {
			if info, err := os.Lstat(filepath.Join(dir, file.Path)); err != nil || !info.Mode().IsRegular() || info.Size() != file.Size {
				t.Errorf("%q is not as the result says: %v", file.Path, err)
			}
		}
	})
}
