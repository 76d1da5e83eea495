// manifests writes what an installation is built from, see package base; with -archive it packs
// all manifests as a release publishes them instead.
package main

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"

	"github.com/gitops-toolkit/flux/internal/install"
	"github.com/gitops-toolkit/flux/internal/install/base"
	"github.com/gitops-toolkit/flux/manifests"
)

func main() {
	out := flag.String("out", "manifests/install", "directory to write to")
	archive := flag.String("archive", "", "file to pack the embedded manifests into, such as dist/manifests.tar.gz")
	flag.Parse()
	run := func() error { return base.Write(*out) }
	if *archive != "" {
		run = func() error { return pack(*archive) }
	}
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "manifests:", err)
		os.Exit(1)
	}
}

func pack(path string) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	defer f.Close()
	if err := install.Archive(f, manifests.Files()); err != nil {
		return err
	}
	return f.Close()
}
