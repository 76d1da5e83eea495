// Package cli is the command line of flux-sandbox: thin commands over the
// state directory and the supervisor.
package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/gitops-toolkit/flux/sandbox/internal/state"
)

// Main runs the command line and returns its exit code.
func Main(args []string) int {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	root := newRoot()
	root.SetArgs(args)
	if err := root.ExecuteContext(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "✗", err)
		return 1
	}
	return 0
}

// options are the flags that every command has.
type options struct {
	name   string
	output string
}

func newRoot() *cobra.Command {
	var o options
	root := &cobra.Command{
		Use:   "flux-sandbox",
		Short: "A Kubernetes control plane on this machine, without root or containers",
		Long: `A sandbox is a real API server, controller manager and scheduler on loopback,
with a node that runs pods of known images as processes and simulates the rest,
a Git server and an OCI registry. Several sandboxes can run at once.

State is kept below $` + state.HomeVariable + `, or the user's cache directory.`,
		SilenceUsage:  true,
		SilenceErrors: true,
		PersistentPreRunE: func(*cobra.Command, []string) error {
			if o.output != "" && o.output != "json" {
				return fmt.Errorf("--output %q: only json is known", o.output)
			}
			return nil
		},
	}
	root.PersistentFlags().StringVar(&o.name, "name", "default", "name of the sandbox")
	root.PersistentFlags().StringVarP(&o.output, "output", "o", "", "print JSON when set to json")
	root.AddCommand(newUp(&o), newRun(&o), newSupervise(&o), newDown(&o), newStatus(&o),
		newKubeconfig(&o), newGit(&o), newRegistry(&o), newLogs(&o))
	return root
}

// running returns the directory and state of a sandbox that runs.
func (o *options) running() (state.Dir, *state.State, error) {
	dir, err := state.Open(o.name)
	if err != nil {
		return "", nil, err
	}
	current, err := dir.Load()
	if errors.Is(err, fs.ErrNotExist) || (err == nil && !dir.Running()) {
		return "", nil, fmt.Errorf("sandbox %q is not running: start it with `flux sandbox up --name %s`", o.name, o.name)
	}
	return dir, current, err
}

// print writes v as JSON when that was asked for, and text otherwise.
func (o *options) print(w io.Writer, v any, text string) error {
	if o.output != "json" {
		_, err := fmt.Fprintln(w, text)
		return err
	}
	encoder := json.NewEncoder(w)
	encoder.SetIndent("", "  ")
	return encoder.Encode(v)
}
