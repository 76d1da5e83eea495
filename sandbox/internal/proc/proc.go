// Package proc starts child processes that cannot outlive their parent.
//
// Three ties hold a child. On Linux the kernel kills it when its parent dies
// (PR_SET_PDEATHSIG). Our own components also read a pipe whose other end only
// the parent holds, and leave when it closes; that works everywhere. And every
// process of a sandbox carries the sandbox's id in its environment, so that
// `down` finds what a foreign executable may have left behind.
package proc

import (
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"sync"
)

// ComponentVerb is the hidden first argument that makes this executable one of
// the sandbox's components.
const ComponentVerb = "component"

// IDVariable carries the sandbox's id to every process that belongs to it.
const IDVariable = "FLUX_SANDBOX_ID"

const lifelineVariable = "FLUX_SANDBOX_LIFELINE_FD"

// Component returns the command that runs one of our components. Closing is
// tied to this process: the child leaves when we do.
func Component(id, name string, args ...string) (*exec.Cmd, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	read, err := lifeline()
	if err != nil {
		return nil, err
	}
	cmd := exec.Command(self, append([]string{ComponentVerb, name}, args...)...)
	cmd.Env = append(os.Environ(), IDVariable+"="+id, lifelineVariable+"=3")
	cmd.ExtraFiles = []*os.File{read}
	return cmd, nil
}

// lifeline returns the read end of a pipe that closes when this process ends.
// One pipe serves all children: nobody ever writes to it.
var lifeline = sync.OnceValues(func() (*os.File, error) {
	read, write, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	keep = write
	return read, nil
})

// keep stops the garbage collector from closing the write end.
//
//lint:ignore U1000 it is there to be kept
var keep *os.File

// FollowParent ends this process when its parent, which started it with
// Component, has gone.
func FollowParent() {
	fd, err := strconv.Atoi(os.Getenv(lifelineVariable))
	if err != nil {
		return
	}
	os.Unsetenv(lifelineVariable)
	pipe := os.NewFile(uintptr(fd), "lifeline")
	go func() {
		io.Copy(io.Discard, pipe)
		os.Exit(1)
	}()
}

// Start starts the command in a process group of its own and ties it to this
// process.
//
// The kernel takes the death of the starting thread for the death of the
// parent, so all children are started by one thread that never ends.
func Start(cmd *exec.Cmd) error {
	startOnce.Do(func() { go startForever() })
	tie(cmd)
	result := make(chan error, 1)
	requests <- request{cmd, result}
	if err := <-result; err != nil {
		return fmt.Errorf("start %s: %w", cmd.Path, err)
	}
	return nil
}

type request struct {
	cmd    *exec.Cmd
	result chan<- error
}

var (
	startOnce sync.Once
	requests  = make(chan request)
)

func startForever() {
	runtime.LockOSThread()
	for r := range requests {
		r.result <- r.cmd.Start()
	}
}
