package main

import (
	"archive/tar"
	"bytes"
	"encoding/pem"
	"errors"
	"io"
	"path"
	"slices"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/google/go-containerregistry/pkg/v1/types"
	"golang.org/x/crypto/x509roots/fallback/bundle"
)

// entry is a file, a directory or a symbolic link of a layer.
type entry struct {
	name      string // without leading slash
	mode      int64
	data      []byte
	directory bool
	link      string
}

// packed is an archive of entries, with the directories above them, in the order of their names.
func packed(entries []entry) ([]byte, error) {
	entries = slices.Concat(entries, parents(entries))
	slices.SortFunc(entries, func(a, b entry) int { return strings.Compare(a.name, b.name) })
	var archive bytes.Buffer
	w := tar.NewWriter(&archive)
	for _, e := range entries {
		if err := w.WriteHeader(e.header()); err != nil {
			return nil, err
		}
		if _, err := w.Write(e.data); err != nil {
			return nil, err
		}
	}
	err := w.Close()
	return archive.Bytes(), err
}

// layer is one of an image.
func layer(entries []entry) (v1.Layer, error) {
	archive, err := packed(entries)
	if err != nil {
		return nil, err
	}
	return tarball.LayerFromOpener(func() (io.ReadCloser, error) {
		return io.NopCloser(bytes.NewReader(archive)), nil
	}, tarball.WithMediaType(types.OCILayer))
}

// header has neither owner nor time, so that the archive depends on nothing else.
func (e entry) header() *tar.Header {
	switch {
	case e.directory:
		return &tar.Header{Typeflag: tar.TypeDir, Name: e.name + "/", Mode: e.mode, Format: tar.FormatUSTAR}
	case e.link != "":
		return &tar.Header{Typeflag: tar.TypeSymlink, Name: e.name, Linkname: e.link, Mode: 0o777, Format: tar.FormatUSTAR}
	}
	return &tar.Header{Typeflag: tar.TypeReg, Name: e.name, Mode: e.mode, Size: int64(len(e.data)), Format: tar.FormatUSTAR}
}

// parents returns the directories that entries lie in and that are not entries themselves.
func parents(entries []entry) []entry {
	seen := map[string]bool{}
	for _, e := range entries {
		seen[e.name] = true
	}
	var out []entry
	for _, e := range entries {
		for dir := path.Dir(e.name); dir != "." && !seen[dir]; dir = path.Dir(dir) {
			seen[dir] = true
			out = append(out, entry{name: dir, mode: 0o755, directory: true})
		}
	}
	return out
}

// authorities returns the certificates that Mozilla trusts, as one file that every TLS library
// reads. Roots that are trusted with a condition are left out: a file cannot express it.
func authorities() ([]byte, error) {
	var out bytes.Buffer
	for root := range bundle.Roots() {
		if root.Constraint != nil {
			continue
		}
		if err := pem.Encode(&out, &pem.Block{Type: "CERTIFICATE", Bytes: root.Certificate}); err != nil {
			return nil, err
		}
	}
	if out.Len() == 0 {
		return nil, errors.New("the bundle of certificate authorities is empty")
	}
	return out.Bytes(), nil
}
