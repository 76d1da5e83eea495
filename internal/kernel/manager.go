package kernel

import (
	"cmp"
	"context"
	"fmt"
	"strings"

	"github.com/go-logr/logr"
	corev1 "k8s.io/api/core/v1"
	apimeta "k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/metrics"

	"github.com/gitops-toolkit/flux/api/meta"
	"github.com/gitops-toolkit/flux/internal/kernel/info"
)

// Manager is one controller of a process, such as kustomize-controller: its settings, its
// lease, its events, and the kinds that it reconciles.
type Manager struct {
	name      string
	settings  Settings
	process   *Process
	engines   []*engine
	runnables []func(context.Context) error
	cleanups  []func() error
	pool      *pool
	poster    *poster
	recorder  *recorder
}

// Controller adds a controller to the process.
func (p *Process) Controller(name string, settings Settings) *Manager {
	log := p.options.Log.WithValues("controller", name)
	m := &Manager{
		name: name, settings: settings, process: p, pool: newPool(2 * settings.Concurrent),
		recorder: newRecorder(p.events, name, log),
	}
	if settings.EventsAddr != "" {
		m.poster = newPoster(settings.EventsAddr, log)
	}
	p.controllers = append(p.controllers, m)
	return m
}

// Add lets f run beside the kinds while this process leads; its error stops the process. It
// ends when ctx does, and finds the controller's logger there.
func (m *Manager) Add(f func(ctx context.Context) error) { m.runnables = append(m.runnables, f) }

// AddCleanup lets f run after all work of the process has ended, whether it ever led or not.
func (m *Manager) AddCleanup(f func() error) { m.cleanups = append(m.cleanups, f) }

// manager is the field manager of our writes to objects of the kinds.
func (m *Manager) manager() string { return "gotk-" + m.name }

// Name of the controller, such as kustomize-controller.
func (m *Manager) Name() string { return m.name }

// Log of the controller, for what concerns no single object.
func (m *Manager) Log() logr.Logger { return m.process.options.Log.WithValues("controller", m.name) }

// Settings of the controller.
func (m *Manager) Settings() Settings { return m.settings }

// Gate tells whether a feature gate is on.
func (m *Manager) Gate(name string) bool { return m.settings.Gates[name] }

// Client reads from the informer caches and writes to the API server. Objects of other shards
// and of referent kinds are stripped as the kind asked for; ConfigMaps and Secrets are live.
func (m *Manager) Client() client.Client { return m.process.manager.GetClient() }

// Live reads from the API server.
func (m *Manager) Live() client.Reader { return m.process.manager.GetAPIReader() }

// Mapper maps kinds to resources, shared by the process.
func (m *Manager) Mapper() apimeta.RESTMapper { return m.process.manager.GetRESTMapper() }

// RESTConfig returns a copy of the connection to the API server, with the controller's limits.
func (m *Manager) RESTConfig() *rest.Config { return rest.CopyConfig(m.process.config) }

// WatchConfig is RESTConfig for watches that go on from a version: one that the API server has not
// reached, because it was set back to an older backup, is answered as expired.
func (m *Manager) WatchConfig() *rest.Config { return rest.CopyConfig(m.process.watching) }

// WatchNamespace is the namespace to which everything is limited; empty: none.
func (m *Manager) WatchNamespace() string { return m.process.options.WatchNamespace }

// Version returns the resourceVersion of a ConfigMap or Secret without a request, "" for one
// that does not exist. Not ok means that it is unknown (not listed yet, or no right to list):
// read it. An empty namespace of ref means namespace.
func (m *Manager) Version(namespace string, ref Reference) (version string, ok bool) {
	ref.Namespace = cmp.Or(ref.Namespace, namespace)
	return m.process.configs.version(ref)
}

// Versions joins the versions of several references; known says that each of them is.
func (m *Manager) Versions(namespace string, refs []Reference) (versions string, known bool) {
	all, known := make([]string, len(refs)), true
	for i, ref := range refs {
		version, ok := m.Version(namespace, ref)
		all[i], known = version, known && ok
	}
	return strings.Join(all, ","), known
}

// SecretVersion is Version of a Secret.
func (m *Manager) SecretVersion(namespace, name string) (version string, ok bool) {
	return m.Version(namespace, Secret(name))
}

// GetServiceAccount reads a ServiceAccount from the API server.
func (m *Manager) GetServiceAccount(ctx context.Context, key types.NamespacedName) (*corev1.ServiceAccount, error) {
	sa := &corev1.ServiceAccount{}
	return sa, m.Live().Get(ctx, key, sa)
}

// GetSecret reads a Secret from the API server (from the cache only with the gate
// CacheSecretsAndConfigMaps). Ask Version first: unchanged means that there is no need.
func (m *Manager) GetSecret(ctx context.Context, key types.NamespacedName) (*corev1.Secret, error) {
	s := &corev1.Secret{}
	return s, m.getConfig(ctx, Secret(key.Name), key, s)
}

// GetConfigMap reads a ConfigMap as GetSecret reads a Secret.
func (m *Manager) GetConfigMap(ctx context.Context, key types.NamespacedName) (*corev1.ConfigMap, error) {
	c := &corev1.ConfigMap{}
	return c, m.getConfig(ctx, ConfigMap(key.Name), key, c)
}

// getConfig never returns what is older than the version that Version tells.
func (m *Manager) getConfig(ctx context.Context, ref Reference, key types.NamespacedName, into client.Object) error {
	if !m.Gate(GateCacheSecretsAndConfigMaps) {
		return m.Live().Get(ctx, key, into)
	}
	err := m.process.manager.GetCache().Get(ctx, key, into)
	if client.IgnoreNotFound(err) != nil {
		return err
	}
	known, _ := m.Version(key.Namespace, ref)
	if known != "" && (err != nil || newer(known, into.GetResourceVersion())) {
		return m.Live().Get(ctx, key, into)
	}
	return err
}

// ServiceAccount returns the account to act as: the one that the object names, else the
// default of --default-service-account, else empty for the controller itself.
func (m *Manager) ServiceAccount(named string) string {
	if named != "" {
		return named
	}
	return m.settings.DefaultServiceAccount
}

// CheckNamespace enforces --no-cross-namespace-refs for a reference of an object in namespace
// from. References marked Restricted are checked by the kernel before Reconcile.
func (m *Manager) CheckNamespace(from string, ref Reference) error {
	if !m.settings.NoCrossNamespaceRefs || ref.Namespace == "" || ref.Namespace == from {
		return nil
	}
	return &AccessDeniedError{From: from, Reference: ref}
}

// AccessDeniedError is a reference of an object in the namespace From to another one while that is forbidden.
type AccessDeniedError struct {
	From      string
	Reference Reference
}

// Error has the text of the tables, and then the next step.
func (e *AccessDeniedError) Error() string {
	return fmt.Sprintf("can't access '%s', cross-namespace references have been blocked; refer to a %s in the namespace '%s'",
		e.Reference, e.Reference.Kind, e.From)
}

// Register adds a kind to the controller. It must be called before Process.Run.
func Register[T meta.Object](m *Manager, kind Kind[T], r Reconciler[T]) error {
	e, err := newEngine(m, kind, r)
	if err != nil {
		return err
	}
	m.engines = append(m.engines, e)
	if k, ok := info.Of(e.gvk.Group, e.gvk.Kind); ok && m.Gate(GateResourceInfoMetrics) {
		return metrics.Registry.Register(&resourceInfo{e, k})
	}
	return nil
}
