//go:build !unix

package plugin

import (
	"os"
	"os/exec"
)

// replace runs the plugin with our streams where a process cannot be replaced.
func replace(path string, args []string) error {
	cmd := exec.Command(path, args...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	return cmd.Run()
}
