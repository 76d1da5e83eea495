package controllers

import (
	"context"
	"fmt"

	"k8s.io/client-go/metadata"

	"github.com/gitops-toolkit/flux/internal/apply"
	"github.com/gitops-toolkit/flux/internal/apply/health"
	"github.com/gitops-toolkit/flux/internal/artifact"
	"github.com/gitops-toolkit/flux/internal/artifact/fetch"
	"github.com/gitops-toolkit/flux/internal/auth/kubeconfig"
	"github.com/gitops-toolkit/flux/internal/helm"
	"github.com/gitops-toolkit/flux/internal/helm/charts"
	"github.com/gitops-toolkit/flux/internal/helm/kube"
	"github.com/gitops-toolkit/flux/internal/kernel"
)

// registerHelm gives HelmReleases what their flags ask for.
func registerHelm(m *kernel.Manager, v Values) error {
	retries := v.Int("http-retry")
	if retries == 0 {
		retries = -1 // to the client zero means its default
	}
	watch, err := oomWatchOf(v)
	if err != nil {
		return err
	}
	if m.Gate("OOMWatch") {
		m.Add(func(ctx context.Context) error { return watch.run(ctx, m.Log()) })
	}
	watches, err := metadata.NewForConfig(m.RESTConfig())
	if err != nil {
		return fmt.Errorf("set up watches: %w", err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	m.Add(func(run context.Context) error {
		defer cancel()
		<-run.Done()
		return nil
	})
	namespace := ""
	if !m.Settings().WatchAllNamespaces {
		namespace = m.Settings().RuntimeNamespace
	}
	releases, err := helm.NewFollower(watches, namespace)
	if err != nil {
		return fmt.Errorf("set up the watch of Helm's storage: %w", err)
	}
	client := fetch.New(fetch.Options{Retries: retries, IdleTimeout: v.Duration("http-timeout")})
	return helm.Register(m, helm.Options{
		Charts:            charts.NewCache(client, 0),
		Clusters:          &kube.Pool{Clients: &apply.ClientPool{}},
		Health:            health.NewHub(ctx, watches),
		DigestAlgorithm:   artifact.Algorithm(v.String("snapshot-digest-algo")),
		OverrideManagers:  v.Strings("override-manager"),
		Clouds:            clouds(m, v),
		KubeConfigAccount: v.String("default-kubeconfig-service-account"),
		KubeConfig:        kubeconfig.Policy{AllowExec: v.Bool("insecure-kubeconfig-exec"), AllowInsecureTLS: v.Bool("insecure-kubeconfig-tls")},
		Releases:          releases,
	})
}
