package cli

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/gitops-toolkit/flux/sandbox/internal/state"
)

// parseImages reads REPOSITORY[:TAG]=EXECUTABLE.
func parseImages(values []string) ([]state.Image, error) {
	var images []state.Image
	for _, value := range values {
		reference, executable, ok := strings.Cut(value, "=")
		if !ok || reference == "" || executable == "" {
			return nil, fmt.Errorf("--image %q: write REPOSITORY[:TAG]=EXECUTABLE", value)
		}
		path, err := filepath.Abs(executable)
		if err != nil {
			return nil, err
		}
		info, err := os.Stat(path)
		if err != nil {
			return nil, fmt.Errorf("--image %q: %w", value, err)
		}
		if info.IsDir() || info.Mode()&0o111 == 0 {
			return nil, fmt.Errorf("--image %q: %s is not an executable file", value, path)
		}
		images = append(images, state.Image{Reference: reference, Executable: path})
	}
	return images, nil
}
