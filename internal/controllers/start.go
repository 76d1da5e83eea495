package controllers

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/go-logr/logr"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/klog/v2"
	ctrllog "sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/gitops-toolkit/flux/api"
	"github.com/gitops-toolkit/flux/internal/kernel"
	"github.com/gitops-toolkit/flux/internal/kernel/tracing"
	"github.com/gitops-toolkit/flux/internal/version"
)

// start runs the chosen controllers until ctx ends.
func (c *command) start(ctx context.Context, stderr io.Writer) (err error) {
	log, err := c.logger(stderr)
	if err != nil {
		return err
	}
	klog.SetLogger(log)
	ctrllog.SetLogger(log)
	setup := log.WithName("setup")
	all, err := c.settings(setup)
	if err != nil {
		return err
	}
	config, err := restConfig(c.kubeconfig)
	if err != nil {
		return fmt.Errorf("find the API server: %w; set --kubeconfig or KUBECONFIG", err)
	}
	config.UserAgent = c.name() + "/" + version.Version
	for _, s := range all {
		config.QPS, config.Burst = max(config.QPS, s.KubeAPIQPS), max(config.Burst, s.KubeAPIBurst)
	}
	if err := unthrottle(ctx, config); err != nil {
		return err
	}
	shutdown, err := tracing.Start(ctx, c.name())
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, shutdown()) }()
	process, err := c.assemble(config, all, log)
	if err != nil {
		return err
	}
	setup.Info("starting manager")
	return process.Run(ctx)
}

// logger writes the log of the whole process as the first controller's flags say.
func (c *command) logger(w io.Writer) (logr.Logger, error) {
	v := c.chosen[0].values
	return kernel.NewLogger(w, v.String("log-encoding"), v.String("log-level"))
}

// name is that of the controller, or of the program where there are several.
func (c *command) name() string {
	if len(c.chosen) == 1 {
		return c.chosen[0].Name
	}
	return "flux-controller"
}

// of says which controller an error is about, where there are several.
func (c *command) of(one chosen, err error) error {
	if len(c.chosen) == 1 {
		return err
	}
	return fmt.Errorf("%s: %w", one.Name, err)
}

func (c *command) settings(log logr.Logger) ([]kernel.Settings, error) {
	out := make([]kernel.Settings, len(c.chosen))
	for i, one := range c.chosen {
		s, err := one.settings(one.values)
		if err != nil {
			return nil, c.of(one, err)
		}
		for name, on := range s.Gates {
			if on != one.Gates[name] {
				log.Info("loading feature gate", name, on)
			}
		}
		out[i] = s
	}
	return out, nil
}

// assemble connects to the cluster and registers the kinds.
func (c *command) assemble(config *rest.Config, all []kernel.Settings, log logr.Logger) (*kernel.Process, error) {
	scheme := runtime.NewScheme()
	if err := errors.Join(corev1.AddToScheme(scheme), api.AddToScheme(scheme)); err != nil {
		return nil, err
	}
	options := kernel.ProcessOptions{
		Scheme: scheme, Log: log,
		MetricsAddr: c.chosen[0].values.String("metrics-addr"), HealthAddr: c.chosen[0].values.String("health-addr"),
	}
	for _, s := range all {
		options.GracefulShutdownTimeout = max(options.GracefulShutdownTimeout, s.GracefulShutdownTimeout)
		if !s.WatchAllNamespaces {
			options.WatchNamespace = s.RuntimeNamespace
		}
	}
	process, err := kernel.NewProcess(config, options)
	if err != nil {
		return nil, err
	}
	for i, one := range c.chosen {
		m := process.Controller(one.Name, all[i])
		if err := one.Register(m, one.values); err != nil {
			return nil, c.of(one, err)
		}
	}
	return process, nil
}

// restConfig finds the API server: the flag, KUBECONFIG, the pod's ServiceAccount, the user's
// kubeconfig.
func restConfig(path string) (*rest.Config, error) {
	if path == "" && os.Getenv(clientcmd.RecommendedConfigPathEnvVar) == "" {
		config, err := rest.InClusterConfig()
		if !errors.Is(err, rest.ErrNotInCluster) {
			return config, err
		}
	}
	rules := clientcmd.NewDefaultClientConfigLoadingRules()
	rules.ExplicitPath = path
	return clientcmd.NewNonInteractiveDeferredLoadingClientConfig(rules, nil).ClientConfig()
}
