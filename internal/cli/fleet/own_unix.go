//go:build !windows

package fleet

import (
	"os/exec"
	"syscall"
)

// own puts the command into a process group of its own, which the terminal does not interrupt.
func own(cmd *exec.Cmd) { cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} }
