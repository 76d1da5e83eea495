//go:build unix

package plugin

import (
	"os"
	"syscall"
)

// replace turns this process into the plugin; it returns only on failure.
func replace(path string, args []string) error {
	return syscall.Exec(path, append([]string{path}, args...), os.Environ())
}
