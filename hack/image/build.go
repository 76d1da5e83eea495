package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/gitops-toolkit/flux/internal/controllers"
)

// build compiles the programs.
type build struct {
	version string
	dir     string
}

// set is what images of one platform are made of.
type set struct {
	platform              v1.Platform
	base, controller, cli v1.Layer
}

// platform compiles for an operating system and architecture and makes the layers.
func (b build) platform(ctx context.Context, name string) (set, error) {
	system, arch, ok := strings.Cut(name, "/")
	if !ok || system == "" || arch == "" {
		return set{}, fmt.Errorf("not a platform: write os/architecture")
	}
	controller, err := b.compile(ctx, system, arch, "flux-controller")
	if err != nil {
		return set{}, err
	}
	cli, err := b.compile(ctx, system, arch, "flux")
	if err != nil {
		return set{}, err
	}
	return layers(v1.Platform{OS: system, Architecture: arch}, controller, cli)
}

func (b build) compile(ctx context.Context, system, arch, program string) ([]byte, error) {
	path := filepath.Join(b.dir, system, arch, program)
	cmd := exec.CommandContext(ctx, "hack/go", "build", "-trimpath", "-gcflags=all=-dwarf=false", "-buildvcs=false",
		"-ldflags", "-s -w -buildid= -X github.com/gitops-toolkit/flux/internal/version.Version="+b.version,
		"-o", path, "./cmd/"+program)
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOOS="+system, "GOARCH="+arch, "GOFLAGS=", "GOAMD64=v1", "GOARM64=v8.0")
	cmd.Stdout, cmd.Stderr = os.Stderr, os.Stderr
	if err := cmd.Run(); err != nil {
		return nil, fmt.Errorf("compile %s: %w", program, err)
	}
	return os.ReadFile(path)
}

// layers makes the three layers of a platform from the programs.
func layers(platform v1.Platform, controller, cli []byte) (set, error) {
	bundle, err := authorities()
	if err != nil {
		return set{}, err
	}
	s := set{platform: platform}
	s.base, err = layer([]entry{
		{name: "etc/passwd", mode: 0o644, data: []byte("root:x:0:0:root:/root:/sbin/nologin\nnobody:x:65534:65534:nobody:/tmp:/sbin/nologin\n")},
		{name: "etc/group", mode: 0o644, data: []byte("root:x:0:\nnobody:x:65534:\n")},
		{name: "etc/ssl/certs/ca-certificates.crt", mode: 0o644, data: bundle},
		{name: "tmp", mode: 0o1777, directory: true},
	})
	if err != nil {
		return set{}, err
	}
	programs := []entry{{name: binaries + "/flux-controller", mode: 0o755, data: controller}}
	for _, c := range controllers.All {
		programs = append(programs, entry{name: binaries + "/" + c.Name, link: "flux-controller"})
	}
	if s.controller, err = layer(programs); err != nil {
		return set{}, err
	}
	s.cli, err = layer([]entry{{name: binaries + "/flux", mode: 0o755, data: cli}})
	return s, err
}

// binaries is the directory of the programs in an image.
const binaries = "usr/local/bin"
