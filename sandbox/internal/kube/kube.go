// Package kube turns this process into one component of the sandbox. The three
// Kubernetes components are the stock ones, started through their own command
// lines; only their arguments are ours.
package kube

import (
	"fmt"
	"os"
	"slices"

	"github.com/spf13/cobra"
	"k8s.io/component-base/cli"
	_ "k8s.io/component-base/metrics/prometheus/clientgo" // client metrics, as in the stock binaries
	apiserver "k8s.io/kubernetes/cmd/kube-apiserver/app"
	controllermanager "k8s.io/kubernetes/cmd/kube-controller-manager/app"
	scheduler "k8s.io/kubernetes/cmd/kube-scheduler/app"

	"github.com/gitops-toolkit/flux/sandbox/internal/node"
	"github.com/gitops-toolkit/flux/sandbox/internal/plane"
)

// Run runs the named component until it ends and returns its exit code.
func Run(name string, args []string) int {
	commands := map[string]func() *cobra.Command{
		plane.APIServer:         apiserver.NewAPIServerCommand,
		plane.ControllerManager: controllermanager.NewControllerManagerCommand,
		plane.Scheduler:         func() *cobra.Command { return scheduler.NewSchedulerCommand() },
		plane.Etcd:              newEtcdCommand,
		plane.Node:              node.NewCommand,
	}
	newCommand, ok := commands[name]
	if !ok {
		fmt.Fprintf(os.Stderr, "flux-sandbox: there is no component %q\n", name)
		return 2
	}
	command := newCommand()
	command.SetArgs(args)
	if slices.Contains([]string{plane.Etcd, plane.Node}, name) {
		if err := command.Execute(); err != nil {
			fmt.Fprintf(os.Stderr, "%s: %v\n", name, err)
			return 1
		}
		return 0
	}
	return cli.Run(command)
}
