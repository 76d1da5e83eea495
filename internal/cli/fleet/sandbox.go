package fleet

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"github.com/gitops-toolkit/flux/internal/cli/plugin"
)

var errNotInstalled = errors.New("flux-sandbox is not installed: put it beside flux or in PATH, or run 'flux plugin install sandbox'")

// sandbox is a throw-away cluster, driven through the program flux-sandbox.
type sandbox struct {
	program string
	name    string

	Kubeconfig string `json:"kubeconfig"`
	Registry   string `json:"registry"`
}

// controllers is the program that runs as every controller.
func (s *sandbox) controllers() (string, error) {
	candidates := []string{filepath.Join(filepath.Dir(s.program), "flux-controller")}
	if self, err := os.Executable(); err == nil {
		candidates = append(candidates, filepath.Join(filepath.Dir(self), "flux-controller"))
	}
	for _, path := range candidates {
		if info, err := os.Stat(path); err == nil && info.Mode().IsRegular() {
			return path, nil
		}
	}
	return "", fmt.Errorf("flux-controller is not beside %s: the sandbox runs it as the controllers", s.program)
}

// start brings a sandbox up, whose node runs the images as our controllers.
func start(ctx context.Context, name string, images []string) (*sandbox, error) {
	program := plugin.Find("sandbox")
	if program == "" {
		return nil, errNotInstalled
	}
	s := &sandbox{program: program, name: name}
	controllers, err := s.controllers()
	if err != nil {
		return nil, err
	}
	args := []string{"up"}
	for _, image := range images {
		args = append(args, "--image", image+"="+controllers)
	}
	return s, s.run(ctx, s, args...)
}

// stop takes the sandbox down, also when the command was interrupted.
func (s *sandbox) stop() error {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	return s.run(ctx, nil, "down")
}

// repository creates one on the sandbox's Git server; returned are its URL and its directory.
func (s *sandbox) repository(ctx context.Context, name string) (address, dir string, err error) {
	var repo struct{ HTTP, Directory string }
	err = s.run(ctx, &repo, "git", "create", name, "--branch", branch)
	return repo.HTTP, repo.Directory, err
}

func (s *sandbox) run(ctx context.Context, into any, args ...string) error {
	cmd := exec.CommandContext(ctx, s.program, append(args, "--name", s.name, "--output", "json")...)
	// An interrupt is for us: the sandbox goes down in order, at our word.
	own(cmd)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return fmt.Errorf("flux-sandbox %s: %w: %s", args[0], err, bytes.TrimSpace(stderr.Bytes()))
	}
	if into == nil {
		return nil
	}
	return json.Unmarshal(out, into)
}
