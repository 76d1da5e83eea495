//go:build unix && !linux

package proc

import (
	"os/exec"
	"syscall"
)

// tie puts the command into its own process group; the lifeline does the rest.
func tie(cmd *exec.Cmd) {
	if cmd.SysProcAttr == nil {
		cmd.SysProcAttr = &syscall.SysProcAttr{}
	}
	cmd.SysProcAttr.Setpgid = true
}
