package meta

// Condition types that every kind with a status carries.
const (
	ReadyCondition       = "Ready"
	ReconcilingCondition = "Reconciling"
	StalledCondition     = "Stalled"
	HealthyCondition     = "Healthy"
)

// Condition reasons that all kinds share.
const (
	SucceededReason               = "Succeeded"
	FailedReason                  = "Failed"
	ProgressingReason             = "Progressing"
	ProgressingWithRetryReason    = "ProgressingWithRetry"
	SuspendedReason               = "Suspended"
	DependencyNotReadyReason      = "DependencyNotReady"
	InvalidPathReason             = "InvalidPath"
	InvalidURLReason              = "InvalidURL"
	PruneFailedReason             = "PruneFailed"
	ArtifactFailedReason          = "ArtifactFailed"
	BuildFailedReason             = "BuildFailed"
	HealthCheckFailedReason       = "HealthCheckFailed"
	HealthCheckCanceledReason     = "HealthCheckCanceled"
	ReconciliationSucceededReason = "ReconciliationSucceeded"
	ReconciliationFailedReason    = "ReconciliationFailed"
	InvalidCELExpressionReason    = "InvalidCELExpression"
	FeatureGateDisabledReason     = "FeatureGateDisabled"
	AccessDeniedReason            = "AccessDenied"
)

// Annotations and labels of the reconcile group.
const (
	// ReconcileRequestAnnotation asks for a reconciliation; any new value counts.
	ReconcileRequestAnnotation = "reconcile.fluxcd.io/requestedAt"
	// ForceRequestAnnotation asks for a forced release action (HelmRelease).
	ForceRequestAnnotation = "reconcile.fluxcd.io/forceAt"
	// ResetRequestAnnotation resets the failure counts (HelmRelease).
	ResetRequestAnnotation = "reconcile.fluxcd.io/resetAt"
	// WatchLabel with the value Enabled makes a ConfigMap or Secret act at once.
	WatchLabel = "reconcile.fluxcd.io/watch"
	// EventAnnotationPrefix: annotations with it are copied into events.
	EventAnnotationPrefix = "event.toolkit.fluxcd.io/"
)

// Finalizer is the one that every kind but ArtifactGenerator uses.
const Finalizer = "finalizers.fluxcd.io"

// MaxConditionMessageLength is the limit in bytes; longer messages are cut and end in "...".
const MaxConditionMessageLength = 32768
