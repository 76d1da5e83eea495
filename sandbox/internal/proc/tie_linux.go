package proc

import (
	"os/exec"
	"syscall"
)

// tie puts the command into its own process group, so that a signal from the
// terminal does not reach it, and has the kernel kill it with its parent.
func tie(cmd *exec.Cmd) {
	if cmd.SysProcAttr == nil {
		cmd.SysProcAttr = &syscall.SysProcAttr{}
	}
	cmd.SysProcAttr.Setpgid = true
	cmd.SysProcAttr.Pdeathsig = syscall.SIGKILL
}
