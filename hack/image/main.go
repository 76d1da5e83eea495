// image writes the container images as an OCI layout, without Docker and without a base image:
//
//	go run ./hack/image -version v1.2.3 -out dist/images
//
// All controllers are one program that looks at the name under which it was started, so the
// images of all components share their layers and differ by entrypoint only. Each image is an
// index for all platforms. The same sources give the same bytes: builds are trimmed of paths,
// entries of layers are sorted and have neither times nor owners, and the compressor is a pinned
// module.
//
// Copy an image to a registry with any tool that reads layouts, for instance
//
//	skopeo copy --all oci:dist/images:ghcr.io/gitops-toolkit/flux-cli:v1.2.3 docker://…
//
// With -key each image has its signature beside it, as sha256-….sig, for `cosign verify --key` and for
// spec.verify of an OCIRepository.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"strings"

	"github.com/gitops-toolkit/flux/hack/signkey"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "image:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context) error {
	b := build{}
	out := flag.String("out", "dist/images", "directory of the layout; what was there is replaced")
	platforms := flag.String("platforms", "linux/amd64,linux/arm64", "platforms, separated by commas")
	flag.StringVar(&b.version, "version", "v0.0.0-dev.0", "version that the programs tell, and tag of the images")
	registry := flag.String("registry", "ghcr.io/gitops-toolkit", "registry in the names of the images")
	file := flag.String("key", "", "private key, PKCS #8 in PEM, that signs the images as cosign verifies them; without it nothing is signed")
	flag.Parse()
	var key *signkey.Key
	if *file != "" {
		k, err := signkey.Read(*file)
		if err != nil {
			return err
		}
		key = &k
	}

	dir, err := os.MkdirTemp("", "flux-image-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	b.dir = dir
	var sets []set
	for platform := range strings.SplitSeq(*platforms, ",") {
		s, err := b.platform(ctx, platform)
		if err != nil {
			return fmt.Errorf("%s: %w", platform, err)
		}
		sets = append(sets, s)
	}
	written, err := write(*out, *registry, b.version, sets, key)
	if err != nil {
		return err
	}
	for _, line := range written {
		fmt.Println(line)
	}
	return nil
}
