package controllers

import (
	"slices"

	"github.com/gitops-toolkit/flux/internal/kernel"
)

// Controller describes one controller.
type Controller struct {
	// Name is also that of its Deployment, ServiceAccount, lease, image and argv[0].
	Name string
	// Short is the prefix of its flags where controllers share a process.
	Short string
	Flags []Flag
	// Gates are the feature gates with their defaults.
	Gates map[string]bool
	// Idle and IdleGates are the flags and gates that have no effect; --help says so.
	Idle      names
	IdleGates names
	// ImpersonatesDefault says that --default-service-account is impersonated in the cluster;
	// elsewhere it stands for a cloud identity.
	ImpersonatesDefault bool
	// Serves lists the kinds it reconciles, Reads other kinds that it follows.
	Serves []Resource
	Reads  []Resource
	// Register adds its kinds and servers to a manager.
	Register func(m *kernel.Manager, v Values) error
}

// Resource names a custom resource by group and plural.
type Resource struct{ Group, Plural string }

const (
	groupSource       = "source.toolkit.fluxcd.io"
	groupKustomize    = "kustomize.toolkit.fluxcd.io"
	groupHelm         = "helm.toolkit.fluxcd.io"
	groupNotification = "notification.toolkit.fluxcd.io"
	groupImage        = "image.toolkit.fluxcd.io"
	groupExtensions   = "source.extensions.fluxcd.io"
)

func resources(group string, plurals ...string) []Resource {
	out := make([]Resource, len(plurals))
	for i, p := range plurals {
		out[i] = Resource{group, p}
	}
	return out
}

// All controllers of the system.
var All = []Controller{
	{
		Name: "source-controller", Short: "source", Flags: flags(common, groupJitter, groupTokenCache, groupArtifact, sourceFlags),
		Gates:     map[string]bool{"CacheSecretsAndConfigMaps": false, "ObjectLevelWorkloadIdentity": false},
		IdleGates: only(),
		Idle:      only("helm-cache-max-size", "helm-cache-ttl", "helm-cache-purge-interval"),
		Serves:    resources(groupSource, "gitrepositories", "ocirepositories", "helmrepositories", "helmcharts", "buckets"),
		Register:  registerSource,
	},
	{
		Name: "kustomize-controller", Short: "kustomize", Flags: flags(common, groupJitter, groupTokenCache, groupACL, groupKubeConfig, kustomizeFlags),
		Gates: map[string]bool{
			"CacheSecretsAndConfigMaps": false, "DisableStatusPollerCache": true, "DisableFailFastBehavior": false,
			"StrictPostBuildSubstitutions": true, "GroupChangeLog": false, "AdditiveCELDependencyCheck": false,
			"ExternalArtifact": false, "CancelHealthCheckOnNewRevision": false, "DisableConfigWatchers": false,
			"DirectSourceFetch": false, "MigrateAPIVersion": false, "ObjectLevelWorkloadIdentity": false,
		},
		Idle:                only(),
		IdleGates:           only("DisableStatusPollerCache", "CancelHealthCheckOnNewRevision"),
		ImpersonatesDefault: true,
		Serves:              resources(groupKustomize, "kustomizations"),
		Reads:               resources(groupSource, "gitrepositories", "ocirepositories", "buckets", "externalartifacts"),
		Register:            registerKustomize,
	},
	{
		Name: "helm-controller", Short: "helm", Flags: flags(common, groupJitter, groupTokenCache, groupACL, groupKubeConfig, helmFlags),
		Gates: map[string]bool{
			"CacheSecretsAndConfigMaps": false, "DetectDrift": false, "CorrectDrift": false, "AllowDNSLookups": false,
			"OOMWatch": false, "AdoptLegacyReleases": false, "DisableChartDigestTracking": false,
			"AdditiveCELDependencyCheck": false, "ExternalArtifact": false, "DisableConfigWatchers": false,
			"DirectSourceFetch": false, "UseHelm3Defaults": false, "CancelHealthCheckOnNewRevision": false,
			"DefaultToRetryOnFailure": false, "ObjectLevelWorkloadIdentity": false,
		},
		// Drift is configured by each object, releases of Helm 2 are out of reach, and newer desires always end waits.
		IdleGates:           only("DetectDrift", "CorrectDrift", "AdoptLegacyReleases", "CancelHealthCheckOnNewRevision"),
		Idle:                only(),
		ImpersonatesDefault: true,
		Serves:              resources(groupHelm, "helmreleases"),
		Reads:               resources(groupSource, "helmcharts", "ocirepositories", "externalartifacts"),
		Register:            registerHelm,
	},
	{
		Name: "notification-controller", Short: "notification", Flags: notificationFlags(),
		Gates: map[string]bool{"CacheSecretsAndConfigMaps": false, "DisableConfigWatchers": false, "ObjectLevelWorkloadIdentity": false},
		Idle:  only(), IdleGates: only(),
		Serves:   resources(groupNotification, "providers", "alerts", "receivers"),
		Register: registerNotification,
	},
	{
		Name: "image-reflector-controller", Short: "image-reflector", Flags: flags(common, groupTokenCache, groupACL, reflectorFlags),
		Gates: map[string]bool{"CacheSecretsAndConfigMaps": false, "FluxStorage": false, "ObjectLevelWorkloadIdentity": false},
		Idle:  only(), IdleGates: only(),
		Serves:   resources(groupImage, "imagerepositories", "imagepolicies"),
		Register: registerReflector,
	},
	{
		Name: "image-automation-controller", Short: "image-automation", Flags: flags(common, groupTokenCache, groupACL, automationFlags),
		Gates: map[string]bool{
			"GitForcePushBranch": true, "GitShallowClone": true, "GitAllBranchReferences": true, "GitSparseCheckout": false,
			"CacheSecretsAndConfigMaps": false, "ObjectLevelWorkloadIdentity": false,
		},
		// Mirrors are always shallow, and what moves is what changed: there is nothing for these to save.
		Idle: only(), IdleGates: only("GitShallowClone", "GitSparseCheckout"),
		Serves:   resources(groupImage, "imageupdateautomations"),
		Reads:    slices.Concat(resources(groupImage, "imagepolicies"), resources(groupSource, "gitrepositories")),
		Register: registerAutomation,
	},
	{
		Name: "source-watcher", Short: "source-watcher", Flags: flags(common, groupJitter, groupACL, groupArtifact, watcherFlags),
		Gates: map[string]bool{"DirectSourceFetch": false},
		Idle:  only(), IdleGates: only(),
		Serves:   resources(groupExtensions, "artifactgenerators"),
		Reads:    resources(groupSource, "gitrepositories", "ocirepositories", "buckets", "helmcharts", "externalartifacts"),
		Register: registerWatcher,
	},
}

// ourGates are additions to every controller's gates.
var ourGates = map[string]bool{kernel.GatePeriodicEvents: false, kernel.GateResourceInfoMetrics: false}

// Find returns the controller of this name.
func Find(name string) (Controller, bool) {
	i := slices.IndexFunc(All, func(c Controller) bool { return c.Name == name || c.Short == name })
	if i < 0 {
		return Controller{}, false
	}
	return All[i], true
}
