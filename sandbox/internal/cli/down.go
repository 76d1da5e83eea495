package cli

import (
	"context"
	"fmt"
	"os"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/gitops-toolkit/flux/sandbox/internal/proc"
	"github.com/gitops-toolkit/flux/sandbox/internal/state"
)

// stopTimeout is how long a supervisor may take before it is killed.
const stopTimeout = 15 * time.Second

func newDown(o *options) *cobra.Command {
	var all bool
	cmd := &cobra.Command{
		Use:   "down",
		Short: "Stop a sandbox and remove everything it has written",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			known, err := state.Names()
			if err != nil {
				return err
			}
			names := []string{o.name}
			if all {
				names = known
			} else if !slices.Contains(known, o.name) {
				return o.print(cmd.OutOrStdout(), map[string]string{"name": o.name, "phase": "absent"}, absent(o.name, known))
			}
			for _, name := range names {
				if err := down(cmd.Context(), name); err != nil {
					return err
				}
				if err := o.print(cmd.OutOrStdout(), map[string]string{"name": name, "phase": "removed"}, "✔ sandbox "+name+" is down"); err != nil {
					return err
				}
			}
			return nil
		},
	}
	cmd.Flags().BoolVar(&all, "all", false, "stop all sandboxes")
	return cmd
}

// absent says that there is nothing to stop, and what else there is: a name that is mistyped leaves a sandbox running.
// It is no failure, so that scripts may clean up twice.
func absent(name string, known []string) string {
	text := fmt.Sprintf("◎ there is no sandbox %q", name)
	if len(known) > 0 {
		text += fmt.Sprintf("; there is %s: name one with --name, or stop them all with --all", strings.Join(known, ", "))
	}
	return text
}

func down(ctx context.Context, name string) error {
	dir, err := state.Open(name)
	if err != nil {
		return err
	}
	lock, err := state.CommandLock(ctx, dir)
	if err != nil {
		return err
	}
	defer lock.Release()
	// An unreadable state file must not keep a sandbox from being removed.
	current, _ := dir.Load()
	if current != nil {
		if err := stopSupervisor(ctx, dir, current.Supervisor); err != nil {
			return err
		}
		proc.Sweep(current.ID)
	}
	if err := state.Remove(string(dir)); err != nil {
		return fmt.Errorf("remove the sandbox: %w", err)
	}
	return os.Remove(string(dir) + ".lock")
}

// stopSupervisor asks first and kills after a while. The lock proves that the
// process id is still the supervisor's.
func stopSupervisor(ctx context.Context, dir state.Dir, pid int) error {
	for _, signal := range []syscall.Signal{syscall.SIGTERM, syscall.SIGKILL} {
		if !dir.Running() {
			return nil
		}
		if err := syscall.Kill(pid, signal); err != nil && err != syscall.ESRCH {
			return fmt.Errorf("stop the supervisor (pid %d): %w", pid, err)
		}
		wait, cancel := context.WithTimeout(ctx, stopTimeout)
		err := dir.WaitStopped(wait)
		cancel()
		if err == nil {
			return nil
		}
	}
	return fmt.Errorf("the supervisor (pid %d) of sandbox %q does not stop", pid, dir.Name())
}
