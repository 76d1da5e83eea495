// Package node is the sandbox's node agent: it takes the kubelet's place in
// front of the API server.
//
// It keeps one Node ready, gives every pod that the scheduler binds to it an
// address, hands the pod to the first Runtime that claims it, and reports the
// status that the runtime answers. It acts on watch events and on timers that a
// runtime asks for, and does nothing at rest but renew its lease.
//
// A Runtime decides what a pod is: package simulate pretends, package process
// starts real processes. A runtime of real containers would be a third.
package node

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os/signal"
	"strconv"
	"syscall"
	"time"

	"github.com/spf13/cobra"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/gitops-toolkit/flux/sandbox/internal/node/process"
	"github.com/gitops-toolkit/flux/sandbox/internal/node/proxy"
	"github.com/gitops-toolkit/flux/sandbox/internal/node/report"
	"github.com/gitops-toolkit/flux/sandbox/internal/node/simulate"
	"github.com/gitops-toolkit/flux/sandbox/internal/plane"
	"github.com/gitops-toolkit/flux/sandbox/internal/state"
)

// Runtime runs the pods that it claims. Its methods are called by several
// goroutines, but never by two for the same pod.
type Runtime interface {
	// Claims reports whether this runtime runs the pod. The answer for one pod
	// must not change.
	Claims(pod *corev1.Pod) bool
	// Sync brings the pod nearer to what its object asks for, without waiting,
	// and says how it stands. It is called when the object changes, when the
	// asked-for time has come and when the runtime calls for it.
	Sync(ctx context.Context, pod *corev1.Pod) (report.Verdict, error)
	// Forget ends and drops a pod whose object has gone.
	Forget(pod *corev1.Pod)
}

// NewCommand returns the command that runs the node agent.
func NewCommand() *cobra.Command {
	var directory string
	cmd := &cobra.Command{
		Use: "node", Args: cobra.NoArgs, SilenceUsage: true, SilenceErrors: true,
		RunE: func(cmd *cobra.Command, _ []string) error {
			ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
			defer stop()
			return run(ctx, state.Dir(directory))
		},
	}
	cmd.Flags().StringVar(&directory, "directory", "", "the sandbox's directory")
	return cmd
}

func run(ctx context.Context, dir state.Dir) error {
	current, err := dir.Load()
	if err != nil {
		return err
	}
	client, err := newClient(dir.Path("pki", "node.kubeconfig"))
	if err != nil {
		return err
	}
	network, err := claimNetwork(current.ID)
	if err != nil {
		return err
	}
	defer network.close()
	a := newAgent(client, network)
	events := a.startEvents()
	defer events.Shutdown()
	a.processes = process.New(process.Options{
		Client: client, Directory: string(dir), SandboxID: current.ID,
		Server: current.APIServer, Proxy: "http://" + loopback(current.Ports.Proxy),
		BindHost: network.host, Images: dir.Images, Changed: a.Enqueue, Capacity: capacity(),
		Events: events.NewRecorder(scheme.Scheme, corev1.EventSource{Component: "flux-sandbox", Host: plane.NodeName}),
	})
	a.runtimes = []Runtime{a.processes, simulate.New()}
	if err := register(ctx, client, current.Ports.Kubelet); err != nil {
		return fmt.Errorf("register node %s: %w", plane.NodeName, err)
	}
	if err := (&provisioner{agent: a, directory: string(dir)}).watch(ctx); err != nil {
		return err
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	forward := a.proxy(current)
	a.factory.Start(ctx.Done())
	for _, serve := range []func() error{
		func() error { return a.serveKubelet(ctx, dir, current, forward) },
		func() error { return proxy.Serve(ctx, loopback(current.Ports.Proxy), forward) },
	} {
		go func() {
			if err := serve(); err != nil {
				cancel(err)
			}
		}()
	}
	go renewLease(ctx, client)
	err = a.run(ctx)
	a.processes.Close(closeGrace)
	return errors.Join(err, failure(ctx))
}

// closeGrace is how long processes may take to stop when the sandbox does.
const closeGrace = 3 * time.Second

// failure returns why ctx ended, unless somebody wanted it to.
func failure(ctx context.Context) error {
	if cause := context.Cause(ctx); cause != nil && !errors.Is(cause, context.Canceled) {
		return cause
	}
	return nil
}

func loopback(port int) string { return net.JoinHostPort(hostIP, strconv.Itoa(port)) }

func newClient(kubeconfig string) (*kubernetes.Clientset, error) {
	config, err := clientcmd.BuildConfigFromFlags("", kubeconfig)
	if err != nil {
		return nil, err
	}
	config.QPS, config.Burst = 500, 1000
	config.ContentType = "application/vnd.kubernetes.protobuf"
	config.AcceptContentTypes = "application/vnd.kubernetes.protobuf,application/json"
	config.Timeout = 0
	config.UserAgent = "flux-sandbox-node"
	return kubernetes.NewForConfig(config)
}

// leaseDuration is how long the node counts as alive after a renewal. It is
// longer than a kubelet's, because a sandbox shares its machine with tests.
const leaseDuration = 80 * time.Second
