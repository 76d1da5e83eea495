// Command release leaves in a directory what people download: the command line for every platform, with
// checksums; the manifests, whole and as the base that `flux install --version` fetches; the schemas of
// our kinds for validators; completion files; a list of what is inside (SPDX); and, when a key is given,
// a signature of the checksums and a signed statement of where they come from.
//
//	go run ./hack/release -version v0.2.0 -out dist/release [-key release.key]
//
// The same sources, version and key give the same files.
package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
)

var defaultPlatforms = "linux/amd64,linux/arm64,linux/arm,darwin/amd64,darwin/arm64,windows/amd64,windows/arm64"

func main() {
	r := &release{}
	var platforms, key string
	flag.StringVar(&r.version, "version", "v0.0.0-dev.0", "version, with its v")
	flag.StringVar(&r.out, "out", "dist/release", "directory of the files")
	flag.StringVar(&platforms, "platforms", defaultPlatforms, "platforms of the command line, as os/architecture")
	flag.StringVar(&key, "key", "", "private key, PKCS #8 in PEM, that signs; without it nothing is signed")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	r.compile = compile
	if err := r.run(ctx, strings.Split(platforms, ","), key); err != nil {
		fmt.Fprintln(os.Stderr, "release:", err)
		os.Exit(1)
	}
}

// release is one run.
type release struct {
	version, out string
	// compile returns the program for a platform.
	compile func(ctx context.Context, version, system, arch string) ([]byte, error)
	written []string // names of files
}

func (r *release) run(ctx context.Context, platforms []string, key string) error {
	if !strings.HasPrefix(r.version, "v") {
		return fmt.Errorf("-version %q: begin it with v", r.version)
	}
	if err := os.MkdirAll(r.out, 0o755); err != nil {
		return err
	}
	var program []byte
	for _, platform := range platforms {
		system, arch, ok := strings.Cut(platform, "/")
		if !ok {
			return fmt.Errorf("-platforms: %q is not os/architecture", platform)
		}
		data, err := r.compile(ctx, r.version, system, arch)
		if err != nil {
			return err
		}
		if err := r.archive(system, arch, data); err != nil {
			return err
		}
		program = data
	}
	for _, step := range []func() error{r.manifests, r.schemas, r.completions, r.script} {
		if err := step(); err != nil {
			return err
		}
	}
	if err := r.sbom(program); err != nil {
		return err
	}
	sums, err := r.checksums()
	if err != nil || key == "" {
		return err
	}
	return r.sign(key, sums)
}

func compile(ctx context.Context, version, system, arch string) ([]byte, error) {
	dir, err := os.MkdirTemp("", "flux-release-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	path := filepath.Join(dir, "flux")
	cmd := exec.CommandContext(ctx, "hack/go", "build", "-trimpath", "-gcflags=all=-dwarf=false", "-buildvcs=false",
		"-ldflags", "-s -w -buildid= -X github.com/gitops-toolkit/flux/internal/version.Version="+version, "-o", path, "./cmd/flux")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOOS="+system, "GOARCH="+arch, "GOFLAGS=", "GOAMD64=v1", "GOARM64=v8.0", "GOARM=7")
	cmd.Stdout, cmd.Stderr = os.Stderr, os.Stderr
	if err := cmd.Run(); err != nil {
		return nil, fmt.Errorf("compile for %s/%s: %w", system, arch, err)
	}
	return os.ReadFile(path)
}

// name is that of a file of this release.
func (r *release) name(rest string) string {
	return "flux_" + strings.TrimPrefix(r.version, "v") + "_" + rest
}

func (r *release) write(name string, data []byte) error {
	r.written = append(r.written, name)
	return os.WriteFile(filepath.Join(r.out, name), data, 0o644)
}

// checksums lists every file of this release, in the format of sha256sum. Those of an earlier one may lie beside them.
func (r *release) checksums() (text []byte, err error) {
	slices.Sort(r.written)
	for _, name := range r.written {
		data, err := os.ReadFile(filepath.Join(r.out, name))
		if err != nil {
			return nil, err
		}
		sum := sha256.Sum256(data)
		text = fmt.Appendf(text, "%s  %s\n", hex.EncodeToString(sum[:]), name)
	}
	return text, r.write(r.name("checksums.txt"), text)
}
