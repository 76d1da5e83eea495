// Package session is what one invocation of the command line knows: its streams, its global
// flags, its namespace and, from the first use on, its connection to a cluster.
package session

import (
	"context"
	"fmt"
	"io"
	"os"
	"sync"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"k8s.io/apimachinery/pkg/util/validation"

	"github.com/gitops-toolkit/flux/internal/cli/cluster"
	"github.com/gitops-toolkit/flux/internal/cli/ui"
)

// DefaultNamespace is where everything lives unless told otherwise.
const DefaultNamespace = "flux-system"

const (
	namespaceEnv = "FLUX_SYSTEM_NAMESPACE"
	followEnv    = "FLUX_NS_FOLLOWS_KUBE_CONTEXT"
)

// Session carries one invocation.
type Session struct {
	In  io.Reader
	Out io.Writer
	Err io.Writer
	Log *ui.Log

	Namespace string
	Timeout   time.Duration
	Verbose   bool
	Kube      cluster.Flags

	followContext bool
	once          sync.Once
	client        *cluster.Client
	clientErr     error
}

// New returns a session on the given streams.
func New(in io.Reader, out, err io.Writer) *Session {
	return &Session{In: in, Out: out, Err: err, Log: ui.NewLog(err)}
}

// AddFlags defines the flags that every command has.
func (s *Session) AddFlags(flags *pflag.FlagSet) {
	s.Kube.AddTo(flags)
	flags.StringVarP(&s.Namespace, "namespace", "n", s.defaultNamespace(), "namespace scope of the operation; its default can be set with "+namespaceEnv)
	flags.BoolVar(&s.followContext, "ns-follows-kube-context", false, "take the namespace from the kubeconfig context unless --namespace is given")
	flags.DurationVar(&s.Timeout, "timeout", 5*time.Minute, "time limit of the whole operation")
	flags.BoolVar(&s.Verbose, "verbose", false, "print every request to the API server on stderr")
}

func (s *Session) defaultNamespace() string {
	value := os.Getenv(namespaceEnv)
	if value == "" {
		return DefaultNamespace
	}
	if len(validation.IsDNS1123Label(value)) > 0 {
		s.Log.Rawf("⚠️  ignoring invalid %s: %q\n", namespaceEnv, value)
		return DefaultNamespace
	}
	return value
}

// Prepare settles the namespace; it runs before every command.
func (s *Session) Prepare(cmd *cobra.Command) error {
	follow := s.followContext || os.Getenv(followEnv) != ""
	if follow && !cmd.Flags().Changed("namespace") {
		namespace, err := s.Kube.ContextNamespace()
		if err != nil {
			return fmt.Errorf("read the namespace of the kubeconfig context: %w", err)
		}
		s.Namespace = namespace
	}
	if len(validation.IsDNS1123Label(s.Namespace)) > 0 {
		return fmt.Errorf("namespace must be a valid DNS label: %q", s.Namespace)
	}
	return nil
}

// Client returns the connection, made on first use.
func (s *Session) Client() (*cluster.Client, error) {
	s.once.Do(func() {
		cfg, err := s.Kube.RESTConfig()
		if err != nil {
			s.clientErr = err
			return
		}
		if s.Verbose {
			cluster.Trace(cfg, s.Log.Rawf)
		}
		s.client, s.clientErr = cluster.New(cfg)
	})
	return s.client, s.clientErr
}

// Discovery returns what finds kinds that are not known beforehand.
func (s *Session) Discovery(c *cluster.Client) *cluster.Discovery {
	return cluster.NewDiscovery(c, s.Kube.CacheDir)
}

// Run wraps a command's body: it bounds it by --timeout and hands it a connected client.
func (s *Session) Run(body func(ctx context.Context, c *cluster.Client, args []string) error) func(*cobra.Command, []string) error {
	return func(cmd *cobra.Command, args []string) error {
		client, err := s.Client()
		if err != nil {
			return err
		}
		ctx, cancel := context.WithTimeout(cmd.Context(), s.Timeout)
		defer cancel()
		return body(ctx, client, args)
	}
}

// ExitError carries an exit code; code 1 is a finding and printed as a warning, others are failures.
type ExitError struct {
	Code int
	Err  error
}

// Error returns the message that is printed.
func (e *ExitError) Error() string { return e.Err.Error() }

// Unwrap returns the cause.
func (e *ExitError) Unwrap() error { return e.Err }
