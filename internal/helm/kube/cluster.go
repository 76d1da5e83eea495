// Package kube is how Helm's actions reach a cluster: our own implementation of Helm's kube.Interface and of what it
// needs around it. Discovery, REST mapping, the version of the server and the clients are shared by all releases of a
// cluster instead of asked for by each action; objects are applied with one request each; waits are those of
// internal/apply/health and can be cancelled.
package kube

import (
	"context"
	"fmt"
	"path"
	"slices"
	"sync"
	"time"

	"helm.sh/helm/v4/pkg/chart/common"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/version"
	"k8s.io/cli-runtime/pkg/resource"
	"k8s.io/client-go/discovery"
	"k8s.io/client-go/discovery/cached/memory"
	corev1 "k8s.io/client-go/kubernetes/typed/core/v1"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"
	"k8s.io/client-go/transport"

	"github.com/gitops-toolkit/flux/internal/apply"
)

// discoveryAge is how old what is known of the served kinds may be when a chart asks for it; kinds that are not known
// are always looked up.
const discoveryAge = time.Minute

// versionAge is how old the known version of a server may be.
const versionAge = 10 * time.Minute

// Cluster reaches one cluster as one identity. It is safe for concurrent use.
type Cluster struct {
	config *rest.Config
	apply  *apply.Client
	core   corev1.CoreV1Interface
	shared *shared

	mu    sync.Mutex
	rests map[schema.GroupVersion]resource.RESTClient
}

// shared is what all identities know of a cluster.
type shared struct {
	mu      sync.Mutex
	version *version.Info
	read    time.Time
}

// Pool keeps the clusters of the process. The zero value is not ready: set Clients.
type Pool struct {
	// Clients are those of internal/apply, whose REST mapping is shared.
	Clients *apply.ClientPool

	mu       sync.Mutex
	clusters map[*apply.Client]*Cluster
	shared   map[*apply.Mapper]*shared
}

// maxClusters bounds what a pool keeps.
const maxClusters = 512

// Get returns the cluster for a configuration; key names the identity where the configuration carries functions.
func (p *Pool) Get(config *rest.Config, key string) (*Cluster, error) {
	client, err := p.Clients.Get(config, key)
	if err != nil {
		return nil, err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if c := p.clusters[client]; c != nil {
		return c, nil
	}
	core, err := corev1.NewForConfig(config)
	if err != nil {
		return nil, err
	}
	if p.clusters == nil || len(p.clusters) >= maxClusters {
		p.clusters, p.shared = map[*apply.Client]*Cluster{}, map[*apply.Mapper]*shared{}
	}
	known := p.shared[client.Mapper()]
	if known == nil {
		known = &shared{}
		p.shared[client.Mapper()] = known
	}
	c := &Cluster{config: rest.CopyConfig(config), apply: client, core: core, shared: known, rests: map[schema.GroupVersion]resource.RESTClient{}}
	p.clusters[client] = c
	return c, nil
}

// Apply returns the client of internal/apply for the same cluster and identity.
func (c *Cluster) Apply() *apply.Client { return c.apply }

// Core returns the client for the kinds of the core group.
func (c *Cluster) Core() corev1.CoreV1Interface { return c.core }

// Forget drops what is known of the kinds and the version of the server.
func (c *Cluster) Forget() {
	c.apply.Mapper().Forget()
	c.shared.mu.Lock()
	c.shared.version = nil
	c.shared.mu.Unlock()
}

// Capabilities tells charts what the server is and serves.
func (c *Cluster) Capabilities(ctx context.Context) (*common.Capabilities, error) {
	v, err := c.serverVersion()
	if err != nil {
		return nil, fmt.Errorf("could not get server version from Kubernetes: %w", err)
	}
	kinds, err := c.apply.Mapper().Kinds(ctx, discoveryAge)
	if err != nil {
		return nil, fmt.Errorf("could not get apiVersions from Kubernetes: %w", err)
	}
	versions := map[string]bool{}
	for _, gvk := range kinds {
		gv := gvk.GroupVersion().String()
		versions[gv], versions[path.Join(gv, gvk.Kind)] = true, true
	}
	set := make(common.VersionSet, 0, len(versions))
	for v := range versions {
		set = append(set, v)
	}
	slices.Sort(set)
	return &common.Capabilities{
		APIVersions: set,
		KubeVersion: common.KubeVersion{Version: v.GitVersion, Major: v.Major, Minor: v.Minor},
		HelmVersion: common.DefaultCapabilities.HelmVersion,
	}, nil
}

func (c *Cluster) serverVersion() (*version.Info, error) {
	c.shared.mu.Lock()
	defer c.shared.mu.Unlock()
	if c.shared.version != nil && time.Since(c.shared.read) < versionAge {
		return c.shared.version, nil
	}
	d, err := discovery.NewDiscoveryClientForConfig(c.config)
	if err != nil {
		return nil, err
	}
	v, err := d.ServerVersion()
	if err != nil {
		return nil, err
	}
	c.shared.version, c.shared.read = v, time.Now()
	return v, nil
}

// restClient returns the client for a group and version; clients share the connections of the cluster.
func (c *Cluster) restClient(gv schema.GroupVersion) (resource.RESTClient, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if r := c.rests[gv]; r != nil {
		return r, nil
	}
	r, err := c.newRESTClient(gv, nil)
	if err != nil {
		return nil, err
	}
	c.rests[gv] = r
	return r, nil
}

// newRESTClient makes a client; wrap is put around its transport unless it is nil.
func (c *Cluster) newRESTClient(gv schema.GroupVersion, wrap transport.WrapperFunc) (resource.RESTClient, error) {
	config := rest.CopyConfig(c.config)
	if wrap != nil {
		config.Wrap(wrap)
	}
	config.APIPath, config.GroupVersion = "/apis", &gv
	if gv.Group == "" {
		config.APIPath = "/api"
	}
	config.NegotiatedSerializer = resource.UnstructuredPlusDefaultContentConfig().NegotiatedSerializer
	return rest.RESTClientFor(config)
}

// The methods of Helm's RESTClientGetter.
var _ interface {
	ToRESTConfig() (*rest.Config, error)
	ToDiscoveryClient() (discovery.CachedDiscoveryInterface, error)
	ToRESTMapper() (meta.RESTMapper, error)
	ToRawKubeConfigLoader() clientcmd.ClientConfig
} = &Getter{}

// Getter is a RESTClientGetter for a namespace of a cluster.
type Getter struct {
	cluster   *Cluster
	namespace string
}

// Getter returns what Helm calls a RESTClientGetter.
func (c *Cluster) Getter(namespace string) *Getter { return &Getter{c, namespace} }

// ToRESTConfig returns a copy of the configuration.
func (g *Getter) ToRESTConfig() (*rest.Config, error) { return rest.CopyConfig(g.cluster.config), nil }

// ToDiscoveryClient returns a client with a cache of its own; our own code does without.
func (g *Getter) ToDiscoveryClient() (discovery.CachedDiscoveryInterface, error) {
	d, err := discovery.NewDiscoveryClientForConfig(g.cluster.config)
	if err != nil {
		return nil, err
	}
	return memory.NewMemCacheClient(d), nil
}

// ToRESTMapper returns the mapping that the cluster's clients share.
func (g *Getter) ToRESTMapper() (meta.RESTMapper, error) { return g.cluster.mapper(), nil }

// ToRawKubeConfigLoader returns a kubeconfig with nothing but the namespace.
func (g *Getter) ToRawKubeConfigLoader() clientcmd.ClientConfig {
	overrides := &clientcmd.ConfigOverrides{Context: clientcmdapi.Context{Namespace: g.namespace}}
	return clientcmd.NewDefaultClientConfig(*clientcmdapi.NewConfig(), overrides)
}
