package kernel

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// Settings are the values of the flags that all controllers share.
type Settings struct {
	// KubeAPIQPS and KubeAPIBurst limit requests to the API server.
	KubeAPIQPS   float32
	KubeAPIBurst int

	// LeaderElection holds a lease before work begins.
	LeaderElection    bool
	ReleaseOnCancel   bool
	LeaseDuration     time.Duration
	RenewDeadline     time.Duration
	LeaderRetryPeriod time.Duration

	// MinRetryDelay and MaxRetryDelay bound the exponential back-off.
	MinRetryDelay time.Duration
	MaxRetryDelay time.Duration

	// Gates are the controller's feature gates with their values, defaults included.
	Gates map[string]bool

	// WatchAllNamespaces false limits everything to RuntimeNamespace.
	WatchAllNamespaces bool
	// WatchLabelSelector selects the objects of this shard; empty: all.
	WatchLabelSelector string
	// WatchConfigsLabelSelector selects the ConfigMaps and Secrets whose change acts at once.
	WatchConfigsLabelSelector string

	// IntervalJitterPercentage spreads intervals by ± that many percent.
	IntervalJitterPercentage uint8

	// NoCrossNamespaceRefs forbids restricted references to other namespaces.
	NoCrossNamespaceRefs bool

	// EventsAddr is the URL to which events are posted; empty: none are.
	EventsAddr string

	// Concurrent passes of each kind; the number of background jobs is twice as high.
	Concurrent int
	// RequeueDependency is the safety net for waiting on a dependency.
	RequeueDependency time.Duration
	// DefaultServiceAccount is impersonated where an object names none.
	DefaultServiceAccount string
	// GracefulShutdownTimeout is how long running jobs may take to end at stop.
	GracefulShutdownTimeout time.Duration
	// RuntimeNamespace is the namespace of the controller's pod.
	RuntimeNamespace string
}

// Defaults returns the settings of a controller whose flags are all at their defaults.
func Defaults() Settings {
	return Settings{
		KubeAPIQPS: 50, KubeAPIBurst: 300,
		ReleaseOnCancel: true, LeaseDuration: 35 * time.Second, RenewDeadline: 30 * time.Second, LeaderRetryPeriod: 5 * time.Second,
		MinRetryDelay: 750 * time.Millisecond, MaxRetryDelay: 15 * time.Minute,
		WatchAllNamespaces: true, WatchConfigsLabelSelector: "reconcile.fluxcd.io/watch=Enabled",
		IntervalJitterPercentage: 5, Concurrent: 4, RequeueDependency: 30 * time.Second,
		GracefulShutdownTimeout: 30 * time.Second, RuntimeNamespace: "flux-system",
	}
}

// Names of feature gates that the kernel itself looks at.
const (
	GateCacheSecretsAndConfigMaps    = "CacheSecretsAndConfigMaps"
	GateObjectLevelWorkloadIdentity  = "ObjectLevelWorkloadIdentity"
	GateDisableConfigWatchers        = "DisableConfigWatchers"
	GatePeriodicEvents               = "PeriodicEvents"
	GateResourceInfoMetrics          = "ResourceInfoMetrics"
	GateExternalArtifact             = "ExternalArtifact"
	GateDirectSourceFetch            = "DirectSourceFetch"
	GateAdditiveCELDependencyCheck   = "AdditiveCELDependencyCheck"
	GateStrictPostBuildSubstitutions = "StrictPostBuildSubstitutions"
)

// MergeGates lays the values given by the user over the defaults of a controller. A name that
// the controller does not know is an error that lists the known ones.
func MergeGates(defaults, given map[string]bool) (map[string]bool, error) {
	out := make(map[string]bool, len(defaults))
	for name, on := range defaults {
		out[name] = on
	}
	for name, on := range given {
		if _, known := defaults[name]; !known {
			return nil, fmt.Errorf("feature-gate '%s' not supported, known gates: %s", name, strings.Join(sortedKeys(defaults), ", "))
		}
		out[name] = on
	}
	return out, nil
}

func sortedKeys[V any](m map[string]V) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}
