package cli

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/gitops-toolkit/flux/sandbox/internal/state"
	"github.com/gitops-toolkit/flux/sandbox/internal/supervise"
)

// readyLine is what the supervisor sends when the sandbox is healthy.
const readyLine = "ready"

func newUp(o *options) *cobra.Command {
	var images []string
	cmd := &cobra.Command{
		Use:   "up",
		Short: "Start a sandbox and wait until it is healthy",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return up(cmd, o, images)
		},
	}
	addImageFlag(cmd, &images)
	return cmd
}

func newRun(o *options) *cobra.Command {
	var images []string
	cmd := &cobra.Command{
		Use:   "run",
		Short: "Run a sandbox in the foreground until interrupted, then remove it",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return run(cmd, o, images)
		},
	}
	addImageFlag(cmd, &images)
	return cmd
}

// newSupervise is what `up` leaves behind.
func newSupervise(o *options) *cobra.Command {
	return &cobra.Command{
		Use:    "supervise",
		Hidden: true,
		Args:   cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return superviseDetached(cmd.Context(), o)
		},
	}
}

func addImageFlag(cmd *cobra.Command, images *[]string) {
	cmd.Flags().StringArrayVar(images, "image", nil,
		"run pods of an image as processes of a local executable, as REPOSITORY[:TAG]=EXECUTABLE (repeatable)")
}

func up(cmd *cobra.Command, o *options, images []string) error {
	dir, err := state.Open(o.name)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(cmd.Context(), 3*time.Minute)
	defer cancel()
	lock, err := state.CommandLock(ctx, dir)
	if err != nil {
		return err
	}
	defer lock.Release()

	mapped, err := parseImages(images)
	if err != nil {
		return err
	}
	if err := errors.Join(dir.Create(), dir.Map(mapped)); err != nil {
		return err
	}
	started := time.Now()
	if err := ensure(ctx, cmd.ErrOrStderr(), dir); err != nil {
		return err
	}
	current, err := dir.Load()
	if err != nil {
		return err
	}
	fmt.Fprintf(cmd.ErrOrStderr(), "✔ sandbox %s is up (%.1fs)\n", o.name, time.Since(started).Seconds())
	return o.print(cmd.OutOrStdout(), view(dir, current), "export KUBECONFIG="+current.Kubeconfig)
}

// ensure returns when the sandbox answers; it starts one that does not run. That the supervisor runs does not say enough:
// it may be about to start a component again, and when it was killed its lock lives a moment longer than its children.
func ensure(ctx context.Context, progress io.Writer, dir state.Dir) error {
	for dir.Running() {
		if current, err := dir.Load(); err == nil && answers(ctx, current.Kubeconfig) {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("sandbox %q runs, but its API server does not answer: see the logs in %s", dir.Name(), dir.Path("logs"))
		case <-time.After(50 * time.Millisecond):
		}
	}
	return detach(ctx, progress, dir)
}

// detach starts the supervisor in a session of its own and follows its progress
// until the sandbox is healthy.
func detach(ctx context.Context, progress io.Writer, dir state.Dir) error {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	log, err := os.OpenFile(dir.Log("supervisor"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer log.Close()
	read, write, err := os.Pipe()
	if err != nil {
		return err
	}
	defer read.Close()
	child := exec.Command(self, "supervise", "--name", dir.Name())
	child.Dir = string(dir)
	child.Stdout, child.Stderr = log, log
	child.ExtraFiles = []*os.File{write}
	child.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	err = child.Start()
	write.Close()
	if err != nil {
		return fmt.Errorf("start the supervisor: %w", err)
	}
	stop := context.AfterFunc(ctx, func() { child.Process.Signal(syscall.SIGTERM) })
	defer stop()
	return follow(progress, read, dir)
}

func follow(progress io.Writer, pipe io.Reader, dir state.Dir) error {
	lines := bufio.NewScanner(pipe)
	last := ""
	for lines.Scan() {
		line := lines.Text()
		if line == readyLine {
			return nil
		}
		if failure, ok := strings.CutPrefix(line, "failed: "); ok {
			return errors.New(failure)
		}
		last = line
		fmt.Fprintln(progress, "►", line)
	}
	return fmt.Errorf("the supervisor ended while %s: see %s", last, dir.Log("supervisor"))
}

func superviseDetached(ctx context.Context, o *options) error {
	dir, err := state.Open(o.name)
	if err != nil {
		return err
	}
	// `up` holds the other end, and may be gone before we write.
	pipe := os.NewFile(3, "progress")
	syscall.CloseOnExec(3)
	err = supervise.Run(ctx, dir, supervise.Options{
		Progress: func(line string) { fmt.Fprintln(pipe, line) },
		Ready: func() {
			fmt.Fprintln(pipe, readyLine)
			pipe.Close()
		},
	})
	if err != nil {
		fmt.Fprintln(pipe, "failed:", strings.ReplaceAll(err.Error(), "\n", "; "))
	}
	return err
}

func run(cmd *cobra.Command, o *options, images []string) error {
	dir, err := state.Open(o.name)
	if err != nil {
		return err
	}
	mapped, err := parseImages(images)
	if err != nil {
		return err
	}
	if err := errors.Join(dir.Create(), dir.Map(mapped)); err != nil {
		return err
	}
	err = supervise.Run(cmd.Context(), dir, supervise.Options{
		Progress: func(line string) { fmt.Fprintln(cmd.ErrOrStderr(), "►", line) },
		Ready: func() {
			if current, err := dir.Load(); err == nil {
				o.print(cmd.OutOrStdout(), view(dir, current), "export KUBECONFIG="+current.Kubeconfig)
			}
		},
	})
	if errors.Is(err, state.ErrLocked) {
		return fmt.Errorf("sandbox %q runs already: choose another --name, or stop it with `flux sandbox down --name %s`", o.name, o.name)
	}
	return errors.Join(err, state.Remove(string(dir)))
}
