package fleet

import "os/exec"

func own(*exec.Cmd) {}
